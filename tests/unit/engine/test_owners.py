"""What is known of a process from the name it left in a log, and from the lease it holds."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from perdure.engine.owner import appear, disappear, fate, is_provably_dead, process_of, worker_of
from perdure.events import SegmentStarted
from perdure.store.records import Owner

_NAME_YOURSELF = """
import msgspec, sys
from perdure.engine.owner import appear
print(msgspec.json.encode(appear()).decode(), flush=True)
sys.stdin.read()
"""


def segment_of(owner: Owner) -> SegmentStarted:
    return SegmentStarted(worker_of(owner), "", process=process_of(owner))


def test_a_worker_of_this_process_lives_until_it_disappears() -> None:
    owner = appear()
    segment = segment_of(owner)
    assert (fate(segment), is_provably_dead(owner)) == ("lives", False)
    disappear(owner)
    assert (fate(segment), is_provably_dead(owner)) == ("died", True)


def test_another_process_lives_until_it_has_ended_whoever_has_its_pid_then() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _NAME_YOURSELF], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = msgspec.json.decode(process.stdout.readline(), type=Owner)
        segment = segment_of(owner)
        assert (fate(segment), is_provably_dead(owner)) == ("lives", False)
        earlier = msgspec.structs.replace(owner, started="1")
        assert (fate(segment_of(earlier)), is_provably_dead(earlier)) == ("died", True)
        process.kill()
        process.wait()
        assert (fate(segment), is_provably_dead(owner)) == ("died", True)


def test_a_process_of_another_host_or_since_another_start_can_not_be_told() -> None:
    segment = segment_of(appear())
    place, _, started = segment.process.partition(":")
    elsewhere = msgspec.structs.replace(segment, process=f"{place[::-1]}0:{started}")
    assert fate(elsewhere) == "elsewhere"


def test_what_a_log_does_not_name_is_unknown() -> None:
    assert fate(None) == "unknown"
    assert fate(SegmentStarted("memory", "")) == "unknown"
    assert fate(SegmentStarted(f"host:{os.getpid()}:id", "")) == "unknown", "as written by earlier versions"
