"""What perdure is tested with, for those who build on it. It needs pytest.

StoreContract       the laws of a store, to be run against an implementation
"""

import pytest

pytest.register_assert_rewrite("perdure.testing.store_contract", "perdure.testing.store_laws")

from perdure.testing.store_contract import StoreContract  # noqa: E402 - asserts are rewritten as they are imported

__all__ = ["StoreContract"]
