"""Forks: the ids of those that edges make.

Ids of forks are part of ids of tasks, and so are the ranks of a broadcast's arms, so neither may depend on the order
in which edges were added. Both come from what an edge *is*: its sources, the forks around it, and its
:func:`canonical` text. Where two edges are the same in all of that, they are the same in everything a run records, and
it doesn't matter which comes first.

Left out of the canonical text is what may change under a run: labels, and which function a transform calls.

A fork without ``fork_id=`` is called after its sources and its kind: ``load_map``, ``a_b_broadcast``. Where that is
taken it gets a number, so that a node of the user's may have any name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from perdure.graph.compile.parts import Parts
from perdure.graph.nodes.decision import Decision
from perdure.graph.nodes.nodes import START_ID, Fork
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, EnterItem, MapItem, Path, TransformItem
from perdure.graph.nodes.router import Router

ForkItem: TypeAlias = MapItem | BroadcastItem | EnterItem
ForkKey: TypeAlias = int | str
"""The identity of the item that describes a fork, or the id of the node whose several edges make it."""

_LONGEST = 80


def canonical(path: Path, names: Mapping[ForkKey, str] | None = None) -> str:
    """Return a text that is equal for equal paths and doesn't depend on the order of a broadcast's arms.

    Args:
        path: the path.
        names: the ids of forks, once they are known; until then only those that were asked for are part of the text.
    """
    words = []
    for item in path:
        if isinstance(item, DestinationItem):
            words.append(f"->{getattr(item.node, 'id', None)!r}")
        elif isinstance(item, TransformItem):
            words.append("~")
        elif isinstance(item, EnterItem):
            words.append(f"+{item.fork_id!r}")
        elif isinstance(item, MapItem | BroadcastItem):
            name = item.fork_id if names is None else names[id(item)]
            if isinstance(item, MapItem):
                words.append(f"*{name!r}:{item.downstream_join_id!r}")
            else:
                words.append(f"{name!r}{{{','.join(sorted(canonical(arm, names) for arm in item.paths))}}}")
    return " ".join(words)


class _Place:
    """Where a fork without an id of its own stands in the graph."""

    def __init__(self, item: ForkItem) -> None:
        self.kind = "map" if isinstance(item, MapItem) else "broadcast"
        self.depth = 0
        self.sources: set[str] = set()
        self.contexts: set[str] = set()

    @property
    def order(self) -> tuple[Any, ...]:
        """Return what decides which of several forks gets the plain name."""
        return self.depth, sorted(self.sources), sorted(self.contexts)


def name_forks(parts: Parts) -> dict[ForkKey, str]:
    """Give every fork its id, and add the forks to the nodes; return the ids."""
    names: dict[ForkKey, str] = {}
    items: dict[int, ForkItem] = {}
    places: dict[int, _Place] = {}
    for source, item, depth, context in _forks_in(parts):
        items[id(item)] = item
        if item.fork_id is not None:
            names[id(item)] = item.fork_id
        else:
            place = places.setdefault(id(item), _Place(item))
            place.depth = depth
            place.sources.update([source] if source in parts.nodes else [])
            place.contexts.add(context)
    claims: dict[str, list[tuple[tuple[Any, ...], ForkKey]]] = defaultdict(list)
    for key, place in places.items():
        claims[f"{_joined(sorted(place.sources))}_{place.kind}"].append((place.order, key))
    for source, paths in parts.outgoing.items():
        node = parts.nodes[source]
        if isinstance(node, Router):
            claims[f"{_joined([source])}_routes"].append(((0, [source], []), source))
        elif len(paths) > 1 and not isinstance(node, Decision):
            claims[f"{_joined([source])}_broadcast"].append(((0, [source], []), source))
    taken = {*parts.nodes, *names.values()}
    for base, claimants in sorted(claims.items()):
        free = _free_names(base, taken)
        for _, claimant in sorted(claimants, key=lambda claim: claim[0]):
            names[claimant] = next(free)
    for fork, name in names.items():
        if isinstance(fork, int):
            parts.insert_fork(_fork(name, items[fork]))
        else:
            parts.insert_fork(Fork(id=name, is_map=False, is_router=isinstance(parts.nodes[fork], Router)))
    return names


def _forks_in(parts: Parts) -> Iterator[tuple[str, ForkItem, int, str]]:
    """Yield every fork on every path with its source, its depth, and what is around it."""
    for source, paths in [*parts.outgoing.items(), *parts.lost.items()]:
        is_ordered = isinstance(parts.nodes.get(source), Decision)
        for place, path in enumerate(paths):
            for item, depth, context in _forks_along(path, 1, str(place) if is_ordered else ""):
                yield source, item, depth, context


def _forks_along(path: Path, depth: int, around: str) -> Iterator[tuple[ForkItem, int, str]]:
    for place, item in enumerate(path):
        if isinstance(item, MapItem | BroadcastItem | EnterItem):
            context = f"{around}/{canonical(path[:place])}|{canonical(path[place:])}"
            yield item, depth, context
            depth += 1
            if isinstance(item, BroadcastItem):
                for arm in item.paths:
                    yield from _forks_along(arm, depth, context)


def _free_names(base: str, taken: set[str]) -> Iterator[str]:
    name, count = base, 1
    while True:
        if name not in taken:
            taken.add(name)
            yield name
        count += 1
        name = f"{base}_{count}"


def _joined(sources: Sequence[str]) -> str:
    names = ["start" if source == START_ID else source for source in sources]
    text = "_".join(names)
    if len(text) <= _LONGEST:
        return text
    return names[0][:_LONGEST] if len(names) == 1 else f"{names[0][:60]}_and_{len(names) - 1}_more"


def _fork(name: str, item: ForkItem) -> Fork[Any, Any]:
    join = item.downstream_join_id if isinstance(item, MapItem) else None
    is_map = isinstance(item, MapItem)
    return Fork(id=name, is_map=is_map, downstream_join_id=join, max_concurrency=item.max_concurrency)
