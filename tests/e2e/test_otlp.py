"""A run that crosses three processes is one trace at the backend, and its batches are those of its log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdure import Engine, Recorded
from perdure import events as ev
from perdure.cli.main import run as perdure
from perdure.telemetry.spans import trace_id_of

sys.path.insert(0, str(Path(__file__).parent))
from otlp_receiver import Receiver, said
from told_run import WIDTH, build

PROGRAM = Path(__file__).with_name("told_run.py")


def begin(db: Path, receiver: Receiver, upto: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAM), str(db), receiver.endpoint, str(upto)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def completed(spans: Sequence[Any]) -> int:
    """Return how many of the branches are told of as completed."""
    ids = {
        span.span_id for span in spans if span.name == "step ask" and said(span).get("perdure.outcome") == "completed"
    }
    return len(ids)


def history_of(db: Path) -> Sequence[Recorded]:
    async def read() -> Sequence[Recorded]:
        async with Engine.open(db, recover=False) as engine:
            return await engine.history("run")

    return asyncio.run(read())


def test_a_run_killed_twice_is_one_whole_trace_at_the_backend(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    with Receiver() as receiver:
        for upto in (150, 350):
            process = begin(db, receiver, upto)
            try:
                receiver.wait_for(lambda spans, upto=upto: completed(spans) == upto)
            finally:
                kill(process)
        last = begin(db, receiver, WIDTH)
        out, _ = last.communicate(timeout=60)
        assert out.decode().strip() == str(sum(range(WIDTH)))
        deliveries = receiver.deliveries
    history = history_of(db)
    spans: dict[bytes, Any] = {}
    for span in deliveries:
        known = spans.setdefault(span.span_id, span)
        assert known == span, "a span that is sent again is the same span"
    check_trace(list(spans.values()), history)


def check_trace(spans: list[Any], history: Sequence[Recorded]) -> None:
    assert {span.trace_id for span in spans} == {trace_id_of("run").to_bytes(16, "big")}
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id and span.parent_span_id not in ids] == []
    kinds = Counter(said(span)["perdure.span.kind"] for span in spans if span.name != "call")
    assert kinds["start"] == kinds["run"] == kinds["batch"] == kinds["join"] == 1
    assert kinds["segment"] == 3
    times = {type(recorded.event): recorded.ts for recorded in history}
    [batch] = [span for span in spans if span.name == "batch people"]
    assert said(batch)["perdure.batch.size"] == WIDTH
    assert said(batch)["perdure.batch.completed"] == WIDTH
    opened = next(recorded.ts for recorded in history if isinstance(recorded.event, ev.ForkOpened))
    assert (batch.start_time_unix_nano, batch.end_time_unix_nano) == (opened * 1000, times[ev.JoinClosed] * 1000)
    outcomes = Counter(said(span)["perdure.outcome"] for span in spans if span.name == "step ask")
    assert outcomes == {"completed": WIDTH, "lost": 350 + 150}
    assert all(
        said(span)["error.type"] == "lost" and span.status.code == 2
        for span in spans
        if said(span).get("perdure.outcome") == "lost"
    )
    links = [link for span in spans if span.name.startswith("join collect") for link in span.links]
    asked = {span.span_id for span in spans if span.name == "step ask" and said(span)["perdure.outcome"] == "completed"}
    why = Counter(said(link)["perdure.link"] for link in links)
    assert why == {"batch": 1, "branch": WIDTH}
    assert {link.span_id for link in links if said(link)["perdure.link"] == "branch"} == asked
    assert max(len(span.links) for span in spans) <= 100
    calls = [span for span in spans if span.name == "call"]
    assert {span.parent_span_id for span in calls} <= asked
    assert len(calls) >= 5


def test_a_past_run_is_exported_again_with_the_same_spans(tmp_path: Path, capsys: Any) -> None:
    db = tmp_path / "runs.db"

    async def run() -> None:
        graph = build(WIDTH, None)
        async with Engine.open(db, [graph]) as engine:
            await (await engine.start(graph, run_id="run")).result()

    asyncio.run(run())
    with Receiver() as receiver:
        for _ in range(2):
            assert perdure(["export", "run", "--db", str(db), "--endpoint", receiver.endpoint]) == 0
        sent = [span.SerializeToString() for span in receiver.deliveries]
    assert sent[: len(sent) // 2] == sent[len(sent) // 2 :]
    assert f"{len(sent) // 2} spans sent" in capsys.readouterr().err
