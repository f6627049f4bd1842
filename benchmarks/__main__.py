"""``python -m benchmarks [names]``: measure, and print medians and ratios."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import as_json, measure, shown
from benchmarks.peers import turns
from benchmarks.suite import ALL, LONG


def main() -> None:
    """Run the benchmarks that are named, or all but the longest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(ALL)}; by default all but {', '.join(LONG)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender takes its turn")
    parser.add_argument("--dir", type=Path, help="where the files lie; a disk whose fsync is real")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each benchmark")
    parser.add_argument(
        "--peers", action="store_true", help=f"with {', '.join(turns.MODULES)} where they can do the work"
    )
    parser.add_argument("--environment", type=Path, help="where the peers are or get installed, to use them again")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in ALL]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")
    with tempfile.TemporaryDirectory(prefix="perdure-peers-") as temporary:
        if given.peers:
            python = turns.install((given.environment or Path(temporary) / "environment").absolute())
            print(turns.versions(python), file=sys.stderr, flush=True)
            turns.join_in(ALL, python)
        default = turns.WORKS if given.peers else [name for name in ALL if name not in LONG]
        for name in given.names or default:
            benchmark = ALL[name]
            figures = measure(benchmark, given.rounds, given.dir)
            print(as_json(benchmark, figures) if given.json else shown(benchmark, figures) + "\n", flush=True)


if __name__ == "__main__":
    main()
