"""Places: which task, path and node each event of a log is about.

Events name tasks and fork instances by ids. What those are is known where they are placed, so the log is folded beside the
reading. Events that don't fit the stored plan can be read all the same, only not placed any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import msgspec

from perdure.engine.inspection.history import Recorded, read_history
from perdure.engine.inspection.inspect import stored_plan
from perdure.engine.inspection.untyped import NoValues
from perdure.errors import GraphRuntimeError, GraphSetupError
from perdure.events import AnyEvent, ForkOpened
from perdure.graph.plan import Plan
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import Run
from perdure.store.port import Store
from perdure.store.records import RunInfo

KINDS = tuple(kind.__name__ for kind in AnyEvent.__args__)


class Place(msgspec.Struct, frozen=True):
    """What an event is about, as far as it is about anything.

    Attributes:
        task: the id of the task, or of the fork instance.
        path: where it is, as text.
        node: the node.
    """

    task: str = ""
    path: str = ""
    node: str = ""


class Places:
    """Follows a log and places its events."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._run: Run | None = Run(plan, run_id, NoValues())
        self._known: dict[str, Place] = {}

    def of(self, event: AnyEvent) -> Place:
        """Return what the next event of the log is about."""
        task_id: str = getattr(event, "task", "")
        if self._run is not None:
            task = self._run.tasks.get(task_id)
            if task is not None and task_id not in self._known:
                self._known[task_id] = Place(task_id, task.shown_path, task.node.id)
            try:
                apply(self._run, event)
            except GraphRuntimeError:
                self._run = None  # events of another graph: they can be listed, but not placed
        if isinstance(event, ForkOpened):
            behind = self._known.get(task_id, Place(path=task_id)).path
            self._known[event.instance] = Place(event.instance, f"{event.fork} behind {behind}", event.fork)
        id_ = task_id or getattr(event, "instance", "")
        place = self._known.get(id_, Place(id_))
        node: str = getattr(event, "join", "") or getattr(event, "fork", "") or getattr(event, "node", "")
        return Place(place.task, place.path, node) if node else place


class Wanted(msgspec.Struct, frozen=True):
    """Which events of a log are wanted; all conditions hold at once.

    Attributes:
        from_seq, to_seq: those from one seq to another, both included.
        kinds: those of these kinds; all if it is empty.
        task: those about this task, by its id or its path.
        node: those about this node.
        since, until: those recorded from one time to another, both included, in microseconds since 1970.
    """

    from_seq: int = 1
    to_seq: int | None = None
    kinds: Collection[str] = ()
    task: str | None = None
    node: str | None = None
    since: int | None = None
    until: int | None = None

    def check(self) -> None:
        """Refuse kinds that there aren't.

        Raises:
            GraphSetupError: there is one.
        """
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise GraphSetupError(f"there is no kind of event {unknown[0]!r}: kinds are {', '.join(KINDS)}")

    def is_past(self, recorded: Recorded) -> bool:
        """Say whether neither this event nor any that follows is wanted."""
        return (self.to_seq is not None and recorded.seq > self.to_seq) or (
            self.until is not None and recorded.ts > self.until
        )

    def fits(self, recorded: Recorded, place: Place) -> bool:
        """Say whether an event is wanted."""
        return (
            recorded.seq >= self.from_seq
            and (not self.kinds or recorded.kind in self.kinds)
            and (self.since is None or recorded.ts >= self.since)
            and (self.task is None or self.task in (place.task, place.path))
            and (self.node is None or self.node == place.node)
        )


ALL = Wanted()


async def read_placed(store: Store, info: RunInfo, wanted: Wanted = ALL) -> AsyncIterator[tuple[Recorded, Place]]:
    """Yield the events of a run that are wanted, in order, each with what it is about.

    Raises:
        StoreCorrupt: a row isn't what was written.
        GraphRuntimeError: an event is of a kind this version doesn't know.
        GraphSetupError: a kind is wanted that there isn't.
    """
    wanted.check()
    places = Places(await stored_plan(store, info), info.run_id)
    async for recorded in read_history(store, info):
        if wanted.is_past(recorded):
            return
        place = places.of(recorded.event)
        if wanted.fits(recorded, place):
            yield recorded, place
