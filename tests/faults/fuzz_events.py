"""The target of atheris, in a process of its own: whatever it makes up is read, or refused in the declared way.

Run by ``test_fuzz.py`` as a campaign; its arguments are libFuzzer's. Coverage is followed through perdure's own code;
msgspec is compiled, so what it makes of bytes is seen only by what comes of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["perdure.codec", "perdure.events", "perdure.engine.driving.recovery"]):
    from faults.reading_bytes import Readers
    from property.test_codec_round_trip import CLASSES, Order, Point

from typing import Any

READERS = Readers(CLASSES, (Any, list[int], dict[str, Point | None], Order))


def target(data: bytes) -> None:
    before = len(sys.modules)
    READERS.read(data)
    assert len(sys.modules) == before, "something was imported"


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
