"""What reads the bytes of a store, and what it may raise."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import msgspec

from perdure import CodecError, GraphBuilder
from perdure.codec.blobs import BlobMissing, Blobs
from perdure.codec.codec import Codec
from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import read_row
from perdure.errors import GraphRuntimeError, StoreCorrupt
from perdure.events import decode_events
from perdure.store.chain import chained
from perdure.store.records import Row

LONGEST_S = 2.0
"""How long reading up to a megabyte may take, on a machine that does much else."""


class Readers:
    """Everything that is read from a store, each with what it says it raises."""

    def __init__(self, classes: tuple[Any, ...], annotations: tuple[Any, ...]) -> None:
        self._codecs = []
        for annotation in annotations:
            g = GraphBuilder(name="values", input_type=annotation, output_type=Any, types=classes)
            g.add(g.edge_from(g.start_node).to(g.end_node))
            self._codecs.append(Codec(g.build()))
        self.decoded = self.refused = 0
        self.read(b"[1]")  # what is loaded at first use isn't loaded by what is read
        self._modules = set(sys.modules)

    def read(self, data: bytes) -> None:
        """Read bytes in every way.

        Raises:
            AssertionError: something happened that mustn't.
            Exception: something came up that isn't declared.
        """
        began = time.perf_counter()
        for codec in self._codecs:
            for read in (codec.read, codec.read_items):
                try:
                    read("__start__", msgspec.Raw(data), Blobs())
                    self.decoded += 1
                except CodecError as error:
                    self.refused += 1
                    assert error.path.startswith("$")
                except BlobMissing:
                    pass
        try:
            decode_events(data)
            self.decoded += 1
        except msgspec.DecodeError:
            self.refused += 1
        row = Row(1, 1, 1, 0, data, chained(b"", "run", 1, 1, 1, 0, data))
        with contextlib.suppress(GraphRuntimeError, StoreCorrupt):
            read_row(row, Position(0, b"", 0), "run", "store")
        assert time.perf_counter() - began < LONGEST_S * len(self._codecs), "it took too long"

    def check_nothing_was_imported(self) -> None:
        assert set(sys.modules) - self._modules == set()
