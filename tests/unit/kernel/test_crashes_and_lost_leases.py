"""A crash is counted where a process has died, or may have; not where it lives and has only lost its lease."""

from __future__ import annotations

import pytest

from perdure import GraphBuilder, reduce_list_append
from perdure.events import Before, RunFailed, SegmentStarted
from perdure.kernel.decide.decide import Happening, take_over
from perdure.kernel.fold.status import Status
from unit.graph.graphs import builder, steps
from unit.kernel.bench import Bench

ARMS = ["items[0]/a", "items[1]/a"]


def begun(inputs: list[int]) -> Bench:
    g: GraphBuilder[None, None, list[int], list[int]] = builder()
    (a,) = steps(g, "a")
    joined = g.join(reduce_list_append, initial_factory=list, node_id="joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return Bench(g.build(), inputs)


def taken_over(bench: Bench, before: Before) -> None:
    segment = SegmentStarted("another", "", before=before)
    bench._keep(take_over(bench.run, segment, Happening(0), bench.code))


def test_a_run_is_never_failed_for_leases_that_living_processes_lost() -> None:
    bench = begun([1])
    for _ in range(50):
        taken_over(bench, "lives")
        assert bench.running() == ["items[0]/a"]
    assert bench.run.crashes == 0
    bench.finish("items[0]/a")
    assert bench.run.status is Status.COMPLETED


@pytest.mark.parametrize("before", ["", "died", "elsewhere", "unknown"])
def test_what_is_not_known_to_live_is_counted_until_the_only_suspect_has_failed(before: Before) -> None:
    bench = begun([1])
    crashes = 0
    while bench.run.status is Status.RUNNING:
        taken_over(bench, before)
        crashes += 1
        assert crashes < 10
    assert (crashes, bench.run.crashes) == (4, 4), "the first makes it a suspect, three more count against it"
    assert isinstance(bench.events[-1], RunFailed)
    assert bench.events[-1].error.type == "CrashLoop"


def test_suspects_of_a_crash_stay_suspects_and_alone_through_a_lost_lease() -> None:
    bench = begun([1, 2])
    taken_over(bench, "died")
    assert bench.running() == ARMS
    taken_over(bench, "lives")
    assert bench.running() == ARMS, "after a single crash they still run together"
    taken_over(bench, "died")
    assert bench.running() == ARMS[:1]
    taken_over(bench, "lives")
    assert bench.running() == ARMS[:1]
    assert [task.crashes for task in bench.run.tasks.values()] == [0, 0]


def test_tasks_that_were_in_flight_when_a_lease_was_lost_are_no_suspects() -> None:
    bench = begun([1, 2])
    taken_over(bench, "lives")
    assert not any(task.is_suspect for task in bench.run.tasks.values())
    taken_over(bench, "died")
    taken_over(bench, "died")
    assert bench.running() == ARMS[:1]
