"""The process that forks what is to be killed, one for each module."""

from collections.abc import Iterator

import pytest

from crash.harness import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()
