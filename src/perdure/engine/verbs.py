"""Verbs: what can be wanted of a run from outside, by whoever has an engine on its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.engine.arguments import check_place
from perdure.engine.calling.waiting import Waiting
from perdure.engine.control.answering import Answering
from perdure.engine.control.control import Control
from perdure.engine.control.forking import Forking, fork
from perdure.engine.control.planning import Planned, PlannedVerb, planned
from perdure.engine.control.starting import made_up_id
from perdure.engine.handle import RunHandle
from perdure.engine.reading import Reading
from perdure.events import RunResumed, RunRetried
from perdure.graph.nodes.policies import optional_count
from perdure.graph.types import MISSING
from perdure.ids import checked_by, checked_identifier, checked_text


class Verbs(Reading):
    """The part of an engine that changes runs which exist."""

    _answering: Answering
    _control: Control

    async def waiting(
        self, run_id: str | None = None, *, assignee: str | None = None, kind: str | None = None, limit: int = 100
    ) -> Sequence[Waiting]:
        """Return what runs wait for, the oldest first.

        Args:
            run_id: only this run.
            assignee: only what this person is asked.
            kind: only ``"human"``, ``"signal"`` or ``"sleep"``.
            limit: how many at most.
        """
        self._check_open()
        return await self._answering.waiting(run_id, assignee=assignee, kind=kind, limit=limit)

    async def respond(self, run_id: str, task_id: str, value: Any, *, by: str = "") -> None:
        """Answer a task that waits for a person; when this returns the answer is durable.

        Args:
            run_id: the run.
            task_id: the task, as :meth:`waiting` names it.
            value: the answer, of the form's type or as plain data of its shape.
            by: who answers, for the record.

        Raises:
            AnswerRefused: it doesn't fit the form, the task doesn't wait, or somebody has answered it differently.
            RunNotFound: there is no such run.
        """
        self._check_open()
        await self._answering.respond(run_id, task_id, value, by)

    async def signal(self, run_id: str, name: str, payload: Any = None, *, by: str = "") -> None:
        """Send a signal to a run; when this returns it is durable, and kept until somebody waits for it.

        Args:
            run_id: the run.
            name: the name of the signal.
            payload: what comes with it.
            by: who sends it, for the record.

        Raises:
            AnswerRefused: the payload doesn't fit what the graph expects, the run is over, or it has 1,000 signals already that it
                hasn't taken up.
            RunNotFound: there is no such run.
        """
        self._check_open()
        await self._answering.signal(run_id, name, payload, by)

    async def pause(self, run_id: str, *, by: str = "", reason: str = "", now: bool = False) -> None:
        """Let a run stand still until it is resumed; when this returns the request is durable.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            now: whether bodies that run are interrupted; else they finish first.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is over, or stands still already.
        """
        self._check_open()
        await self._control.stop(run_id, "pause", by, reason, now=bool(now))

    async def cancel(self, run_id: str, *, by: str = "", reason: str = "") -> None:
        """End a run for good; when this returns the request is durable.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is over.
        """
        self._check_open()
        await self._control.stop(run_id, "cancel", by, reason)

    async def resume(self, run_id: str, *, by: str = "", reason: str = "", drive: bool = True) -> RunHandle[Any]:
        """Let a paused run go on.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            drive: whether this engine drives it; else it is left to another one, and its graph isn't needed here.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it isn't paused, or somebody else has just resumed it.
            RunStalled: this engine is to drive it and wasn't given its graph.
        """
        self._check_open()
        await self._control.start_again(run_id, "resume", RunResumed(by, reason), drive=drive)
        return self.attach(run_id)

    async def retry(
        self, run_id: str, *, by: str = "", reason: str = "", max_steps: int | None = None, drive: bool = True
    ) -> RunHandle[Any]:
        """Let a failed run go on: what failed, was interrupted or never ran runs now, what finished doesn't.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            max_steps: another limit to the length of a lineage.
            drive: whether this engine drives it; else it is left to another one, and its graph isn't needed here.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it hasn't failed, or somebody else has just retried it.
            RunStalled: this engine is to drive it and wasn't given its graph.
            GraphSetupError: the limit isn't a whole number of at least 1.
        """
        self._check_open()
        optional_count("max_steps", max_steps)
        await self._control.start_again(run_id, "retry", RunRetried(by, reason, max_steps), drive=drive)
        return self.attach(run_id)

    async def accept(self, run_id: str, *, by: str = "", reason: str = "") -> RunHandle[Any]:
        """Let a stalled run go on with the graph as this engine has it, though it has changed.

        What is recorded stays. The log has to fold with the present graph: where it doesn't, the run stays as it is.

        Args:
            run_id: the run.
            by: who takes that upon themselves, for the record.
            reason: why, for the record.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it isn't stalled.
            RunStalled: this engine wasn't given its graph.
            GraphRuntimeError: its log doesn't fold with the graph.
            StoreCorrupt: its log isn't what was written.
        """
        self._check_open()
        await self._control.accept(run_id, by, reason)
        return self.attach(run_id)

    async def fork_run(
        self,
        run_id: str,
        *,
        at: int | str | None = None,
        inputs: Any = MISSING,
        outputs: Mapping[str, Any] | None = None,
        new_run_id: str | None = None,
        by: str = "",
        reason: str = "",
        drive: bool = True,
    ) -> RunHandle[Any]:
        """Let a new run, with a log of its own, go on from a point of another one, whatever became of that.

        What finished in the source and depends on nothing that is dropped doesn't run again. What does is downstream of
        what is dropped: by edges, by joins, and by the state it was based on.

        Args:
            run_id: the source.
            at: the seq of an event: what the commits up to it recorded is kept; or a task, by id: it runs again, and what
                depends on it; a path will do instead of an id where only one task has it, and so will the output of a join. All is
                kept if this isn't given.
            inputs: other inputs; everything runs again.
            outputs: what tasks, by id or path, give out instead of what they did; what depends on them runs again. What waits is
                answered with it.
            new_run_id: the id of the new run; made up if it isn't given.
            by: who forks the run, for the record.
            reason: why, for the record.
            drive: whether this engine drives the new run, if it was given its graph; else it is left to another one.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: the new id is taken, or the run has no such event or task.
            RunStalled: other inputs or outputs are given, and this engine wasn't given the graph.
            GraphSetupError: the arguments don't go together.
            CodecError: a value can't be stored.
        """
        self._check_open()
        by, reason = checked_by(by), checked_text("reason=", reason)
        check_place(at)
        new_id = checked_identifier("run id", new_run_id) if new_run_id is not None else made_up_id()
        forking = Forking(run_id, at, inputs, outputs or {}, new_id, by, reason, drive)
        info = await self._worker.see_through(fork(self._worker, forking))
        if drive:
            await self._worker.adopt(info)
        return self.attach(new_id)

    async def plan(
        self,
        run_id: str,
        verb: PlannedVerb,
        *,
        at: int | str | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> Planned:
        """Return what would run again if a run were resumed, recovered, retried or forked; nothing is written.

        Args:
            run_id: the run.
            verb: ``"resume"``, ``"recover"``, ``"retry"`` or ``"fork"``.
            at: where it would be forked, as for :meth:`fork_run`.
            outputs: what tasks would give out instead in the fork.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it doesn't accept the verb, or has no such event or task.
            GraphSetupError: there is no such verb, or it takes none of the arguments.
        """
        self._check_open()
        check_place(at)
        return await planned(self._worker, verb, Forking(run_id, at, MISSING, outputs or {}, run_id, ""))
