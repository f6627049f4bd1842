"""The registry: graphs by name and version, several versions of a name side by side.

A version is part of a graph's fingerprint, and a run records the fingerprint it was started with; so an engine that is
given a registry starts new runs with whatever graph it is asked to start, and drives each older run with its own version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from perdure.errors import GraphSetupError
from perdure.graph.graph import Graph
from perdure.graph.types import DepsT, InputT, OutputT, StateT
from perdure.graph.version_order import VersionOrder, checked_version, is_pre_release, version_order


class Registry:
    """Graphs by name and version: ``Engine.open(store, graphs=registry)`` takes it as it is.

    Args:
        graphs: the first graphs in it.

    Raises:
        GraphSetupError: two of them have the same name and version.
    """

    def __init__(self, graphs: Iterable[Graph[Any, Any, Any, Any]] = ()) -> None:
        self._graphs: dict[str, dict[VersionOrder, Graph[Any, Any, Any, Any]]] = {}
        for graph in graphs:
            self.add(graph)

    def add(
        self, graph: Graph[StateT, DepsT, InputT, OutputT], *, version: str | None = None
    ) -> Graph[StateT, DepsT, InputT, OutputT]:
        """Add a graph, and return it as it is known from now on.

        Args:
            graph: the graph.
            version: its version, if it was built without one; what is returned, and started from then on, has it.

        Raises:
            GraphSetupError: the version is none, or differs from the graph's own, or is taken by another graph.
        """
        if not isinstance(graph, Graph):
            raise GraphSetupError(f"Registry.add: {graph!r:.80} is no graph: give what GraphBuilder.build() returns")
        added = graph if version is None else self._versioned(graph, checked_version(version))
        order = version_order(added.version)
        versions = self._graphs.setdefault(added.name, {})
        known = versions.get(order)
        if known is not None and known is not added:
            if known.fingerprint == added.fingerprint and version is not None:
                return known
            raise GraphSetupError(
                f"graph {added.name!r} is in the registry already {_told(known.version)}: give the new one a later "
                "version, GraphBuilder(version=…)"
            )
        versions[order] = added
        return added

    @staticmethod
    def _versioned(graph: Graph[StateT, DepsT, InputT, OutputT], version: str) -> Graph[StateT, DepsT, InputT, OutputT]:
        if graph.version == version:
            return graph
        if graph.version:
            raise GraphSetupError(
                f"graph {graph.name!r} was built with version {graph.version!r}, and is to be added as {version!r}: drop one"
            )
        return graph.with_version(version)

    def get(self, name: str, version: str | None = None) -> Graph[Any, Any, Any, Any]:
        """Return a graph.

        Args:
            name: its name.
            version: its version; if it isn't given, the latest that is no pre-release, or the latest of these if there is
                nothing else.

        Raises:
            GraphSetupError: there is none; the message lists those that there are.
        """
        versions = self._graphs.get(name)
        if not versions:
            raise GraphSetupError(f"the registry has no graph {name!r}; it has {sorted(self._graphs)}")
        if version is None:
            latest = max(versions, key=lambda order: (not is_pre_release(order), order))
            return versions[latest]
        found = versions.get(version_order(version))
        if found is None:
            raise GraphSetupError(f"the registry has no {name!r} {_told(version)}; it has {list(self.versions(name))}")
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of the graphs."""
        return tuple(sorted(self._graphs))

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions there are of a graph, the earliest first; an empty text stands for none."""
        versions = self._graphs.get(name, {})
        return tuple(versions[order].version for order in sorted(versions))

    def __iter__(self) -> Iterator[Graph[Any, Any, Any, Any]]:
        for name in self.names():
            versions = self._graphs[name]
            yield from (versions[order] for order in sorted(versions))

    def __len__(self) -> int:
        return sum(map(len, self._graphs.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._graphs

    def __repr__(self) -> str:
        return f"<Registry of {', '.join(f'{graph.name} {graph.version}'.strip() for graph in self) or 'nothing'}>"


def _told(version: str) -> str:
    return f"with version {version!r}" if version else "without a version"
