"""The state and its changes are recorded, whatever form they are in."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, make_dataclass
from decimal import Decimal
from typing import Any

import pytest

from perdure import CodecError, GraphBuilder, upcast, versioned
from perdure.codec.codec import Blobs, Codec
from perdure.kernel.state.draft import draft
from perdure.kernel.state.operations import Operation
from perdure.kernel.state.tree import freeze, same


@dataclass
class Part:
    name: str
    sizes: list[int] = field(default_factory=list)


@dataclass
class Memory:
    log: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    seen: set[Any] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    groups: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    price: Any = None


def codec_for(state_type: Any) -> Codec:
    g = GraphBuilder(name="g", state_type=state_type, input_type=int, output_type=int)
    g.add(g.edge_from(g.start_node).to(g.end_node))
    return Codec(g.build())


def a_memory() -> Memory:
    return Memory(
        ["a"], {"p": Part("p", [1])}, {1, (2, 3)}, Counter("aab"), defaultdict(list, {"g": [1]}), Decimal("1.5")
    )


def test_a_state_comes_back() -> None:
    codec, blobs, state = codec_for(Memory), Blobs(), a_memory()
    written = codec.write_state(state, blobs)
    assert written.value is state
    back = codec.read_state(written.raw, blobs)
    assert back == state
    assert type(back.counts) is Counter
    assert back.groups.default_factory is list


def test_a_draft_is_stored_as_what_it_stands_for() -> None:
    codec, blobs, state = codec_for(Memory), Blobs(), a_memory()
    drafted = draft(freeze(state))
    drafted.log.append("b")
    drafted.parts["q"] = Part("q")
    drafted.seen.add("new")
    raw = codec.write("", (drafted, drafted.log, drafted.parts, drafted.seen, drafted.parts["p"].sizes), blobs)
    whole, log, parts, seen, sizes = codec.read("", raw, blobs)
    assert whole.log == log == ["a", "b"]
    assert whole.parts == parts == {"p": Part("p", [1]), "q": Part("q")}
    assert whole.seen == seen == {1, (2, 3), "new"}
    assert sizes == [1]
    assert {type(log), type(parts), type(seen), type(sizes)} == {list, dict, set}


def test_a_committed_value_is_stored_as_what_it_stands_for() -> None:
    codec, blobs = codec_for(Memory), Blobs()
    assert codec.read("", codec.write("", freeze(a_memory()), blobs), blobs) == a_memory()


def test_changes_of_a_state_come_back() -> None:
    codec, blobs = codec_for(Memory), Blobs()
    operations = [
        Operation("set", ("price",), Decimal("2.5")),
        Operation("set", ("parts", "q"), freeze(Part("q", [2]))),
        Operation("set", ("price",), None),
        Operation("set", (), freeze(a_memory())),
        Operation("delete", ("parts", (1, "x"))),
        Operation("append", ("log",), ["b", "c"]),
        Operation("append", ("log",), [freeze(Part("r"))]),
        Operation("splice", ("log",), (0, 2, [freeze([1])])),
        Operation("include", ("seen",), [1, (2,)]),
        Operation("add", ("counts", "$"), 5),
    ]
    written = codec.write_operations(operations, blobs)
    assert written.value is operations
    back = codec.read_operations(written.raw, blobs)
    for before, after in zip(operations, back, strict=True):
        assert (before.verb, before.path) == (after.verb, after.path)
        assert same(_tree(before.value), _tree(after.value))


def _tree(value: Any) -> Any:
    return tuple(map(_tree, value)) if isinstance(value, list | tuple) else value


def test_a_large_state_and_a_large_change_are_kept_apart() -> None:
    codec, blobs = codec_for(Memory), Blobs()
    state = Memory(["a" * 300_000])
    assert codec.read_state(codec.write_state(state, blobs).raw, blobs) == state
    change = [Operation("append", ("log",), ["b" * 300_000])]
    assert codec.read_operations(codec.write_operations(change, blobs).raw, blobs) == change
    assert len(blobs.unsaved) == 2


def test_a_state_stored_before_its_type_had_a_version_is_upcast() -> None:
    then = make_dataclass("State", [("count", int)])
    now: Any = versioned(2)(make_dataclass("State", [("total", int), ("log", list[str], field(default_factory=list))]))
    upcast(now, from_version=1)(lambda fields: {"total": fields["count"]})
    written = codec_for(then).write_state(then(5), Blobs())
    assert codec_for(now).read_state(written.raw, Blobs()) == now(5)


def test_what_cannot_be_stored_is_refused_with_its_place_in_the_state() -> None:
    codec = codec_for(Memory)
    with pytest.raises(
        CodecError, match=r"^state: this type can't be stored at \$\.log\[1\] \(type object\)\. Make it a"
    ):
        codec.write_state(Memory(["a", object()]), Blobs())
    with pytest.raises(CodecError, match=r"^state: this type can't be stored"):
        codec.write_operations([Operation("set", ("price",), object())], Blobs())
    with pytest.raises(CodecError, match=r"^state: "):
        codec.read_state(codec_for(Part).write_state(Part("a"), Blobs()).raw, Blobs())
