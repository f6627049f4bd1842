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
import importlib
import pickle
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from inspect import isawaitable
from typing import Any

import anyio.to_process

from perdure.engine.context import AttemptContext
from perdure.engine.threads import threads
from perdure.errors import GraphSetupError, StepTimeout
from perdure.graph.annotations import written_function
from perdure.graph.graph import Graph
from perdure.graph.policies import NOT_DONE
from perdure.graph.router import Router
from perdure.graph.step import Step, StepContext
from perdure.kernel.run import Task, limit_keys
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


class Bodies:
    """Calls the functions of one run's steps."""

    def __init__(self, pools: Mapping[str, Pool], freed: Callable[[], None]) -> None:
        self._pools = pools
        self._freed = freed
        self._working: Counter[str] = Counter()
        self._left: Counter[str] = Counter()

    # --- room under limits ---

    def has_room(self, task: Task) -> bool:
        """Say whether a body may begin; threads that were left to themselves take room until they return."""
        return all(self._working[key] + self._left[key] < capacity for key, capacity in limit_keys(task))

    def enter(self, task: Task) -> None:
        """Count a body that begins."""
        self._working.update(key for key, _ in limit_keys(task))

    def leave(self, task: Task) -> None:
        """Count a body that has ended, as far as the run is concerned."""
        self._working.subtract(key for key, _ in limit_keys(task))

    # --- calls ---

    async def call(self, step: Called, task: Task, context: AttemptContext) -> Any:
        """Return what a step gives out.

        Raises:
            StepTimeout: it took longer than it may.
            Exception: whatever the function raised.
        """
        policies = step.policies
        if policies.timeout_s is None:
            return await self._called(step, task, context)
        try:
            async with asyncio.timeout(policies.timeout_s) as limit:
                return await self._called(step, task, context)
        except TimeoutError:
            if not limit.expired():
                raise
            raise timed_out(task, context, policies.timeout_s) from None

    async def _called(self, step: Called, task: Task, context: AttemptContext) -> Any:
        verify = step.policies.on_uncertain
        if task.is_uncertain and callable(verify):
            found = verify(context)
            found = await found if isawaitable(found) else found
            if found is not NOT_DONE:
                return found
        if isinstance(step, Step) and step.is_plain:
            return await self._call_plain(step, task, context)
        return await step.call(context)

    async def _call_plain(self, step: Step[Any, Any, Any, Any], task: Task, context: AttemptContext) -> Any:
        name = step.policies.executor or "thread"
        function: Callable[[StepContext[Any, Any, Any]], Any] = step.call
        if name == "process":
            call = _remotely(step, context)
            return _brought_back(await anyio.to_process.run_sync(call, cancellable=True), context)
        if name == "thread":
            output = await self._in_thread(partial(function, context), task)
            return await output if isawaitable(output) else output
        pool = self._pools[name]
        loop = asyncio.get_running_loop()
        if isinstance(pool, ProcessPoolExecutor):
            return _brought_back(await loop.run_in_executor(pool, _remotely(step, context)), context)
        return await loop.run_in_executor(pool, function, context)

    def _in_thread(self, function: Callable[[], Any], task: Task) -> Awaitable[Any]:
        keys = [key for key, _ in limit_keys(task)]
        if not keys:
            return threads.submit(function)
        future: asyncio.Future[Any]

        def returned() -> None:
            if future.cancelled():
                self._left.subtract(keys)
                self._freed()

        future = threads.submit(function, returned)
        future.add_done_callback(lambda done: self._left.update(keys) if done.cancelled() else None)
        return future


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


def _remotely(step: Step[Any, Any, Any, Any], context: AttemptContext) -> Callable[[], tuple[Any, Any, bool]]:
    """Return a call of a step that can be sent to another process.

    Raises:
        GraphSetupError: the function, or what it is given, can't be sent.
    """
    function = written_function(step.call)
    module, name = function.__module__, function.__qualname__
    if "<locals>" in name:
        raise GraphSetupError(
            f"step {step.id!r} runs in another process, which can't find a function inside a function: move {name!r} to the "
            "top of its module"
        )
    ids = (context.run_id, context.task_id, context.attempt, context.idempotency_key)
    given = (thaw(context.committed_tree), context.deps, context.inputs, ids)
    try:
        data = pickle.dumps(given)
    except Exception as error:
        raise GraphSetupError(
            f"step {step.id!r} runs in another process, and its inputs, its state or its deps can't be pickled: {error}"
        ) from error
    return partial(call_here, module, name, data)


def call_here(module: str, name: str, data: bytes) -> tuple[Any, Any, bool]:
    """Call the function of a step in this process; return its output, the state, and whether that was changed."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function = found.call if isinstance(found, Step) else found
    state, deps, inputs, ids = pickle.loads(data)  # noqa: S301 - written by the parent process
    before = pickle.dumps(state)
    output = function(RemoteContext(state, deps, inputs, ids))
    has_changed = pickle.dumps(state) != before
    return output, state if has_changed else None, has_changed


def _brought_back(returned: tuple[Any, Any, bool], context: AttemptContext) -> Any:
    """Take over what a step in another process has changed in the state."""
    output, state, has_changed = returned
    if has_changed:
        restore(context.state, freeze(state))
    return output
