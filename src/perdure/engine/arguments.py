"""Arguments: what an engine is opened with and asked for, checked before anything is done about it.

A wrong argument is named with what it should be. Left alone it would fail later, as something that says nothing of the mistake,
or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from os import PathLike
from typing import Any, get_args

from perdure.engine.calling.observing import Observer
from perdure.engine.clock import Clock
from perdure.engine.workers.publish import OnEvent
from perdure.errors import GraphSetupError, InvalidIdentifier
from perdure.events import Durability
from perdure.graph.graph import Graph
from perdure.graph.nodes.wait import microseconds, since_1970
from perdure.ids import MAX_TAGS, checked_identifier
from perdure.store.port import Store
from perdure.store.sqlite.store import SQLiteStore


def store_of(store: str | PathLike[str] | Store) -> Store:
    """Return a store, or the one on a path.

    Raises:
        GraphSetupError: it is neither.
    """
    if isinstance(store, str | PathLike):
        return SQLiteStore(store)
    if isinstance(store, type) or not hasattr(store, "save_plan"):
        raise GraphSetupError(
            f"store={store!r:.80} is neither a path nor a store, such as SQLiteStore(path) or MemoryStore()"
        )
    return store


def checked_graph(graph: Any) -> Graph[Any, Any, Any, Any]:
    """Return a graph.

    Raises:
        GraphSetupError: it is none.
    """
    if not isinstance(graph, Graph):
        raise GraphSetupError(f"{graph!r:.80} is no graph: give what GraphBuilder.build() returns")
    return graph


def checked_graphs(graphs: Iterable[Graph[Any, Any, Any, Any]]) -> list[Graph[Any, Any, Any, Any]]:
    """Return the graphs that an engine is given.

    Raises:
        GraphSetupError: it is one graph, or one of them isn't a graph.
    """
    if isinstance(graphs, Graph) or not isinstance(graphs, Iterable):
        raise GraphSetupError(f"graphs={graphs!r:.80} is no list of graphs: write graphs=[graph]")
    return [checked_graph(graph) for graph in graphs]


def checked_durability(durability: Durability) -> Durability:
    """Return a mode of durability.

    Raises:
        GraphSetupError: there is no such mode.
    """
    if durability not in get_args(Durability):
        choices = ", ".join(f'"{choice}"' for choice in get_args(Durability))
        raise GraphSetupError(f"durability={durability!r:.80} is not one of {choices}")
    return durability


def check_observers(on_event: OnEvent | None, telemetry: Observer | None) -> None:
    """Check who is called with what runs come to.

    Raises:
        GraphSetupError: it can't be called.
    """
    if on_event is not None and (not callable(on_event) or iscoroutinefunction(on_event)):
        raise GraphSetupError(f"on_event={on_event!r:.80} is no plain function of a run id and an event")
    if telemetry is not None and not any(hasattr(type(telemetry), name) for name in ("opened", "__getattr__")):
        raise GraphSetupError(
            f"telemetry={telemetry!r:.80} can't be told anything: give a perdure.telemetry.Telemetry(…)"
        )


def check_bounds(lease_s: float, max_runs: int) -> None:
    """Check for how long, and how many, runs are taken.

    Raises:
        GraphSetupError: a bound isn't above zero.
    """
    if not lease_s > 0:
        raise GraphSetupError(f"lease_s={lease_s!r} has to be a number of seconds above 0")
    if max_runs < 1:
        raise GraphSetupError(
            f"max_runs={max_runs!r} has to be 1 or more; drive=False opens an engine that drives no runs"
        )


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that can be stored and found again.

    Raises:
        InvalidIdentifier: a name or a text is empty, too long, or holds a character that can't be printed; or there are too many.
    """
    if len(tags) > MAX_TAGS:
        raise InvalidIdentifier(
            f"{len(tags)} tags: a run may have {MAX_TAGS}. Tags are for finding runs; put what else is to be kept into the inputs"
        )
    return {checked_identifier("name of a tag", name): checked_identifier("tag", text) for name, text in tags.items()}


def check_place(at: int | str | None) -> None:
    """Check what is to say from where on a run is forked.

    Raises:
        GraphSetupError: it is neither the seq of an event nor a task.
    """
    if isinstance(at, bool) or not isinstance(at, int | str | None):
        raise GraphSetupError(f"at={at!r:.80}: give the seq of an event, or the id or the path of a task")


def deadline_at(deadline: timedelta | datetime | None, clock: Clock) -> int | None:
    """Return when a run has to be over, in microseconds since 1970.

    Raises:
        GraphSetupError: it is of a wrong type, or has no time zone.
    """
    if deadline is None:
        return None
    if isinstance(deadline, timedelta):
        return clock.now() + microseconds("deadline", deadline)
    return since_1970("deadline", deadline)
