"""What perdure is tested with, for those who build on it. It needs pytest.

StoreContract       the laws of a store, to be run against an implementation
replay              an exported run, folded with a graph as it is now
"""

import pytest

pytest.register_assert_rewrite("perdure.testing.store_contract", "perdure.testing.store_laws")

from perdure.testing.replaying import Replayed, replay  # noqa: E402 - asserts are rewritten as they are imported
from perdure.testing.store_contract import StoreContract  # noqa: E402

__all__ = ["Replayed", "StoreContract", "replay"]
