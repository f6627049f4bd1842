"""Known graphs: those an engine can drive runs of, each version of a name beside the others.

A run is driven with the graph it was started with, and tells which that is by its fingerprint. Where that graph isn't
there, the last one of its name stands in, to read what can be read and to say what is different.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from perdure.engine.driving.registered import Registered
from perdure.errors import GraphSetupError
from perdure.graph.graph import Graph
from perdure.store.records import RunInfo


class KnownGraphs:
    """Graphs by name and fingerprint."""

    def __init__(self) -> None:
        self._graphs: dict[str, dict[str, Registered]] = {}

    def find(self, graph: Graph[Any, Any, Any, Any]) -> Registered | None:
        """Return a graph if it is known, the very same object.

        Raises:
            GraphSetupError: another one is known by its name and version.
        """
        versions = self._graphs.get(graph.name, {})
        known = versions.get(graph.fingerprint)
        if known is not None:
            return known if known.graph is graph else None
        if any(other.graph.version == graph.version for other in versions.values()):
            raise GraphSetupError(
                f"this engine knows another graph by the name {graph.name!r}, {_told(graph.version)}: give each graph a name "
                "of its own, GraphBuilder(name=…), and each version of it a version, GraphBuilder(version=…)"
            )
        return None

    def add(self, mine: Registered) -> None:
        """Add a graph, or let it take the place of one with the same fingerprint."""
        graph = mine.graph
        versions = self._graphs.setdefault(graph.name, {})
        versions.pop(graph.fingerprint, None)
        versions[graph.fingerprint] = mine

    def of(self, info: RunInfo) -> Registered | None:
        """Return the graph of a run; if only others are known by its name, the last of these; or None."""
        return self._graphs.get(info.graph, {}).get(info.fingerprint) or self.newest(info.graph)

    def newest(self, name: str) -> Registered | None:
        """Return the graph of a name that was made known last, which runs of one that isn't there are compared with; or None."""
        versions = self._graphs.get(name)
        return next(reversed(versions.values())) if versions else None

    def names(self, *, unless: Callable[[Graph[Any, Any, Any, Any]], bool] | None = None) -> list[str]:
        """Return the names of graphs, without those of which a version is excepted."""
        return [
            name
            for name, versions in self._graphs.items()
            if unless is None or not any(unless(known.graph) for known in versions.values())
        ]

    def fingerprints(self, names: Collection[str]) -> list[str]:
        """Return the fingerprints of all versions of the graphs of some names."""
        return [fingerprint for name, versions in self._graphs.items() if name in names for fingerprint in versions]

    def __iter__(self) -> Iterator[Registered]:
        for versions in self._graphs.values():
            yield from versions.values()


def _told(version: str) -> str:
    return f"of the same version {version!r}" if version else "and both without a version"
