"""``python -m benchmarks.telemetry``: what telemetry costs the map of 10,000, durable on a file and in memory.

Without an SDK it is counted, in instructions, by valgrind: they hardly vary from turn to turn. With one it is timed, in turns
with and without: how long the run takes, and how much of the processor the telling takes in its own thread, for each span.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import perdure
from benchmarks import graphs
from perdure.telemetry import Telemetry

WIDTH = 10_000
WHERE = ("durable", "in memory")


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


@dataclass
class Turn:
    """One run of the map: how long it took, what the process took of the processor until all was told, how many spans."""

    seconds: float
    cpu_s: float
    spans: int


async def turn(where: str, mode: str, width: int, folder: Path) -> Turn:
    """Run the map once, without telemetry, with it but without an SDK, or with both."""
    graph, telemetry, exporter, provider = graphs.mapped(perdure), None, Nowhere(), None
    if mode == "no-sdk":
        telemetry = Telemetry()
    elif mode == "sdk":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        telemetry = Telemetry(tracer_provider=provider, closing_s=60)
    cpu, began = time.process_time(), time.perf_counter()
    if where == "in memory":
        await graph.run(inputs=list(range(width)), telemetry=telemetry)
        ran = time.perf_counter() - began
    else:
        async with perdure.Engine.open(folder / "runs.db", [graph], telemetry=telemetry) as engine:
            began = time.perf_counter()
            await (await engine.start(graph, inputs=list(range(width)))).result()
            ran = time.perf_counter() - began
    if provider is not None:
        provider.shutdown()
    return Turn(ran, time.process_time() - cpu, exporter.count)


def turned(where: str, mode: str, width: int) -> Turn:
    """Run the map once, on a new file."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(turn(where, mode, width, Path(folder)))


def instructions(where: str, mode: str, width: int) -> int:
    """Return how many instructions a process takes that runs the map once."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.telemetry", "--child", mode, "--where", where, "--width", str(width)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def count(where: str, width: int) -> None:
    """Print what telemetry without an SDK costs, in instructions; what a process takes to start is taken off."""
    counts = {mode: instructions(where, mode, width) - instructions(where, mode, 1) for mode in ("off", "no-sdk")}
    share = counts["no-sdk"] / counts["off"] - 1
    print(f"{where}: without telemetry    {counts['off'] / width:,.0f} instructions an item")
    print(f"{where}: without an SDK       {counts['no-sdk'] / width:,.0f} instructions an item ({share:+.2%})")


def clock(where: str, width: int, rounds: int) -> None:
    """Print what telemetry with an SDK and its batch processor costs, in time."""
    turns = [{mode: turned(where, mode, width) for mode in ("off", "sdk")} for _ in range(rounds)]
    off, on = (median(pair[mode].seconds for pair in turns) / width * 1e6 for mode in ("off", "sdk"))
    spans = turns[0]["sdk"].spans
    cpu = median((pair["sdk"].cpu_s - pair["off"].cpu_s) / spans for pair in turns) * 1e6
    print(f"{where}: run, without         {off:.1f} µs an item")
    print(f"{where}: run, batch processor {on:.1f} µs an item, while the spans are told beside it")
    print(f"{where}: told                 {spans} spans, {cpu:.1f} µs of the processor a span")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--child", choices=["off", "no-sdk", "sdk"], help="only run the map once")
    parser.add_argument("--where", choices=WHERE, help="only there")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.child:
        turned(given.where or WHERE[0], given.child, given.width)
        return
    if shutil.which("valgrind") is None:
        print("valgrind isn't installed; instructions are left out")
    for where in (given.where,) if given.where else WHERE:
        if shutil.which("valgrind") is not None:
            count(where, given.width)
        clock(where, given.width, given.rounds)


if __name__ == "__main__":
    main()
