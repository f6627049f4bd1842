"""The proof: what the log of a killed run says of its tasks, and whether its result is that of a run that wasn't killed.

Nothing is assumed of the engine but that a body runs only after its start is in the log. The log is read from its
beginning, its chain of hashes is verified, and tasks are counted on both sides of the kill.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, inspect_run
from perdure.engine.inspection.verify import verify_run
from perdure.events import NodeCompleted, NodeStarted, ReducerUpdated
from perdure.store.port import Store


class Proof(msgspec.Struct, frozen=True):
    """What was counted in a log.

    Attributes:
        killed_after: the seq of the last event before the kill.
        events: how many there are in all.
        completed_before: tasks whose completion was recorded before the kill.
        in_flight: tasks that had started before it, and hadn't finished.
        started_after: tasks that were started after it.
        in_flight_started_again: of those in flight, how many were.
        completed_started_again: of those completed, how many were. This has to be 0.
        completed_twice: tasks with two completions. This has to be 0.
        folded: values that were folded by joins.
        folded_twice: values that a join folded twice. This has to be 0.
        chain_is_sound: whether every row of the log is what was written.
        equals_uninterrupted: whether the result is that of the run that wasn't killed.
    """

    killed_after: int
    events: int
    completed_before: int
    in_flight: int
    started_after: int
    in_flight_started_again: int
    completed_started_again: int
    completed_twice: int
    folded: int
    folded_twice: int
    chain_is_sound: bool
    equals_uninterrupted: bool

    @property
    def holds(self) -> bool:
        """Whether all of it is as promised."""
        wrong = self.completed_started_again + self.completed_twice + self.folded_twice
        return not wrong and self.chain_is_sound and self.equals_uninterrupted


async def prove(store: Store, run_id: str, killed_after: int, uninterrupted: str) -> Proof:
    """Count what happened to the tasks of a run before and after a kill.

    Args:
        store: where both runs are.
        run_id: the run that was killed and has been resumed.
        killed_after: the seq its log had reached when its process was dead.
        uninterrupted: the run to compare the result with.
    """
    info = await find(store, run_id)
    started_before: set[str] = set()
    started_after: set[str] = set()
    completed_before: set[str] = set()
    completions: Counter[str] = Counter()
    folds: Counter[tuple[str, str]] = Counter()
    events = 0
    async for recorded in read_history(store, info):
        event, events = recorded.event, recorded.seq
        is_before = recorded.seq <= killed_after
        if isinstance(event, NodeStarted):
            (started_before if is_before else started_after).add(event.task)
        elif isinstance(event, NodeCompleted):
            completions[event.task] += 1
            if is_before:
                completed_before.add(event.task)
        elif isinstance(event, ReducerUpdated):
            folds[event.task, event.join] += 1
    in_flight = started_before - completed_before
    return Proof(
        killed_after=killed_after,
        events=events,
        completed_before=len(completed_before),
        in_flight=len(in_flight),
        started_after=len(started_after),
        in_flight_started_again=len(in_flight & started_after),
        completed_started_again=len(completed_before & started_after),
        completed_twice=_twice(completions),
        folded=folds.total(),
        folded_twice=_twice(folds),
        chain_is_sound=(await verify_run(store, info)).is_sound,
        equals_uninterrupted=await _result(store, run_id) == await _result(store, uninterrupted),
    )


def _twice(counts: Counter[Any]) -> int:
    return sum(count > 1 for count in counts.values())


async def _result(store: Store, run_id: str) -> Any:
    inspection = await inspect_run(store, run_id)
    return inspection.info.status, inspection.result
