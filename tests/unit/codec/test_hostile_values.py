"""What a store holds may have been written by anyone: it is read or refused, and nothing else happens."""

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import perdure.codec
from perdure import CodecError
from perdure.codec.tags import MAX_DEPTH
from unit.codec.exchange import read, round_trip, stored


@dataclass
class Node:
    inside: Any = None


class Pair(NamedTuple):
    left: Any
    right: Any = None


# --- names of types ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    [
        "os.system",
        "antigravity",
        "json.tool:main",
        "subprocess.Popen",
        "perdure.Graph",
        "Node2",
        "object",
        "builtins.eval",
    ],
)
def test_a_name_the_graph_does_not_mention_is_refused_and_nothing_is_imported(tag: str) -> None:
    before = set(sys.modules)
    for annotation in (Any, Node, list[Node], int):
        for content in ("x", ["x"], {"args": "x"}):
            data = msgspec.json.encode([{"$": tag, "v": content}])
            with pytest.raises(CodecError, match="no graph of this process mentions"):
                read(annotation, data, Node)
    assert set(sys.modules) == before


def test_no_module_of_the_codec_can_import_or_unpickle_by_name() -> None:
    folder = Path(perdure.codec.__path__[0])
    for file in folder.glob("*.py"):
        tree = ast.parse(file.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not names & {"__import__", "eval", "exec", "compile"}, file
        assert not modules & {"pickle", "marshal", "importlib", "shelve", "runpy"}, file


# --- content that doesn't fit ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nothing", b"[1", b"{", b'{"$":5}', b'{"$":null,"v":1}', b'{"$":[],"v":1}', b'{"$":{},"v":1}', b'{"$":"tuple"}',
        b'{"$":"decimal","v":"x"}', b'{"$":"fraction","v":[1,0]}', b'{"$":"fraction","v":"1e999999999"}',
        b'{"$":"timedelta","v":[1e400]}', b'{"$":"timedelta","v":[999999999999]}', b'{"$":"datetime","v":["x",null,0]}',
        b'{"$":"datetime","v":["2024-01-01","../../etc/passwd",0]}', b'{"$":"datetime","v":["2024-01-01","Nowhere/Such",0]}',
        b'{"$":"uuid","v":"x"}', b'{"$":"bytes","v":"?"}', b'{"$":"bytes","v":5}', b'{"$":"int","v":"zz"}', b'{"$":"int","v":[]}',
        b'{"$":"range","v":[0,1,0]}', b'{"$":"set","v":[[]]}', b'{"$":"set","v":{"a":1}}', b'{"$":"dict","v":[[[],1]]}',
        b'{"$":"dict","v":[1]}', b'{"$":"dict","v":{"a":1}}', b'{"$":"defaultdict","v":["eval",[]]}', b'{"$":"deque","v":[[],-1]}',
        b'{"$":"Counter","v":5}', b'{"$":"Node","v":5}', b'{"$":"Node","v":[1]}', b'{"$":"Node@x","v":{}}', b'{"$":"Node@-1","v":{}}',
        b'{"$":"Pair","v":{}}', b'{"$":"any","v":{"$":"any","v":1}}', b'{"$":"path","v":["/a"]}', b'["\xff"]', b'"\\ud800',
    ],
)  # fmt: skip
def test_content_that_does_not_fit_its_tag_is_refused(data: bytes) -> None:
    for annotation in (Any, Node, int, list[str], dict[str, Any]):
        with pytest.raises(CodecError):
            read(annotation, data, Node, Pair)


def test_a_refusal_says_where_in_the_value() -> None:
    data = b'{"$":"tuple","v":[1,{"a":{"$":"dict","v":[[5,{"$":"Node","v":{"inside":{"$":"uuid","v":"x"}}}]]}}]}'
    with pytest.raises(CodecError, match="what is stored as 'uuid' can't be read") as refused:
        read(Any, data, Node)
    assert refused.value.path == "$[1]['a'][5].inside"


# --- depth -------------------------------------------------------------------------------------------------------

NESTS: list[Callable[[Any], Any]] = [
    lambda inner: [inner],
    lambda inner: {"k": inner},
    lambda inner: {5: inner},
    lambda inner: (inner,),
    lambda inner: frozenset({inner}),
    Node,
    Pair,
]


def nested(nest: Callable[[Any], Any], levels: int) -> Any:
    value: Any = ()
    for _ in range(levels - 1):
        value = nest(value)
    return value


@pytest.mark.parametrize("nest", NESTS, ids=range(len(NESTS)))
@pytest.mark.parametrize("annotation", [Any, Node, list[int], tuple[Any, ...]], ids=str)
def test_a_value_nests_64_levels_and_no_more(nest: Callable[[Any], Any], annotation: Any) -> None:
    value = nested(nest, MAX_DEPTH)
    assert round_trip(annotation, value, Node, Pair) == value
    with pytest.raises(CodecError, match="nests deeper than 64 levels") as refused:
        stored(annotation, nested(nest, MAX_DEPTH + 1), Node, Pair)
    assert refused.value.path.count("[") + refused.value.path.count(".") == MAX_DEPTH


def test_a_closed_type_nests_no_deeper_than_others() -> None:
    hint: Any = int
    value: Any = 1
    for _ in range(MAX_DEPTH):
        hint, value = list[hint], [value]
    assert round_trip(hint, value) == value
    with pytest.raises(CodecError, match="nests deeper"):
        stored(list[hint], [value])


def test_a_value_that_contains_itself_is_refused() -> None:
    looped: list[Any] = []
    looped.append({"again": looped})
    for annotation in (Any, list[Any], list[dict[str, int]]):
        with pytest.raises(CodecError, match="contains itself"):
            stored(annotation, looped)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 2, 300, 3_000, 100_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"[", b"]"), (b'{"a":', b"}"), (b'{"$":"tuple","v":[', b"]}"), (b'{"$":"dict","v":[[1,', b"]]}"),
        (b'{"$":"dict","v":[[', b",1]]}"), (b'{"$":"Node","v":{"inside":', b"}}"), (b'{"$":"deque","v":[[', b"],null]}"),
        (b'{"$":"any","v":', b"}"),
    ],
)  # fmt: skip
def test_a_stored_value_that_nests_deeper_is_refused(before: bytes, after: bytes, levels: int) -> None:
    data = before * levels + b"1" + after * levels
    for annotation in (Node, list[int], list[Node]):
        with pytest.raises(CodecError):
            read(annotation, data, Node)
        with pytest.raises(CodecError):
            read(Any, b'[{"$":"set","v":[]},%s]' % data, Node)


def test_a_value_is_refused_rather_than_overflow_a_stack_that_is_nearly_full() -> None:
    value = nested(Node, MAX_DEPTH)
    data = stored(Any, value, Node)

    def dive(levels: int, act: Callable[[], Any]) -> Any:
        return dive(levels - 1, act) if levels else act()

    free = sys.getrecursionlimit() - _frames()
    for act in (lambda: stored(Any, value, Node), lambda: read(Any, data, Node)):
        with pytest.raises(CodecError):
            dive(free - 120, act)


def _frames() -> int:
    count, frame = 0, sys._getframe()
    while frame.f_back is not None:
        count, frame = count + 1, frame.f_back
    return count
