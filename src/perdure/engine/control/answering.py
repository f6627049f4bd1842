"""What comes to a run from outside: answers and signals.

They go into the run's inbox; that commit is the acknowledgement, and whoever drives the run, in whichever process, takes
them up from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from perdure.engine.calling.values import CodedValues
from perdure.engine.calling.waiting import Waiting, waiting_of
from perdure.engine.workers.worker import Worker
from perdure.errors import AnswerRefused, GraphSetupError, RunNotFound
from perdure.graph.nodes.forms import answered, plain_answer
from perdure.graph.nodes.schemas import check_schema, decoded_answer
from perdure.graph.nodes.wait import Wait as WaitNode
from perdure.graph.plan import WaitKind
from perdure.ids import checked_by, checked_identifier
from perdure.store.encryption import check_readable
from perdure.store.records import LET_IN, MAX_SIGNALS, NewEntry, RunInfo, Wait


class Answering:
    """Hands what comes from outside to runs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._store = worker.store

    async def waiting(
        self, run_id: str | None, *, assignee: str | None, kind: str | None, limit: int
    ) -> Sequence[Waiting]:
        """Return open waits, the oldest first."""
        found = await self._store.waits(run_id=run_id, assignee=assignee, kind=kind, limit=limit)
        return [waiting_of(wait) for wait in found]

    # --- answers and signals ---

    async def respond(self, run_id: str, task_id: str, value: Any, by: str) -> None:
        """Answer a task that waits for a person."""
        by, task_id = checked_by(by), checked_identifier("task id", task_id)
        info = await self._info(run_id)
        data = self._recorded("answer", plain_answer(value))
        decoded_answer(data)
        for wait in await self._store.waits(run_id=run_id, task=task_id, kind=WaitKind.HUMAN.value):
            self._check(info, wait, data)
        entry = NewEntry(run_id, "answer", task_id, data, by, self._worker.clock.now())
        put, known = await self._worker.arrivals.hand_in(entry, info)
        if put == "taken":
            who = f" by {known.by}" if known is not None and known.by else ""
            raise AnswerRefused(f"run {run_id!r}: task {task_id} has been answered already{who}, and differently")
        if put not in LET_IN:
            raise AnswerRefused(
                f"run {run_id!r}: no person is asked by task {task_id}: it isn't open (any more); `waiting` lists those that are"
            )

    def _check(self, info: RunInfo, wait: Wait, data: bytes) -> None:
        """See to it that an answer fits its form, as far as that can be told here."""
        mine = self._worker.graphs.of(info)
        node = mine.graph.nodes.get(wait.node) if mine is not None else None
        is_same = mine is not None and mine.graph.fingerprint == info.fingerprint
        if mine is not None and is_same and isinstance(node, WaitNode):
            CodedValues(mine.codec).record(wait.node, answered(node.form, data))
            return
        schema = msgspec.json.decode(wait.schema)
        if schema:
            with suppress(GraphSetupError):  # without jsonschema, whoever drives the run checks it
                check_schema(schema, decoded_answer(data))

    async def signal(self, run_id: str, name: str, payload: Any, by: str) -> None:
        """Send a signal to a run."""
        by, name = checked_by(by), checked_identifier("name of a signal", name)
        info = await self._info(run_id)
        data = self._recorded("signal", plain_answer(payload))
        decoded_answer(data)
        mine = self._worker.graphs.of(info)
        nodes = list(mine.graph.nodes.values()) if mine is not None else []
        forms = [node.form for node in nodes if isinstance(node, WaitNode) and node.name == name]
        refusals = []
        for form in forms:
            try:
                answered(form, data)
            except AnswerRefused as refusal:
                refusals.append(refusal)
        if forms and len(refusals) == len(forms):
            raise refusals[0]
        entry = NewEntry(run_id, "signal", name, data, by, self._worker.clock.now())
        put, _ = await self._worker.arrivals.hand_in(entry, info)
        if put == "over":
            raise AnswerRefused(f"run {run_id!r} is over, and takes no signal {name!r}")
        if put == "full":
            raise AnswerRefused(
                f"run {run_id!r} has {MAX_SIGNALS:,} signals in its inbox already, and takes no more before they are taken up: try "
                "again when somebody drives it"
            )

    def _recorded(self, where: str, data: bytes) -> bytes:
        """Return what comes from outside as it may be stored."""
        redaction = self._worker.redaction
        return data if redaction is None else redaction.json(where, data)

    async def _info(self, run_id: str) -> RunInfo:
        info = await self._store.get(run_id)
        if info is None:
            raise RunNotFound(f"{self._store.location} holds no run {run_id!r}", run_id=run_id)
        check_readable(info)
        return info
