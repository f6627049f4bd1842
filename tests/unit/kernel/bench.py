"""The kernel on a bench: no loop, no clock, no store; the test says which body finishes when.

After every decision the events so far are folded into a fresh run, which has to be what the live one is.
"""

from __future__ import annotations

from typing import Any

from perdure import Graph, StepContext
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.evaluate import flows_of, run_now
from perdure.engine.calling.values import PlainValues
from perdure.events import AnyEvent, ErrorInfo, RunStarted, SegmentStarted
from perdure.kernel.decide.decide import Decision, Happening, decide, start, take_over
from perdure.kernel.decide.results import Failed, Result, Streaming, Succeeded, Yielded
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import Phase, Run, Task


def picture(run: Run) -> Any:
    """Return all that two equal runs have in common."""
    instances = run.instances()
    return (
        run.seq,
        run.status,
        {task.id: (task.shown_path, task.phase, task.depth, task.attempt) for task in run.tasks.values()},
        {key: (joined.count, len(joined.kept), joined.cancelled, joined.depth) for key, joined in run.joins.items()},
        {id_: dict(instance.counts) for id_, instance in instances.items()},
        {id_: (instance.feed.taken, instance.feed.opened) for id_, instance in run.maps.items() if instance.feed},
        [source for _, source in run.ends],
    )


def counted(run: Run) -> dict[str, dict[str, int]]:
    """Count afresh what is live in the region of each join."""
    counts: dict[str, dict[str, int]] = {id_: {} for id_ in run.instances()}

    def count(scope: Any, node: Any) -> None:
        for fork, join in node.counted:
            found = counts[scope.scope[fork].id]
            found[join] = found.get(join, 0) + 1

    for task in run.tasks.values():
        count(task.scope, task.node)
    for joined in run.joins.values():
        count(joined.scope, joined.node)
    for instance in run.maps.values():
        count(instance, instance.fork)
    return counts


class Bench:
    """One run of a graph, driven by hand."""

    def __init__(self, graph: Graph[Any, Any, Any, Any], inputs: Any = None) -> None:
        self.graph = graph
        self.flows = flows_of(graph)
        self.events: list[AnyEvent] = []
        self.run = self._new_run()
        self.code = UserCode(graph, self.flows, PlainValues(), "run", None)
        self.exception: BaseException | None = None
        self._keep(start(self.run, RunStarted(graph.name, graph.fingerprint, inputs, "", None), None, 0, self.code))
        self._keep(take_over(self.run, SegmentStarted("bench", ""), Happening(0), self.code))

    def _new_run(self) -> Run:
        return Run(self.graph.plan, "run", PlainValues())

    def _keep(self, decision: Decision) -> None:
        self.events += decision.events
        self.exception = decision.exception
        again = self._new_run()
        for event in self.events:
            apply(again, event)
        assert picture(again) == picture(self.run)
        assert counted(self.run) == {id_: instance.counts for id_, instance in self.run.instances().items()}

    def task(self, path: str) -> Task:
        """Return the live task with a path, as ``items[0]/a``."""
        [found] = [task for task in self.run.tasks.values() if task.shown_path == path]
        return found

    def running(self) -> list[str]:
        """Return the paths of the tasks that run."""
        return sorted(task.shown_path for task in self.run.tasks.values() if task.phase is Phase.RUNNING)

    def finish(self, *paths: str) -> None:
        """Let the bodies of tasks finish, all at once and in this order, with what they return."""
        self._decide(*(self.succeeded(path) for path in paths))

    def _decide(self, *results: Result) -> None:
        self._keep(decide(self.run, Happening(0, list(results)), self.code))

    def succeeded(self, path: str) -> Succeeded:
        task = self.task(path)
        step: Any = self.graph.nodes[task.node.id]
        context = StepContext(state=None, deps=None, inputs=PlainValues().load(task.value))
        if task.feeds is not None:
            return Succeeded(task.id, task.attempt, None)
        output = run_now(step.call(context), path)
        evaluated = run_now(self.flows.evaluate(task.node.id, output, _Context(output), PlainValues()), path)
        return Succeeded(task.id, task.attempt, output, evaluated.route, evaluated.maps)

    def fail(self, path: str, error: Exception) -> None:
        """Let the body of a task fail."""
        task = self.task(path)
        self._decide(Failed(task.id, task.attempt, ErrorInfo(type(error).__name__, str(error)), error))

    def give(self, path: str, *items: Any) -> None:
        """Let a stream give out items."""
        task = self.task(path)
        results: list[Result] = [] if task.feeds is not None else [Streaming(task.id, task.attempt, None)]
        chunks = PlainValues().record_items("", items, None, True)
        self._decide(*results)
        self._decide(Yielded(task.id, task.attempt, (chunks,)))

    def finish_all(self) -> None:
        """Let bodies finish one by one until none is left."""
        while running := self.running():
            self.finish(running[0])

    def closed(self) -> list[tuple[str, Any]]:
        """Return the joins that have closed, each with its value."""
        return [(event.join, event.value) for event in self.events if type(event).__name__ == "JoinClosed"]

    def kinds(self) -> list[str]:
        """Return the kinds of all events."""
        return [type(event).__name__ for event in self.events]

    def cancelled(self) -> int:
        """Return how many tasks were cancelled."""
        return self.kinds().count("NodeCancelled")

    def output(self) -> Any:
        """Return the first value that has reached the end."""
        return PlainValues().load(self.run.ends[0][0])


class _Context:
    """What a transform is given."""

    state = None
    deps = None

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs

    def with_inputs(self, inputs: Any) -> _Context:
        return _Context(inputs)
