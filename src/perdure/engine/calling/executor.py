"""Running the bodies of one run: what is to run, what comes of it, and what is stopped.

The bodies run in the tasks of ``runners.py``. Results go into a list that the driver empties when it wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor as Pool
from random import random
from typing import Any, Protocol, cast

import structlog

from perdure.codec.codec import BlobMissing, Written
from perdure.engine.calling.bodies import GRACE_S, Bodies
from perdure.engine.calling.context import AttemptContext
from perdure.engine.calling.evaluate import Evaluated, Flows
from perdure.engine.calling.observing import Observed
from perdure.engine.calling.runners import Cell, Runners
from perdure.engine.calling.streams import Stream
from perdure.engine.calling.values import Values
from perdure.engine.calling.waiting import parked
from perdure.engine.clock import Clock
from perdure.errors import CodecError, GraphRuntimeError, StoreError
from perdure.graph.graph import Graph
from perdure.graph.nodes.continuation import ContinuedAsNew, successor_id
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait
from perdure.graph.plan import NodeKind
from perdure.ids import checked_identifier
from perdure.kernel.decide.describe import add_note
from perdure.kernel.decide.results import Continued, Failed, Result, Streaming, Succeeded
from perdure.kernel.fold.apply import PASSING
from perdure.kernel.fold.run import Instance, Run, Task
from perdure.kernel.state.committed import Transaction
from perdure.kernel.state.tree import freeze, thaw
from perdure.store.completion import completed

log = structlog.get_logger("perdure.engine")

_NOTHING_DECIDED = Evaluated()


class Awaiting(Protocol):
    """Who waits for what comes of bodies."""

    def reported(self) -> None:
        """Take note that there are results."""
        ...

    async def fetch(self, digest: str) -> None:
        """Fetch a blob from the store."""
        ...


class _Nobody:
    """Waits for the bodies that outlive their run."""

    def reported(self) -> None:
        """Take no note."""

    async def fetch(self, digest: str) -> None:
        """Fetch nothing."""


_NOBODY = _Nobody()


class _Unread(Exception):
    """The inputs of a task couldn't be read from the store."""

    def __init__(self, error: StoreError | CodecError) -> None:
        super().__init__(str(error))
        self.error = error


class Executor:
    """Runs the bodies of one run.

    Attributes:
        run: the run as it is.
        results: what has come of them since the driver last looked.
        broken: why an input can't be read that is in the log, if one can't: not the body has failed then.
    """

    __slots__ = (
        "_called",
        "_clock",
        "_closed",
        "_driver",
        "_flows",
        "_graph",
        "_held",
        "_is_in_use",
        "_observed",
        "_pools",
        "_runners",
        "_running",
        "_stopping",
        "_streams",
        "_values",
        "broken",
        "deps",
        "results",
        "run",
    )

    def __init__(
        self,
        run: Run,
        graph: Graph[Any, Any, Any, Any],
        flows: Flows,
        values: Values,
        deps: Any,
        *,
        clock: Clock,
        pools: Mapping[str, Pool],
        driver: Awaiting,
        runners: Runners,
        observed: Observed | None = None,
    ) -> None:
        self.run = run
        self.results: list[Result | Stream] = []
        self.deps = deps
        self._graph = graph
        self._flows = flows
        self._values = values
        self._clock = clock
        self._observed = observed
        self._pools = pools
        self._driver: Awaiting = driver
        self._runners = runners
        self._is_in_use = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopping: dict[tuple[str, int], None] = {}
        self._streams: dict[str, Stream] = {}
        self._called: Bodies | None = None
        self._held: list[Task] = []
        self._closed = False
        self.broken: StoreError | CodecError | None = None

    @property
    def _bodies(self) -> Bodies:
        """What is needed for bodies that aren't just awaited, or run under limits."""
        if self._called is None:
            self._called = Bodies(self._pools, self._room_again, self._leave_to_itself, self._observed)
        return self._called

    # --- for the driver ---

    def start(self, tasks: list[Task]) -> None:
        """Run the bodies of tasks, in this order."""
        if not self._is_in_use:
            self._is_in_use = True
            self._runners.enter()
        self._runners.put(self, tasks)

    def stop(self, attempts: Sequence[tuple[str, int]]) -> None:
        """Stop the bodies of attempts; what they still report is dropped."""
        self._stopping.update(dict.fromkeys(attempts))
        for task_id, _ in attempts:
            runner = self._running.get(task_id)
            if runner is not None:
                runner.cancel()

    def ease(self) -> None:
        """Let streams go on that were waiting for arms to be settled."""
        if self._streams:
            for stream in self._streams.values():
                stream.ease()

    def close_now(self) -> bool:
        """Let nothing begin any more; say whether nothing runs, so that there is nothing to stop."""
        self._closed = True
        if self._is_in_use:
            self._is_in_use = False
            self._runners.leave()
        else:
            self._runners.end_if_unused()
        # These lead back to the driver, and to here, and a run that is over shouldn't wait for the garbage collector.
        self._driver, self._called = _NOBODY, None
        return not self._running

    async def close(self) -> None:
        """Stop everything, and wait until it has stopped, or for as long as a body may take."""
        self.close_now()
        # A runner without a body ends by itself when it next has its turn, and nothing of the user's depends on when.
        runners = {runner for runner in self._running.values() if runner is not asyncio.current_task()}
        if not runners:
            return
        for runner in runners:
            runner.cancel()
        _, abandoned = await completed(asyncio.wait(runners, timeout=GRACE_S))
        for task_id in self._running:
            if self._running[task_id] in abandoned:
                log.warning("a body ignores its cancellation and is left to itself", run=self.run.run_id, task=task_id)

    # --- for the runners ---

    def takes_up(self, task: Task) -> bool:
        """Say whether the body of a task begins now: not if it was stopped, or has to wait for room."""
        if self._closed:
            return False
        if self._stopping and (task.id, task.attempt) in self._stopping:
            del self._stopping[task.id, task.attempt]
            return False
        if task.node.limits:
            if not self._bodies.has_room(task):
                self._held.append(task)
                return False
            self._bodies.enter(task)
        return True

    async def carry_out(self, task: Task, runner: asyncio.Task[None], cell: Cell) -> None:
        """Run the body of a task that was taken up, and report what comes of it."""
        self._running[task.id] = runner
        try:
            await self._attempt(task, cell)
        finally:
            self._leave(task, runner)

    def _leave(self, task: Task, runner: asyncio.Task[None]) -> None:
        if self._running.get(task.id) is runner:  # and not that of a later attempt
            del self._running[task.id]
        if task.node.limits:
            self._bodies.leave(task)
            if self._held and not self._closed:
                self._room_again()

    def _room_again(self) -> None:
        """Let bodies begin that found threads in their place which had been left to themselves."""
        held, self._held = self._held, []
        self._runners.put_first(self, held)

    def _leave_to_itself(self, task: Task, attempt: int, error: BaseException) -> None:
        """Settle an attempt whose body goes on though its time is up and it was told so; what it still gives is dropped."""
        if not self._closed:
            log.warning("a body ignores its cancellation and is left to itself", run=self.run.run_id, task=task.id)
            self.report(self._failed(task, attempt, error))

    async def _attempt(self, task: Task, cell: Cell) -> None:
        """Run one body and report what comes of it."""
        attempt = task.attempt
        result: Result | None
        entered = self._observed.enter(task.id, attempt) if self._observed is not None else None
        try:
            result = await self._body(task, cell)
        except asyncio.CancelledError as error:
            if (task.id, attempt) in self._stopping or self._closed:
                result = None
            else:
                result = self._failed(task, attempt, error)
        except ContinuedAsNew as continued:
            result = self._continued(task, attempt, continued)
        except _Unread as unread:  # no fault of the step: the attempt leaves no trace
            result, self.broken = None, unread.error
            self._driver.reported()
        except KeyboardInterrupt:
            raise  # somebody at the terminal wants the process to end, not this step
        except BaseException as error:
            result = self._failed(task, attempt, error)
        finally:
            if self._streams:
                self._streams.pop(task.id, None)
            if self._observed is not None:
                self._observed.leave(entered)
        if self._stopping:
            self._stopping.pop((task.id, attempt), None)
        if result is not None:
            self.report(result)

    def _continued(self, task: Task, attempt: int, continued: ContinuedAsNew) -> Result:
        """Return what a step wants the run to go on as; if that can't be stored, the attempt has failed."""
        try:
            inputs = self._values.record("__start__", continued.inputs)
            state = self._values.record_state(thaw(freeze(continued.state)))
            state = state.raw if isinstance(state, Written) else state
            successor = checked_identifier("run id", successor_id(self.run.run_id))
        except Exception as error:
            return self._failed(task, attempt, error)
        return Continued(task.id, attempt, successor, inputs, state)

    def _failed(self, task: Task, attempt: int, error: BaseException) -> Failed:
        """Return a failure, with when its step wants to be tried again."""
        step = self._graph.nodes.get(task.node.id)
        retry = step.policies.retry if isinstance(step, Step | Router) else None
        drawn = random()  # noqa: S311 - it only spreads attempts
        try:
            delay = retry.delay(task.failures + 1, error, drawn) if retry is not None else None
        except Exception as raised:  # by the step's own test of what is to be tried again
            delay = None
            add_note(error, f"perdure: it isn't tried again, since the test for that raised {type(raised).__name__}")
        return Failed(
            task.id, attempt, self._values.describe(error), error, int(delay * 1e6) if delay is not None else None
        )

    def report(self, result: Result | Stream) -> None:
        """Hand a result to the driver."""
        self.results.append(result)
        if len(self.results) == 1:
            self._driver.reported()

    async def _inputs(self, task: Task) -> Any:
        try:
            try:
                return self._values.load(task.value)
            except BlobMissing as missing:
                await self._driver.fetch(missing.digest)
                return self._values.load(task.value)
        except StoreError as error:
            raise _Unread(error) from error
        except CodecError as error:
            raise _Unread(error.at(f"the input of {task.shown_path}")) from error

    async def _body(self, task: Task, cell: Cell) -> Result:
        node, values = task.node, self._values
        inputs = await self._inputs(task)
        transaction = Transaction(self.run.state_of(task.scope, node))
        offset = 0
        if task.feeds is not None:
            offset = max((instance.feed.taken for instance in task.feeds if instance.feed is not None), default=0)
        context = AttemptContext(
            run_id=self.run.run_id, task=task, transaction=transaction, deps=self.deps, inputs=inputs, offset=offset
        )
        cell[0] = context
        choices = None
        if (step := self._flows.awaited[node.id]) is not None and not task.is_uncertain:
            output = await step.call(context)
        elif node.kind is NodeKind.STEP:
            output = await self._bodies.call(
                cast("Step[Any, Any, Any, Any]", self._graph.nodes[node.id]), task, context
            )
        elif node.kind is NodeKind.STREAM:
            output = cast("Step[Any, Any, Any, Any]", self._graph.nodes[node.id]).call(context)
        elif node.kind is NodeKind.ROUTER:
            router = cast("Router[Any, Any, Any, Any]", self._graph.nodes[node.id])
            output, choices = inputs, await self._bodies.call(router, task, context)
        elif node.kind is NodeKind.WAIT and not task.is_answered:
            return parked(
                cast("Wait[Any, Any, Any, Any]", self._graph.nodes[node.id]),
                task,
                context,
                self._clock.now(),
                values.title,
            )
        else:
            output = inputs
        evaluated = _NOTHING_DECIDED
        if not self._flows.is_static[node.id]:
            evaluated = await self._flows.evaluate(node.id, output, context, values, choices)
            if evaluated.stream is not None:
                return await self._stream(task, evaluated, context, transaction)
        recorded = values.nothing
        if self._flows.needs_output[node.id] and node.kind not in PASSING:
            recorded = values.record(node.id, output)
        return Succeeded(task.id, task.attempt, recorded, evaluated.route, evaluated.maps, transaction.proposal())

    def _feeds_of(self, task_id: str) -> list[Instance]:
        task = self.run.tasks.get(task_id)
        return (task.feeds or []) if task is not None else []

    async def _stream(
        self, task: Task, evaluated: Evaluated, context: AttemptContext, transaction: Transaction
    ) -> Result:
        """Take the items of a stream, one after another, and report them as they come."""
        if self._flows.needs_output[task.node.id]:
            raise GraphRuntimeError(
                f"node {task.node.id!r} gives out a {type(evaluated.stream).__name__}, which can only be mapped: add .map() "
                "to each of its edges"
            )
        step = self._graph.nodes[task.node.id]
        timeout_s = step.policies.timeout_s if isinstance(step, Step) and step.is_stream else None
        stream = self._streams[task.id] = Stream(
            task, evaluated, context, self._flows, self._values, self._feeds_of, timeout_s
        )
        if task.feeds is None:
            self.report(Streaming(task.id, task.attempt, evaluated.route))
        given = await stream.pump(self.report)
        short = given if given < context.stream_offset else None
        return Succeeded(task.id, task.attempt, self._values.nothing, None, (), transaction.proposal(), short_of=short)
