"""Definitions: a graph as JSON, read into plain data.

Reading never stops at the first mistake: whatever is wrong is gathered, each with its place (``$.nodes[2].retry``), and the
rest is read on, so that one look tells all there is to mend. What a definition means is in ``defining.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from perdure.errors import GraphSetupError, InvalidIdentifier
from perdure.graph.nodes.conditions import Condition
from perdure.graph.version_order import checked_version
from perdure.ids import checked_identifier

START: Final = "__start__"
END: Final = "__end__"
LARGEST: Final = 8_000_000
"""How many characters a definition may have."""


class NodeDefinition(NamedTuple):
    """A node: which type of step it is, and what it is told besides."""

    id: str
    step: str
    options: Mapping[str, Any] = {}
    """Arguments of ``g.step``."""
    place: str = ""


class EdgeDefinition(NamedTuple):
    """An edge."""

    source: str
    target: str
    condition: Condition | None = None
    label: str | None = None
    place: str = ""


class Definition(NamedTuple):
    """A graph as plain data; the edges from the start and to the end are among the others."""

    name: str
    nodes: tuple[NodeDefinition, ...]
    edges: tuple[EdgeDefinition, ...]
    version: str = ""
    options: Mapping[str, Any] = {}
    """Arguments of ``GraphBuilder``."""
    is_whole: bool = True
    """Whether every node and every edge could be read."""


class _Unfit(Exception):
    """Why a value can't be."""


Reader: TypeAlias = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Unfit("is no text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Unfit("holds half a surrogate pair, which can't be stored")
    return value


def _id(value: Any) -> str:
    try:
        return checked_identifier("id", _text(value))
    except InvalidIdentifier as error:
        raise _Unfit(f"is no id: {error}") from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("is neither true nor false")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _Unfit("is no whole number of at least 1")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise _Unfit("is no positive number")
    return value


def _word(*words: str) -> Reader:
    def read(value: Any) -> str:
        if value not in words:
            raise _Unfit(f"is not one of {', '.join(map(repr, words))}")
        return str(value)

    return read


def _join(value: Any) -> Any:
    if value not in ("each", "all", "any") and (type(value) is not int or value < 1):
        raise _Unfit('is not one of "each", "all", "any" or a whole number of at least 1')
    return value


def _ids(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise _Unfit("is no id, and no list of ids")
    return [_text(each) for each in values]


def _condition(value: Any) -> Condition:
    try:
        return Condition(value)
    except GraphSetupError as error:
        raise _Unfit(f"can't be read: {error}") from None


def _version(value: Any) -> str:
    try:
        return checked_version(_text(value))
    except GraphSetupError as error:
        raise _Unfit(f"is no version: {error}") from None


def _any(value: Any) -> Any:
    return value


_ON_ERROR = _word("fail", "collect", "wait")
RETRY: Final[dict[str, tuple[str, Reader]]] = {
    "maxAttempts": ("max_attempts", _count),
    "initialInterval": ("initial_interval", _number),
    "backoffFactor": ("backoff_factor", _number),
    "maxInterval": ("max_interval", _number),
    "jitter": ("jitter", _flag),
}
NODE_OPTIONS: Final[dict[str, tuple[str, Reader]]] = {
    "label": ("label", _text),
    "join": ("join", _join),
    "cancel": ("cancel", _flag),
    "onError": ("on_error", _ON_ERROR),
    "minOk": ("min_ok", _count),
    "retry": ("retry", _any),
    "timeout": ("timeout", _number),
    "executor": ("executor", _text),
    "effect": ("effect", _flag),
    "onUncertain": ("on_uncertain", _word("retry", "pause")),
    "maxCrashes": ("max_crashes", _count),
    "maxConcurrency": ("max_concurrency", _count),
}
GRAPH_OPTIONS: Final[dict[str, tuple[str, Reader]]] = {
    "endPolicy": ("end", _word("first", "all")),
    "stateConflicts": ("state_conflicts", _word("record", "error")),
    "maxSteps": ("max_steps", _count),
    "maxTasks": ("max_tasks", _count),
    "maxConcurrency": ("max_concurrency", _count),
    "onError": ("on_error", _ON_ERROR),
}
_NODE_KEYS: Final[dict[str, tuple[str, Reader]]] = {
    "id": ("id", _id),
    "stepType": ("step", _text),
    "step": ("step", _text),
    "waitForAll": ("wait_for_all", _flag),
    **NODE_OPTIONS,
}
_EDGE_KEYS: Final[dict[str, tuple[str, Reader]]] = {
    "source": ("source", _text),
    "from": ("source", _text),
    "target": ("target", _text),
    "to": ("target", _text),
    "condition": ("condition", _condition),
    "label": ("label", _text),
}
_GRAPH_KEYS: Final[dict[str, tuple[str, Reader]]] = {
    "id": ("name", _id),
    "name": ("name", _id),
    "version": ("version", _version),
    "description": ("description", _text),
    "nodes": ("nodes", _any),
    "edges": ("edges", _any),
    "start": ("starts", _ids),
    "end": ("ends", _ids),
    "terminal": ("ends", _ids),
    **GRAPH_OPTIONS,
}


class _Object(dict[str, Any]):
    """An object of a JSON text, which knows the keys that stood in it twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        found.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def read_definition(text: str | bytes, problems: list[str]) -> Definition | None:
    """Return what a text defines, or None if it is too far from it; add what is wrong to a list."""
    if not isinstance(text, str | bytes | bytearray) or len(text) > LARGEST:
        problems.append(f"$: give JSON as text, of at most {LARGEST} characters")
        return None
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        problems.append(f"$: this is no JSON: {error}")
        return None
    return _Reading(problems).graph(data)


class _Reading:
    """Reads one definition."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._is_whole = True

    def _refuse(self, place: str, problem: str) -> None:
        self._problems.append(f"{place}: {problem}")

    def _fields(
        self, place: str, data: Any, keys: Mapping[str, tuple[str, Reader]], required: Collection[str]
    ) -> dict[str, Any] | None:
        """Return what an object says, by the names of ours; None if something required isn't there."""
        if not isinstance(data, _Object):
            self._refuse(place, f"{_shown(data)} is no object, as in {{{', '.join(required)}, …}}")
            return None
        found: dict[str, Any] = {}
        wrong: set[str] = set()
        said: dict[str, str] = {}
        for key in data.repeated:
            self._refuse(f"{place}.{key}", "is there twice: drop one of them")
        for key, value in data.items():
            if key not in keys:
                close = get_close_matches(key, keys, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(keys)}"
                self._refuse(f"{place}.{key}", f"no such key is known; {hint}")
                continue
            name, read = keys[key]
            if name in said:
                self._refuse(f"{place}.{key}", f"means the same as {said[name]!r}: drop one of them")
                continue
            said[name] = key
            try:
                found[name] = read(value)
            except _Unfit as unfit:
                self._refuse(f"{place}.{key}", f"{_shown(value)} {unfit}")
                wrong.add(name)
        missing = [key for key in required if keys[key][0] not in said]
        for key in missing:
            same = [f"{other!r}" for other in keys if keys[other][0] == keys[key][0]]
            self._refuse(place, f"{' or '.join(same)} is missing")
        return None if missing or wrong & {keys[key][0] for key in required} else found

    def graph(self, data: Any) -> Definition | None:
        found = self._fields("$", data, _GRAPH_KEYS, ("id", "nodes"))
        if found is None and not (isinstance(data, _Object) and "nodes" in data):
            return None
        said = (
            found if found is not None else {"name": "unnamed", "nodes": data["nodes"], "edges": data.get("edges", [])}
        )
        nodes = self._nodes(said["nodes"])
        edges = self._edges(said.get("edges", []), {node.id for node in nodes})
        ends = [*self._starts(said, nodes, edges), *edges, *self._ends(said, nodes, edges)]
        names = {name for name, _ in GRAPH_OPTIONS.values()}
        options = {"end": "all", **{name: value for name, value in said.items() if name in names}}
        return Definition(said["name"], tuple(nodes), tuple(ends), said.get("version", ""), options, self._is_whole)

    def _list(self, place: str, data: Any) -> list[Any]:
        if isinstance(data, list):
            return data
        self._refuse(place, f"{_shown(data)} is no list")
        self._is_whole = False
        return []

    def _nodes(self, data: Any) -> list[NodeDefinition]:
        nodes: dict[str, NodeDefinition] = {}
        listed = self._list("$.nodes", data)
        for index, each in enumerate(listed):
            place = f"$.nodes[{index}]"
            found = self._fields(place, each, _NODE_KEYS, ("id", "stepType"))
            id_ = found["id"] if found is not None else each.get("id") if isinstance(each, _Object) else None
            if not isinstance(id_, str) or id_ in nodes or id_ in (START, END):
                self._is_whole = False
                if isinstance(id_, str) and id_ in nodes:
                    self._refuse(f"{place}.id", f"{id_!r} is the id of {nodes[id_].place} already")
                elif isinstance(id_, str):
                    self._refuse(f"{place}.id", f"{id_!r} stands for the start or the end of the graph: take another")
                continue
            options = self._node_options(
                place, {name: found[name] for name in found if name not in ("id", "step")} if found else {}
            )
            nodes[id_] = NodeDefinition(id_, found["step"] if found is not None else "", options, place)
        if not nodes and isinstance(data, list) and not data:
            self._refuse("$.nodes", "there is none")
            self._is_whole = False
        return list(nodes.values())

    def _node_options(self, place: str, options: dict[str, Any]) -> dict[str, Any]:
        waits = options.pop("wait_for_all", None)
        if waits is not None and "join" in options:
            self._refuse(f"{place}.waitForAll", 'says the same as "join": drop one of them')
        elif waits is not None:
            options["join"] = "all" if waits else "each"
        retry = options.get("retry")
        if isinstance(retry, _Object):
            options["retry"] = dict(self._fields(f"{place}.retry", retry, RETRY, ()) or {})
        elif retry is not None and (type(retry) is not int or retry < 1):
            self._refuse(f"{place}.retry", f"{_shown(retry)} is no number of attempts, and no object")
            del options["retry"]
        return options

    def _edges(self, data: Any, ids: Collection[str]) -> list[EdgeDefinition]:
        edges: list[EdgeDefinition] = []
        seen: dict[tuple[str, str, str], str] = {}
        for index, each in enumerate(self._list("$.edges", data)):
            place = f"$.edges[{index}]"
            found = self._fields(place, each, _EDGE_KEYS, ("source", "target"))
            if found is None:
                self._is_whole = False
                continue
            edge = EdgeDefinition(**found, place=place)
            for name, id_, known in (("source", edge.source, START), ("target", edge.target, END)):
                if id_ not in ids and id_ != known:
                    key = next(key for key in each if _EDGE_KEYS.get(key, ("",))[0] == name)
                    self._unknown(f"{place}.{key}", id_, ids)
            way = edge.source, edge.target, str(edge.condition.test) if edge.condition is not None else ""
            if way in seen:
                self._refuse(place, f"is the same as {seen[way]}: drop one of them")
            seen[way] = place
            edges.append(edge)
        return edges

    def _unknown(self, place: str, id_: str, ids: Collection[str]) -> None:
        close = get_close_matches(id_, ids, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, sorted(ids)[:20]))}"
        self._refuse(place, f"no node has the id {id_!r}; {hint}")
        self._is_whole = False

    def _named(
        self, key: Literal["start", "end"], said: Mapping[str, Any], nodes: Collection[NodeDefinition]
    ) -> list[str]:
        ids = {node.id for node in nodes}
        for place, id_ in enumerate(said[f"{key}s"]):
            if id_ not in ids:
                self._unknown(f"$.{key}[{place}]", id_, ids)
        return list(dict.fromkeys(id_ for id_ in said[f"{key}s"] if id_ in ids))

    def _starts(
        self, said: Mapping[str, Any], nodes: Collection[NodeDefinition], edges: Collection[EdgeDefinition]
    ) -> list[EdgeDefinition]:
        if "starts" in said:
            found = self._named("start", said, nodes)
        else:
            entered = {edge.target for edge in edges if edge.source != edge.target}
            found = [node.id for node in nodes if node.id not in entered]
            if not found and nodes and not any(edge.source == START for edge in edges):
                self._refuse("$", 'every node has an edge that leads to it: name the first ones in "start"')
                self._is_whole = False
        return [EdgeDefinition(START, id_, place="$.start") for id_ in found]

    def _ends(
        self, said: Mapping[str, Any], nodes: Collection[NodeDefinition], edges: Collection[EdgeDefinition]
    ) -> list[EdgeDefinition]:
        if "ends" in said:
            found = self._named("end", said, nodes)
        else:
            left = {edge.source for edge in edges if edge.source != edge.target or edge.condition is None}
            found = [node.id for node in nodes if node.id not in left]
        return [EdgeDefinition(id_, END, place="$.end") for id_ in found]


def _shown(value: Any) -> str:
    if isinstance(value, _Object):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{value!r:.80}" if isinstance(value, str) else json.dumps(value)[:60]
