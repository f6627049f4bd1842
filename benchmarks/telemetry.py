"""``python -m benchmarks.telemetry``: what telemetry costs the map of 10,000.

Without an SDK it is counted, in instructions, by valgrind: they hardly vary from turn to turn. With one it is timed: the run
itself, and what the telling takes in its own thread, for each span.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

import perdure
from benchmarks import graphs
from perdure.telemetry import Telemetry

WIDTH = 10_000


class Nowhere:
    """An exporter that drops what it is given, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    def export(self, spans: Sequence[object]) -> object:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.count += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """There is nothing to end."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


async def turn(mode: str, width: int) -> tuple[float, float, int]:
    """Run the map once; return how long the run took, how long until all was told, and how many spans that were."""
    graph, telemetry, exporter = graphs.mapped(perdure), None, Nowhere()
    if mode == "no-sdk":
        telemetry = Telemetry()
    elif mode == "sdk":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        telemetry = Telemetry(tracer_provider=provider)
    began = time.perf_counter()
    async with perdure.Engine.open(perdure.MemoryStore(), [graph], telemetry=telemetry) as engine:
        await (await engine.start(graph, inputs=list(range(width)))).result()
        ran = time.perf_counter() - began
    return ran, time.perf_counter() - began, exporter.count


def instructions(mode: str, width: int) -> int:
    """Return how many instructions a process takes that runs the map once."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.telemetry", "--child", mode, "--width", str(width)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--child", choices=["off", "no-sdk", "sdk"], help="only run the map once")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.child:
        asyncio.run(turn(given.child, given.width))
        return
    if shutil.which("valgrind") is None:
        print("valgrind isn't installed; instructions are left out")
    else:
        # What a process takes to start is taken off by a map of one item.
        counts = {mode: instructions(mode, given.width) - instructions(mode, 1) for mode in ("off", "no-sdk")}
        share = counts["no-sdk"] / counts["off"] - 1
        print(f"without telemetry   {counts['off'] / given.width:,.0f} instructions an item")
        print(f"without an SDK      {counts['no-sdk'] / given.width:,.0f} instructions an item ({share:+.2%})")
    turns = {mode: [asyncio.run(turn(mode, given.width)) for _ in range(given.rounds)] for mode in ("off", "sdk")}
    off, on = (median(ran for ran, _, _ in turns[mode]) for mode in ("off", "sdk"))
    total = median(told for _, told, _ in turns["sdk"])
    spans = turns["sdk"][0][2]
    print(f"run, without        {off / given.width * 1e6:.1f} µs an item")
    print(f"run, batch processor {on / given.width * 1e6:.1f} µs an item, while the spans are told beside it")
    print(f"told                {spans} spans, {(total - off) / spans * 1e6:.1f} µs a span in all")


if __name__ == "__main__":
    main()
