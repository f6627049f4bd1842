"""Values of types made at random, and bytes made to do harm: what is read is what was written, or it is refused.

Nothing is imported on the way, nothing but the declared errors comes up, and time and memory stay bounded.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from faults.hostile import NAMES, hostile, hostile_json, seeds
from faults.made_types import cases
from faults.reading_bytes import Readers
from perdure import CodecError
from property.test_codec_round_trip import CLASSES, Order, Point
from unit.codec.exchange import round_trip, same

ANNOTATIONS: tuple[Any, ...] = (Any, list[int], dict[str, Point | None], Order, tuple[Order | None, ...])

MEMORY = 30
"""How many times the size of what is read it may take, at most; and a megabyte."""

checked = {"values": 0, "refused": 0}


def comes_back_or_is_refused(case: tuple[Any, Any, tuple[Any, ...]]) -> None:
    annotation, value, classes = case
    checked["values"] += 1
    try:
        back = round_trip(annotation, value, *classes)
    except CodecError as error:
        checked["refused"] += 1
        assert error.path.startswith("$")
        assert "surrogate" in error.problem, error
        is_hidden = "_secret" in error.path or "__pydantic_extra__" in error.path  # from repr
        assert is_hidden or re.search(r"\\ud[89a-f]", repr(value)), error
        return
    assert same(value, back)


@settings(max_examples=150)
@given(cases())
def test_values_of_types_made_at_random_come_back_as_they_were(case: Any) -> None:
    comes_back_or_is_refused(case)


@pytest.mark.campaign
def test_campaign_values_of_types_made_at_random_come_back_as_they_were() -> None:
    began = time.perf_counter()
    for number in range(6):
        explore = settings(
            max_examples=500, derandomize=False, database=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*HealthCheck],
        )  # fmt: skip
        seed(number)(explore(given(cases())(comes_back_or_is_refused)))()
    print(f"\n{checked} in {time.perf_counter() - began:.0f} s", flush=True)
    assert checked["values"] > 2_500


@pytest.fixture(scope="module")
def readers() -> Readers:
    return Readers(CLASSES, ANNOTATIONS)


def read_hostile(readers: Readers, chance: Random, count: int) -> None:
    known = seeds()
    for number in range(count):
        data = hostile(chance, known)
        try:
            readers.read(data)
            if number % 50 == 0:
                readers.check_nothing_was_imported()
        except BaseException as error:
            error.add_note(f"while {data[:300]!r} was read")
            raise
    readers.check_nothing_was_imported()


def test_bytes_that_do_harm_are_refused_in_the_declared_way(readers: Readers) -> None:
    read_hostile(readers, Random(1), 700)
    assert min(readers.decoded, readers.refused) > 0


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_the_declared_way(data: bytes) -> None:
    Readers((), (Any,)).read(data)


def test_reading_takes_memory_in_proportion_to_what_is_read(readers: Readers) -> None:
    chance, known, worst = Random(2), seeds(), 0.0
    tracemalloc.start()
    try:
        for _ in range(200):
            data = hostile(chance, known)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            readers.read(data)
            _, peak = tracemalloc.get_traced_memory()
            worst = max(worst, (peak - before) / (len(data) * MEMORY + (1 << 20)))
    finally:
        tracemalloc.stop()
    assert worst < 1


@pytest.mark.campaign
def test_campaign_bytes_that_do_harm_are_refused_in_the_declared_way(readers: Readers) -> None:
    began = time.perf_counter()
    read_hostile(readers, Random(os.urandom(8)), 200_000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    took = time.perf_counter() - began
    print(
        f"\n200000 texts: {readers.decoded} readings, {readers.refused} refusals in {took:.0f} s, peak {peak} MB",
        flush=True,
    )
    assert min(readers.decoded, readers.refused) > 0


@pytest.mark.campaign
def test_campaign_atheris_finds_nothing_that_is_not_declared(folder: Path) -> None:
    """Coverage leads it; it begins with real logs and hostile values."""
    pytest.importorskip("atheris", reason="it is in the dependency group `fuzz`")
    corpus = folder / "corpus"
    corpus.mkdir()
    chance = Random(3)
    values = [json.dumps({"$": name, "v": hostile_json(chance)}).encode() for name in NAMES for _ in range(5)]
    for number, data in enumerate([*seeds(), *values]):
        (corpus / f"{number}").write_bytes(data)
    seconds = int(os.environ.get("PERDURE_FUZZ_S", "240"))
    program = Path(__file__).with_name("fuzz_events.py")
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [sys.executable, str(program), str(corpus), *limits, f"-artifact_prefix={folder}/"],
        capture_output=True, text=True, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    last = [line for line in done.stderr.splitlines() if re.match(r"#\d+|stat::", line)]
    print("\n" + "\n".join(last[-8:]), flush=True)
    assert done.returncode == 0, done.stderr[-5000:]
