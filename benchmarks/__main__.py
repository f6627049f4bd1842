"""``python -m benchmarks [names]``: measure, and print medians and ratios."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.measure import as_json, measure, shown
from benchmarks.suite import ALL, HAS_PEER, PEER


def main() -> None:
    """Run the benchmarks that are named, or all but the longest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(ALL)}; by default all but million")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender takes its turn")
    parser.add_argument("--dir", type=Path, help="where the files lie; a disk whose fsync is real")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each benchmark")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in ALL]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")
    skip = frozenset() if HAS_PEER else frozenset({PEER})
    if skip:
        print("pydantic-graph isn't installed and is left out; pip install --group bench\n")
    for name in given.names or [name for name in ALL if name != "million"]:
        benchmark = ALL[name]
        figures = measure(benchmark, given.rounds, given.dir, skip)
        print(as_json(benchmark, figures) if given.json else shown(benchmark, figures) + "\n", flush=True)


if __name__ == "__main__":
    main()
