"""Everything that can happen in a run, over three processes of which two are killed, arrives at a backend as its log has it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from perdure import Batches, Engine, Recorded
from perdure import events as ev
from perdure.telemetry.spans import trace_id_of

sys.path.insert(0, str(Path(__file__).parent))
from otlp_receiver import Receiver, said
from told_everything import build

PROGRAM = Path(__file__).with_name("told_everything.py")


class Told:
    """What a backend was sent of a run and its fork, and what their logs say."""

    def __init__(self, deliveries: Sequence[Any], histories: dict[str, Sequence[Recorded]]) -> None:
        self.deliveries = deliveries
        self.histories = histories
        self.sent: dict[bytes, Any] = {}
        self.differing: list[str] = []
        for span in deliveries:
            if self.sent.setdefault(span.span_id, span) != span:
                self.differing.append(span.name)

    def of(self, run_id: str) -> list[Any]:
        trace_id = trace_id_of(run_id).to_bytes(16, "big")
        return [span for span in self.sent.values() if span.trace_id == trace_id]


def of_kind(spans: Sequence[Any], kind: str) -> list[Any]:
    return [span for span in spans if said(span).get("perdure.span.kind") == kind]


def linked(spans: Sequence[Any], why: str) -> set[bytes]:
    return {link.span_id for span in spans for link in span.links if said(link)["perdure.link"] == why}


async def _histories(db: Path) -> dict[str, Sequence[Recorded]]:
    async with Engine.open(db, recover=False) as engine:
        return {run_id: await engine.history(run_id) for run_id in ("run", "fork")}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    db = tmp_path_factory.mktemp("told") / "runs.db"

    def outcomes(spans: Sequence[Any]) -> Counter[tuple[str, str]]:
        found = {span.span_id: (span.name, said(span).get("perdure.outcome", "")) for span in spans}
        return Counter(found.values())

    with Receiver() as receiver:
        expected = [("step cell", "completed", 4), ("step cell", "completed", 6)]
        for life, (name, outcome, count) in enumerate(expected, 1):
            process = Popen([sys.executable, str(PROGRAM), str(db), receiver.endpoint, str(life)], stdout=PIPE)
            try:
                receiver.wait_for(
                    lambda spans, count=count, key=(name, outcome): (
                        outcomes(spans)[key] == count
                        and outcomes(spans)["step flaky", "completed"] == 1
                        and outcomes(spans)["step tick", "completed"] == 4
                        and outcomes(spans)["wait sleep", "elapsed"] == 1
                    )
                )
            finally:
                process.kill()
                process.communicate()
        last = Popen([sys.executable, str(PROGRAM), str(db), receiver.endpoint, "3"], stdout=PIPE)
        out, _ = last.communicate(timeout=120)
        assert out.decode().splitlines() == [str([1, 3, 3, 6, 7, 21]), str([1, 3, 3, 6, 8, 21])]
        return Told(receiver.deliveries, asyncio.run(_histories(db)))


def test_what_is_sent_again_after_a_kill_is_the_same_span(told: Told) -> None:
    assert len(told.deliveries) > len(told.sent)
    assert told.differing == []


@pytest.mark.parametrize("run_id", ["run", "fork"])
def test_a_run_is_one_trace_without_a_dangling_parent_or_link(told: Told, run_id: str) -> None:
    spans = told.of(run_id)
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id and span.parent_span_id not in ids] == []
    links = [link for span in spans for link in span.links if said(link)["perdure.link"] != "origin"]
    assert [link for link in links if link.span_id not in ids] == []
    assert [span.name for span in spans if not span.parent_span_id] == ["start everything"]
    named = {said(span)["perdure.run.id"] for span in spans if span.name != "call"}
    assert named == {run_id}


@pytest.mark.parametrize("run_id", ["run", "fork"])
def test_every_batch_has_the_width_the_times_and_the_outcomes_of_the_log(told: Told, run_id: str) -> None:
    batches = Batches(build(3)[0])
    for recorded in told.histories[run_id]:
        batches.add(recorded)
    spans = {str(said(span)["perdure.batch.id"]): span for span in of_kind(told.of(run_id), "batch")}
    known = {instance: batch for instance, batch in batches.by_instance.items() if batch.fork != "__start__"}
    assert set(spans) == set(known)
    assert len(spans) == len(of_kind(told.of(run_id), "batch")) == 7  # broadcast, rows, three columns, beats, race
    innermost: dict[str, str] = {}
    for instance, batch in batches.by_instance.items():
        innermost.update(dict.fromkeys(batch.members, instance))
    for instance, batch in known.items():
        about = said(spans[instance])
        counts = Counter(m.outcome for m in batch.members.values() if innermost[m.task] == instance)
        assert counts["running"] == counts["retrying"] == 0
        for outcome in ("completed", "failed", "cancelled"):
            assert about[f"perdure.batch.{outcome}"] == counts[outcome], (batch.fork, outcome)
        assert about.get("perdure.batch.size") == (batch.size if batch.fork != "beats" else 4)
        took = (spans[instance].start_time_unix_nano, spans[instance].end_time_unix_nano)
        ends = [member.ended_at for member in batch.members.values()]
        assert took == (batch.opened_at * 1000, max(end for end in ends if end is not None) * 1000), batch.fork


def test_every_attempt_is_told_with_what_came_of_it(told: Told) -> None:
    history, steps = told.histories["run"], of_kind(told.of("run"), "step")
    started = Counter(r.event.node for r in history if isinstance(r.event, ev.NodeStarted))
    assert Counter(said(span)["perdure.node.id"] for span in steps) == started
    began = {(r.event.task, r.event.attempt): r.ts for r in history if isinstance(r.event, ev.NodeStarted)}
    ended = {r.event.task: r.ts for r in history if isinstance(r.event, ev.NodeCompleted | ev.NodeCancelled)}
    for span in steps:
        about = said(span)
        assert span.start_time_unix_nano == began[about["perdure.task.id"], about["perdure.attempt"]] * 1000
        if about["perdure.outcome"] in ("completed", "cancelled"):
            assert span.end_time_unix_nano == ended[about["perdure.task.id"]] * 1000
    outcomes = Counter((span.name, said(span)["perdure.outcome"]) for span in steps)
    assert outcomes["step gate", "lost"] == 2
    assert outcomes["step gate", "completed"] == 1
    assert outcomes["step cell", "lost"] == 2
    assert outcomes["step cell", "completed"] == 6
    assert outcomes["step slow", "cancelled"] == 1
    flaky = sorted(
        (span for span in steps if span.name == "step flaky"), key=lambda span: said(span)["perdure.attempt"]
    )
    assert [said(span).get("error.type") for span in flaky] == ["ValueError", "ValueError", None]
    assert linked(flaky, "previous attempt") == {span.span_id for span in flaky[:2]}
    failed = {span.name for span in told.of("run") if span.status.code == 2}
    assert failed == {"step flaky", "step gate", "step cell", "segment"}, "what was cancelled has not failed"


def test_every_join_links_its_batch_and_every_branch(told: Told) -> None:
    spans = told.of("run")
    joins = {span.name: span for span in of_kind(spans, "join")}
    done = {name: {s.span_id for s in spans if s.name == name and said(s)["perdure.outcome"] == "completed"}
            for name in ("step cell", "step tick", "step flaky", "step gate", "step quick")}  # fmt: skip
    assert linked([joins["join cells"]], "branch") == done["step cell"]
    assert linked([joins["join ticked"]], "branch") == done["step tick"]
    batches = {said(span)["perdure.batch.fork"]: span.span_id for span in of_kind(spans, "batch")}
    columns = {span.span_id for span in spans if span.name == "batch columns"}
    assert linked([joins["join cells"]], "batch") == {batches["rows"]} | columns
    [signal] = [span for span in spans if span.name == "wait signal"]
    arrived = linked([joins["join together"]], "branch")
    assert {joins["join cells"].span_id, joins["join ticked"].span_id, signal.span_id} < arrived
    assert done["step flaky"] | done["step gate"] < arrived
    assert len(arrived) == 6


def test_waits_and_segments_are_told_across_the_processes(told: Told) -> None:
    spans = told.of("run")
    waits = {span.name: said(span)["perdure.outcome"] for span in of_kind(spans, "wait")}
    assert waits == {"wait sleep": "elapsed", "wait signal": "answered"}
    segments = sorted(of_kind(spans, "segment"), key=lambda span: said(span)["perdure.segment.number"])
    assert [said(span)["perdure.outcome"] for span in segments] == ["crashed", "crashed", "completed"]
    assert linked(segments, "previous segment") == {span.span_id for span in segments[:2]}
    workers = {said(span)["perdure.segment.worker"] for span in segments}
    assert len(workers) == 3


def test_spans_of_the_user_nest_under_the_attempts_that_opened_them(told: Told) -> None:
    calls = [span for span in told.of("run") if span.name == "call"]
    cells = {span.span_id for span in told.of("run") if span.name == "step cell"}
    assert len(calls) == 6
    assert {span.parent_span_id for span in calls} <= cells


def test_a_fork_is_a_trace_of_its_own_that_links_its_origin(told: Told) -> None:
    [ended] = of_kind(told.of("fork"), "run")
    [start] = of_kind(told.of("run"), "start")
    [origin] = [link for link in ended.links if said(link)["perdure.link"] == "origin"]
    assert (origin.trace_id, origin.span_id) == (start.trace_id, start.span_id)
    assert said(ended)["perdure.run.origin"] == "run"
