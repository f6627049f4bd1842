"""Bodies: how the function of a step is called, by what kind it is.

    async def          in the event loop, in the task of its runner
    def                in a daemon thread; one that takes too long is left to itself, and what it still returns is dropped
    executor="process" in a process of anyio's; one that takes too long is killed
    executor="name"    in one of the executors the engine was given

What runs in another process gets copies: of the inputs, the state and the dependencies, so all of these have to be
picklable; what it changed in the state comes back with its result.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import pickle
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from types import FunctionType
from typing import Any

import anyio.to_process

from perdure.engine.calling.context import AttemptContext
from perdure.engine.calling.observing import Observed, Undo
from perdure.engine.calling.threads import threads
from perdure.errors import GraphRuntimeError, GraphSetupError, StepTimeout
from perdure.graph.builder.arguments import is_local, why_not_local
from perdure.graph.graph import Graph
from perdure.graph.nodes.policies import NOT_DONE
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step, StepContext
from perdure.kernel.fold.run import Task, limit_keys
from perdure.kernel.state.restore import restore
from perdure.kernel.state.tree import freeze, thaw

Called = Step[Any, Any, Any, Any] | Router[Any, Any, Any, Any]


def check_executors(graph: Graph[Any, Any, Any, Any], pools: Mapping[str, Pool]) -> None:
    """See to it that every executor a graph names is there.

    Raises:
        GraphSetupError: one isn't, or a function can't be found by another process.
    """
    for node in graph.nodes.values():
        name = node.policies.executor if isinstance(node, Step) else None
        if name is None or name == "thread":
            continue
        if name != "process" and name not in pools:
            known = ", ".join(sorted(map(repr, pools))) or "none"
            raise GraphSetupError(
                f"step {node.id!r} runs in the executor {name!r}, and this engine has {known}: give it to "
                f"Engine.open(executors={{{name!r}: …}})"
            )


GRACE_S = 5.0
"""How long a body may take to end after it was cancelled, before it is left to itself."""


class Bodies:
    """Calls the functions of one run's steps.

    Attributes:
        freed: called when there may be room again under a limit.
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        freed: Callable[[], None],
        left: Callable[[Task, int, BaseException], None],
        observed: Observed | None = None,
    ) -> None:
        self._leave_to_itself = left
        self._observed = observed
        self._pools = pools
        self.freed = freed
        self._working: dict[str, int] = {}
        self._left: dict[str, int] = {}

    # --- room under limits ---

    def has_room(self, task: Task) -> bool:
        """Say whether a body may begin; threads that were left to themselves take room until they return."""
        working, left = self._working, self._left
        return all(working.get(key, 0) + left.get(key, 0) < capacity for key, capacity in limit_keys(task))

    def enter(self, task: Task) -> None:
        """Count a body that begins."""
        _count(self._working, [key for key, _ in limit_keys(task)], 1)

    def leave(self, task: Task) -> None:
        """Count a body that has ended, as far as the run is concerned."""
        _count(self._working, [key for key, _ in limit_keys(task)], -1)

    # --- calls ---

    def call(self, step: Called, task: Task, context: AttemptContext) -> Awaitable[Any]:
        """Return what comes to what a step gives out.

        Raises:
            StepTimeout: it took longer than it may; when that is awaited, as all that follows.
            Exception: whatever the function raised.
        """
        timeout_s = step.policies.timeout_s
        if timeout_s is not None:
            return self._called_in_time(step, task, context, timeout_s)
        if task.is_uncertain or (isinstance(step, Step) and step.is_plain):
            return self._called(step, task, context, _nothing)
        return step.call(context)

    async def _called_in_time(self, step: Called, task: Task, context: AttemptContext, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        patience: asyncio.TimerHandle | None = None

        def begin() -> None:
            nonlocal patience
            if patience is None:
                limit.reschedule(loop.time() + timeout_s)
                late = partial(timed_out, task, context, timeout_s)
                patience = loop.call_later(timeout_s + GRACE_S, lambda: self._leave_to_itself(task, attempt, late()))

        attempt = context.attempt
        try:
            async with asyncio.timeout(None) as limit:
                output = await self._called(step, task, context, begin)
        except TimeoutError:
            if not limit.expired():
                raise
            raise timed_out(task, context, timeout_s) from None
        finally:
            if patience is not None:
                patience.cancel()
        if limit.expired():  # it has caught its cancellation and gone on
            raise timed_out(task, context, timeout_s)
        return output

    async def _called(self, step: Called, task: Task, context: AttemptContext, begin: Callable[[], None]) -> Any:
        """Call a step; ``begin`` is called when its time begins to count: when there is a thread, or a process, for it."""
        if not (isinstance(step, Step) and step.is_plain):
            begin()
        verify = step.policies.on_uncertain
        if task.is_uncertain and callable(verify):
            found = verify(context)
            found = await found if isawaitable(found) else found
            if found is not NOT_DONE:
                return found
        if isinstance(step, Step) and step.is_plain:
            return await self._call_plain(step, task, context, begin)
        return await step.call(context)

    async def _call_plain(
        self, step: Step[Any, Any, Any, Any], task: Task, context: AttemptContext, begin: Callable[[], None]
    ) -> Any:
        name = step.policies.executor or "thread"
        function: Callable[[StepContext[Any, Any, Any]], Any] = step.call
        if name == "process":
            call = _remotely(step, context, self._carrier())
            async with anyio.to_process.current_default_process_limiter():
                begin()
                returned = await anyio.to_process.run_sync(call, cancellable=True, limiter=anyio.CapacityLimiter(1))
            return _brought_back(returned, context)
        if name == "thread":
            output = await self._in_thread(partial(function, context), task, begin)
            return await output if isawaitable(output) else output
        pool = self._pools[name]
        if isinstance(pool, ProcessPoolExecutor):
            begin()  # nobody tells when one of its processes takes a call up
            return _brought_back(await self._in_pool(pool, _remotely(step, context, self._carrier()), task), context)
        loop, variables = asyncio.get_running_loop(), contextvars.copy_context()

        def called() -> Any:
            _tell(loop, begin)
            return variables.run(function, context)

        return await self._in_pool(pool, called, task)

    def _carrier(self) -> Callable[[], Undo] | None:
        return self._observed.carrier() if self._observed is not None else None

    def _in_thread(self, function: Callable[[], Any], task: Task, begin: Callable[[], None]) -> Awaitable[Any]:
        keys = [key for key, _ in limit_keys(task)]
        if not keys:
            return threads.submit(function, begun=begin)
        future: asyncio.Future[Any]

        def returned() -> None:
            if future.cancelled():
                self._give_back(keys)

        future = threads.submit(function, begun=begin, returned=returned)
        future.add_done_callback(lambda done: _count(self._left, keys, 1) if done.cancelled() else None)
        return future

    async def _in_pool(self, pool: Pool, function: Callable[[], Any], task: Task) -> Any:
        keys = [key for key, _ in limit_keys(task)]
        submitted: Future[Any] = pool.submit(function)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wrap_future(submitted)
        except asyncio.CancelledError:
            if keys and not submitted.cancelled():
                _count(self._left, keys, 1)
                submitted.add_done_callback(lambda _: _tell(loop, partial(self._give_back, keys)))
            raise

    def _give_back(self, keys: list[str]) -> None:
        """Count a body no more that was left to itself, and has returned."""
        _count(self._left, keys, -1)
        self.freed()


def _count(counts: dict[str, int], keys: Sequence[str], change: int) -> None:
    for key in keys:
        counts[key] = counts.get(key, 0) + change


def _nothing() -> None:
    """Note that a body has begun which may take as long as it likes."""


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call something in the loop; once that is closed, nobody waits any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def timed_out(task: Task, context: AttemptContext, timeout_s: float) -> StepTimeout:
    """Return the error of an attempt that took too long."""
    return StepTimeout(
        f"run {context.run_id!r}: attempt {context.attempt} of {task.shown_path} took longer than {timeout_s:g} s",
        run_id=context.run_id,
    )


# --- other processes ---


class RemoteContext(StepContext[Any, Any, Any]):
    """The context of a step in another process: copies of everything."""

    __slots__ = ("_attempt", "_idempotency_key", "_run_id", "_task_id")

    def __init__(self, state: Any, deps: Any, inputs: Any, ids: tuple[str, str, int, str]) -> None:
        super().__init__(state=state, deps=deps, inputs=inputs)
        self._run_id, self._task_id, self._attempt, self._idempotency_key = ids

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._task_id

    @property
    def attempt(self) -> int:
        """The number of this try of the task; the first is 1."""
        return self._attempt

    @property
    def idempotency_key(self) -> str:
        """A key that is the same over attempts, recoveries and retries of this run."""
        return self._idempotency_key


def _remotely(
    step: Step[Any, Any, Any, Any], context: AttemptContext, carrier: Callable[[], Undo] | None
) -> Callable[[], bytes]:
    """Return a call of a step that can be sent to another process.

    Raises:
        GraphSetupError: the function, or what it is given, can't be sent.
    """
    call: Any = step.call
    # A decorated function isn't what its module has under its name: that is the step. So it is sent as a name.
    is_named = isinstance(call, FunctionType)
    if is_named and is_local(call):
        raise GraphSetupError(why_not_local(step.id, call))
    ids = (context.run_id, context.task_id, context.attempt, context.idempotency_key)
    given = (thaw(context.committed_tree), context.deps, context.inputs, ids, carrier)
    try:
        data = pickle.dumps((None if is_named else call, given))
    except Exception as error:
        raise GraphSetupError(
            f"step {step.id!r} runs in another process, and its inputs, its state or its deps can't be pickled: {error}"
        ) from error
    return partial(call_here, call.__module__ if is_named else "", call.__qualname__ if is_named else "", data)


def call_here(module: str, name: str, data: bytes) -> bytes:
    """Call the function of a step in this process; return its output, the state, and whether that was changed.

    Raises:
        GraphRuntimeError: what the step gives out, or raises, can't be sent back.
    """
    function, (state, deps, inputs, ids, carrier) = pickle.loads(data)  # noqa: S301 - written by the parent process
    if function is None:
        function = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    if isinstance(function, Step):
        function = function.call
    before = pickle.dumps(state)
    undo = carrier() if carrier is not None else None
    try:
        output = function(RemoteContext(state, deps, inputs, ids))
    except Exception as error:
        raise _portable(error) from error
    finally:
        if undo is not None:
            undo()
    has_changed = pickle.dumps(state) != before
    try:
        return pickle.dumps((output, state if has_changed else None, has_changed))
    except Exception as error:
        raise GraphRuntimeError(
            f"a step that runs in another process gives out a {type(output).__name__}, or keeps something in the state, that "
            f"can't be pickled: {error}"
        ) from error


def _portable(error: Exception) -> Exception:
    """Return an exception that can be sent to another process: itself, if that is one."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just written
    except Exception:
        return GraphRuntimeError(f"{type(error).__name__}: {error} (the exception itself can't be pickled)")
    return error


def _brought_back(returned: bytes, context: AttemptContext) -> Any:
    """Take over what a step in another process has changed in the state."""
    output, state, has_changed = pickle.loads(returned)  # noqa: S301 - written by a process of this one
    if has_changed:
        restore(context.state, freeze(state))
    return output
