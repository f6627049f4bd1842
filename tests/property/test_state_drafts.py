"""A draft behaves like a deep copy of the plain value, whatever is done to it, in whatever order."""

import copy
import heapq
import json
import operator
import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import GraphRuntimeError
from perdure.kernel.state.committed import Committed, Transaction
from perdure.kernel.state.draft import draft
from perdure.kernel.state.tree import freeze, thaw

Deed = tuple[str, Callable[[Any], Any]]


class Holder:
    """A state with the container under test in a field; another field keeps what is moved there."""

    def __init__(self, box: Any) -> None:
        self.box = box
        self.other: Any = None


def plain(value: Any) -> Any:
    """Return a value in a form that compares equal only to what a user couldn't tell from it."""
    if isinstance(value, OrderedDict | defaultdict | Counter):
        kind = next(kind for kind in (OrderedDict, defaultdict, Counter) if isinstance(value, kind))
        return kind.__name__, tuple((plain(key), plain(part)) for key, part in value.items())
    if isinstance(value, Mapping):
        return "dict", tuple((plain(key), plain(part)) for key, part in value.items())
    if isinstance(value, AbstractSet):
        return "frozenset" if isinstance(value, frozenset) else "set", frozenset(plain(part) for part in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "tuple" if isinstance(value, tuple) else "list", tuple(plain(part) for part in value)
    return type(value).__name__, repr(value)


def outcome(deed: Callable[[Any], Any], box: Any) -> Any:
    """Return what calling something comes to."""
    try:
        result = deed(box)
        if hasattr(result, "__next__"):
            result = list(result)
            return "iterator", in_no_order(result) if isinstance(box, AbstractSet) else plain(result)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, StopIteration) as error:
        if isinstance(error, GraphRuntimeError):
            raise
        # OrderedDict.pop raises KeyError(*key) where the key is a tuple, and dict.pop KeyError(key).
        key = error.args[0] if error.args and isinstance(error.args[0], tuple) else error.args
        return type(error).__name__, str(key) if isinstance(error, KeyError) else None
    if result is box:
        return "itself"
    if isinstance(box, AbstractSet) and isinstance(result, str | list):
        return type(result).__name__, in_no_order(result)
    return "result", plain(result)


def in_no_order(result: Iterable[Any]) -> list[str]:
    """Return what has come out of a set: in which order, isn't said."""
    return sorted(repr(plain(part)) for part in result)


def check(initial: Any, deeds: list[Deed]) -> None:
    """Do the same to a draft and to a deep copy, and compare after each deed; then what is committed."""
    expected = Holder(copy.deepcopy(initial))
    committed = Committed(Holder(initial))
    before = plain(initial)
    transaction = Transaction(committed)
    state = transaction.state
    for name, deed in deeds:
        assert outcome(deed, state.box) == outcome(deed, expected.box), name
    proposal = transaction.proposal()
    assert plain(thaw(committed.tree).box) == before == plain(initial)
    if proposal is not None:
        committed.apply(committed.merged(proposal).operations, 1)
    assert plain(state.box) == plain(expected.box)
    assert plain(thaw(committed.tree).box) == plain(expected.box)


scalars = st.one_of(
    st.integers(-3, 3),
    st.booleans(),
    st.none(),
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from([0.5, -0.0, float("inf")]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.sets(st.integers(0, 3), max_size=3),
        st.tuples(inner),
    ),
    max_leaves=4,
)
indexes = st.integers(-4, 4)
keys = st.one_of(st.sampled_from("abcd"), st.integers(0, 2), st.tuples(st.integers(0, 1)))
members = st.integers(0, 6)  # in one order in every set that holds them


def deed(name: str, *arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., Any]], st.SearchStrategy[Deed]]:
    """Make a strategy of a function of (container, *arguments); every call gets its own copy of the arguments."""

    def bind(function: Callable[..., Any]) -> st.SearchStrategy[Deed]:
        return st.tuples(*arguments).map(
            lambda drawn: (f"{name}{drawn!r}", lambda box: function(box, *copy.deepcopy(drawn)))
        )

    return bind


def generated(parts: Any, fails: bool) -> Any:
    yield from parts
    if fails:
        raise ValueError


def stepped_on(box: Any, value: Any) -> None:
    """Change what is in a container, if that can be changed."""
    inner = list(box.values()) if isinstance(box, dict) else list(box)
    for part in inner:
        if isinstance(part, list):
            part.append(value)
        elif isinstance(part, dict):
            part["a"] = value


def swapped(box: Any) -> None:
    for index in range(len(box)):
        box[index], box[-1 - index] = box[-1 - index], box[index]


def appended_while_iterating(box: Any) -> None:
    for value in box:
        if len(box) > 8:
            break
        box.append(value)


anything: list[st.SearchStrategy[Deed]] = [
    deed("len")(len),
    deed("bool")(bool),
    deed("repr")(repr),
    deed("str")(str),
    deed("format")(lambda box: f"{box}"),
    deed("iter")(iter),
    deed("list")(list),
    deed("star")(lambda box: [*box]),
    deed("sorted")(lambda box: sorted(box, key=repr)),
    deed("max")(max),
    deed("enumerate")(enumerate),
    deed("hash")(hash),
    deed("copy.copy")(copy.copy),
    deed("deepcopy")(copy.deepcopy),
    deed("pickle")(lambda box: pickle.loads(pickle.dumps(box))),
    deed("type")(lambda box: type(box)()),
    deed("isinstance")(lambda box: [isinstance(box, kind) for kind in (list, dict, set, Counter, OrderedDict)]),
    deed("inside", values)(stepped_on),
    deed("in", values)(lambda box, value: value in box),
    deed("==", values)(operator.eq),
    deed("!=")(lambda box: box != copy.deepcopy(box)),
    deed("== itself")(lambda box: box == copy.deepcopy(box)),
    deed("itself ==")(lambda box: copy.deepcopy(box) == box),
    deed("clear")(lambda box: box.clear()),
    deed("container.copy")(lambda box: box.copy()),
]
list_deeds = st.one_of(
    *anything,
    deed("append", values)(lambda box, value: box.append(value)),
    deed("append[-1]")(lambda box: box.append(box[-1])),
    deed("extend", st.lists(values, max_size=3))(lambda box, more: box.extend(more)),
    deed("extend tuple", st.lists(values, max_size=3))(lambda box, more: box.extend(tuple(more))),
    deed("extend generator", st.lists(values, max_size=3), st.booleans())(
        lambda box, more, fails: box.extend(generated(more, fails))
    ),
    deed("extend reading")(lambda box: box.extend([len(list(box))] for _ in range(2))),
    deed("extend itself")(lambda box: box.extend(box) if len(box) < 20 else None),
    deed("extend None")(lambda box: box.extend(None)),
    deed("+=", st.lists(values, max_size=3))(operator.iadd),
    deed("insert", indexes, values)(lambda box, index, value: box.insert(index, value)),
    deed("pop")(lambda box: box.pop()),
    deed("pop at", indexes)(lambda box, index: box.pop(index)),
    deed("pop float")(lambda box: box.pop(-1.0)),
    deed("remove", values)(lambda box, value: box.remove(value)),
    deed("index", values)(lambda box, value: box.index(value)),
    deed("count", values)(lambda box, value: box.count(value)),
    deed("sort")(lambda box: box.sort(key=repr)),
    deed("sort mixed")(lambda box: box.sort() if all(isinstance(part, int) for part in box) else None),
    deed("reverse")(lambda box: box.reverse()),
    deed("reversed")(lambda box: reversed(box)),
    deed("[]", indexes)(lambda box, index: box[index]),
    deed("[bool]")(lambda box: box[True]),
    deed("[str]")(lambda box: box["a"]),
    deed("[]=", indexes, values)(operator.setitem),
    deed("del[]", indexes)(operator.delitem),
    deed("[:]", indexes, indexes)(lambda box, start, stop: box[start:stop]),
    deed("[:]=", indexes, indexes, st.lists(values, max_size=3))(
        lambda box, start, stop, more: operator.setitem(box, slice(start, stop), more)
    ),
    deed("del[:]", indexes, indexes)(lambda box, start, stop: operator.delitem(box, slice(start, stop))),
    deed("+")(lambda box: [*box, 0] if len(box) > 20 else box + [0]),  # noqa: RUF005
    deed("0 +")(lambda box: [0] + box),  # noqa: RUF005
    deed("other +=")(lambda box: aliased([0], box)),
    deed("*")(lambda box: box * 2),
    deed("*=")(lambda box: operator.imul(box, 2) if len(box) < 10 else None),
    deed("<", st.lists(st.integers(), max_size=2))(operator.lt),
    deed("tuple")(tuple),
    deed("unpack")(lambda box: max(*box)),
    deed("other[:]=")(lambda box: operator.setitem([1, 2], slice(None), box)),
    deed("slice assigned")(lambda box: [1, 2].__setitem__(slice(None), box)),
    deed("json")(json.dumps),
    deed("join")(lambda box: "".join(box)),
    deed("swap")(swapped),
    deed("while iterating")(appended_while_iterating),
    deed("bisect")(lambda box: heapq.nsmallest(2, box, key=repr)),
)


def aliased(other: list[Any], box: Any) -> Any:
    alias = other
    other += box
    return alias


@settings(max_examples=250, deadline=None)
@given(st.lists(values, max_size=5), st.lists(list_deeds, max_size=10))
def test_a_draft_list_behaves_like_a_list(initial: list[Any], deeds: list[Deed]) -> None:
    check(initial, deeds)


dict_deeds = [
    *anything,
    deed("[]", keys)(operator.getitem),
    deed("[unhashable]")(lambda box: box[[]]),
    deed("[]=", keys, values)(operator.setitem),
    deed("del", keys)(operator.delitem),
    deed("get", keys)(lambda box, key: box.get(key)),
    deed("get default", keys)(lambda box, key: box.get(key, "none")),
    deed("pop", keys)(lambda box, key: box.pop(key)),
    deed("pop default", keys)(lambda box, key: box.pop(key, "none")),
    deed("pop first")(lambda box: box.pop(next(iter(box)))),
    deed("popitem")(lambda box: box.popitem()),
    deed("to the end", keys)(lambda box, key: operator.setitem(box, key, box.pop(key))),
    deed("again", keys, values)(lambda box, key, value: (box.pop(key, None), operator.setitem(box, key, value))[0]),
    deed("setdefault", keys, values)(lambda box, key, value: box.setdefault(key, value)),
    deed("setdefault None", keys)(lambda box, key: box.setdefault(key)),
    deed("setdefault reading", keys)(lambda box, key: box.setdefault(key, list(box))),
    deed("setdefault append", keys, values)(lambda box, key, value: box.setdefault(key, []).append(value)),
    deed("+= under key", keys)(lambda box, key: operator.setitem(box, key, box[key] + 1)),
    deed("in keys", keys)(lambda box, key: key in box),
    deed("keys")(lambda box: box.keys()),
    deed("values")(lambda box: list(box.values())),
    deed("items")(lambda box: list(box.items())),
    deed("reversed")(lambda box: reversed(box)),
    deed("fromkeys", st.lists(keys, max_size=2))(lambda box, names: box.fromkeys(names)),
    deed("**")(lambda box: {**box}),
    deed("dict")(dict),
    deed("sort")(lambda box: [operator.setitem(box, key, box.pop(key)) for key in sorted(box, key=repr)]),
]
updates = [
    deed("update", st.dictionaries(keys, values, max_size=3))(lambda box, more: box.update(more)),
    deed("update pairs", st.lists(st.tuples(keys, values), max_size=3))(lambda box, pairs: box.update(pairs)),
    deed("update bad", keys, values)(lambda box, key, value: box.update([(key, value), (1, 2, 3)])),
    deed("update named", values)(lambda box, value: box.update(a=value)),
    deed("update nothing")(lambda box: box.update(None)),
    deed("update itself")(lambda box: box.update(box)),
    deed("update reading")(lambda box: box.update([(key, "seen") for key in box])),
    deed("|=", st.dictionaries(keys, values, max_size=3))(operator.ior),
    deed("|= pairs", st.lists(st.tuples(keys, values), max_size=3))(operator.ior),
    deed("|= nothing")(lambda box: operator.ior(box, 5)),
    deed("|", st.dictionaries(keys, values, max_size=3))(lambda box, more: plain(box | more)[1]),
    deed("other |", st.dictionaries(keys, values, max_size=3))(lambda box, more: plain(more | box)[1]),
    deed("other |=", st.dictionaries(keys, values, max_size=3))(lambda box, more: operator.ior(more, box)),
    deed("json")(json.dumps),
    deed("sort items")(lambda box: sorted(box.items(), key=repr)),
]


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(keys, values, max_size=5), st.lists(st.one_of(*dict_deeds, *updates), max_size=10))
def test_a_draft_dict_behaves_like_a_dict(initial: dict[Any, Any], deeds: list[Deed]) -> None:
    check(initial, deeds)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(keys, values, max_size=5),
    st.lists(
        st.one_of(
            *dict_deeds,
            *updates,
            deed("move_to_end", keys, st.booleans())(lambda box, key, last: box.move_to_end(key, last)),
            deed("popitem first")(lambda box: box.popitem(last=False)),
            deed("setdefault named", keys)(lambda box, key: box.setdefault(key, default=1)),
        ),
        max_size=10,
    ),
)
def test_a_draft_ordereddict_behaves_like_an_ordereddict(initial: dict[Any, Any], deeds: list[Deed]) -> None:
    check(OrderedDict(initial), deeds)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(keys, values, max_size=5),
    st.sampled_from([list, int, None]),
    st.lists(
        st.one_of(*dict_deeds, *updates, deed("missing", keys)(lambda box, key: box[key].append(1))),
        max_size=10,
    ),
)
def test_a_draft_defaultdict_behaves_like_a_defaultdict(
    initial: dict[Any, Any], factory: Any, deeds: list[Deed]
) -> None:
    check(defaultdict(factory, initial), deeds)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(keys, st.integers(-2, 5), max_size=5),
    st.lists(
        st.one_of(
            *dict_deeds,
            deed("update", st.dictionaries(keys, st.integers(-2, 3), max_size=3))(lambda box, more: box.update(more)),
            deed("update all", st.lists(keys, max_size=4))(lambda box, more: box.update(more)),
            deed("update named", st.lists(keys, max_size=2))(lambda box, more: box.update(more, a=2)),
            deed("update nothing")(lambda box: box.update()),
            deed("update itself")(lambda box: box.update(box)),
            deed("update reading")(lambda box: box.update(key for key in box)),
            deed("update number")(lambda box: box.update(5)),
            deed("subtract", st.lists(keys, max_size=4))(lambda box, more: box.subtract(more)),
            deed("subtract counter", st.dictionaries(keys, st.integers(-2, 3), max_size=3))(
                lambda box, more: box.subtract(Counter(more))
            ),
            deed("subtract named")(lambda box: box.subtract(a=2)),
            deed("+=", st.dictionaries(keys, st.integers(-2, 3), max_size=3))(
                lambda box, more: operator.iadd(box, Counter(more))
            ),
            deed("|=", st.dictionaries(keys, st.integers(-2, 3), max_size=3))(
                lambda box, more: operator.ior(box, Counter(more))
            ),
            deed("+")(lambda box: box + Counter("ab")),
            deed("unary +")(operator.pos),
            deed("most_common")(lambda box: box.most_common(2)),
            deed("total")(lambda box: box.total()),
            deed("elements")(lambda box: box.elements()),
            deed("count", keys)(lambda box, key: operator.setitem(box, key, box[key] + 1)),
        ),
        max_size=10,
    ),
)
def test_a_draft_counter_behaves_like_a_counter(initial: dict[Any, Any], deeds: list[Deed]) -> None:
    check(Counter(initial), deeds)


others = st.sets(members, max_size=4)
set_deeds = st.one_of(
    *anything,
    deed("add", members)(lambda box, member: box.add(member)),
    deed("add unhashable")(lambda box: box.add([])),
    deed("discard", members)(lambda box, member: box.discard(member)),
    deed("discard set", others)(lambda box, other: box.discard(other)),
    deed("remove", members)(lambda box, member: box.remove(member)),
    deed("remove set", others)(lambda box, other: box.remove(other)),
    deed("contains", members)(lambda box, member: member in box),
    deed("contains set", others)(lambda box, other: other in box),
    deed("pop")(lambda box: box.pop() if len(box) < 2 else None),
    deed("update", others, st.lists(members, max_size=3))(lambda box, *more: box.update(*more)),
    deed("update generator", st.lists(members, max_size=3), st.booleans())(
        lambda box, more, fails: box.update(generated(more, fails))
    ),
    deed("update itself")(lambda box: box.update(box)),
    deed("update number")(lambda box: box.update(1)),
    deed("difference_update", others)(lambda box, other: box.difference_update(other)),
    deed("difference_update itself")(lambda box: box.difference_update(box)),
    deed("intersection_update", others)(lambda box, other: box.intersection_update(other)),
    deed("symmetric_difference_update", others)(lambda box, other: box.symmetric_difference_update(other)),
    *(
        deed(operation.__name__, others)(operation)
        for operation in (
            *(operator.ior, operator.isub, operator.iand, operator.ixor),
            *(operator.or_, operator.sub, operator.and_, operator.xor),
            *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
        )
    ),
    *(
        deed(f"other {operation.__name__}", others)(lambda box, other, operation=operation: operation(other, box))
        for operation in (
            *(operator.ior, operator.isub, operator.iand, operator.ixor),
            *(operator.or_, operator.sub, operator.and_, operator.xor),
            *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
            *(set.union, set.difference, set.intersection, set.symmetric_difference),
            *(set.issubset, set.issuperset, set.isdisjoint),
        )
    ),
    *(
        deed(name, others)(lambda box, other, name=name: getattr(box, name)(other))
        for name in ("union", "difference", "intersection", "symmetric_difference", "issubset", "issuperset")
    ),
    deed("|= list")(lambda box: operator.ior(box, [1])),
    deed("-= itself")(lambda box: operator.isub(box, box)),
    deed("set")(set),
    deed("frozenset")(frozenset),
    deed("other.update")(lambda box: updated({7}, box)),
)


def updated(other: set[Any], box: Any) -> set[Any]:
    other.update(box)
    return other


@settings(max_examples=250, deadline=None)
@given(st.sets(members, max_size=5), st.lists(set_deeds, max_size=10))
def test_a_draft_set_behaves_like_a_set(initial: set[Any], deeds: list[Deed]) -> None:
    check(initial, deeds)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10])
@pytest.mark.parametrize(
    "deed",
    [
        lambda box: heapq.heappush(box, 0),
        heapq.heappop,
        heapq.heapify,
        lambda box: heapq.heapreplace(box, 0),
        lambda box: heapq.heappushpop(box, 0),
        lambda box: list.append(box, 1),
        list.pop,
        list.clear,
        list.reverse,
        lambda box: list.__setitem__(box, 0, 5),
    ],
)
def test_c_code_that_changes_an_unread_list_fails_loudly_at_once_or_at_the_commit(size: int, deed: Any) -> None:
    transaction = Transaction(Committed(Holder(list(range(size)))))
    box = transaction.state.box
    if deed is list.reverse:
        return  # three marks reversed are three marks: nothing was seen and nothing was done
    with pytest.raises(GraphRuntimeError):
        deed(box)
        transaction.proposal()


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_c_code_works_on_a_list_that_was_read(size: int) -> None:
    committed = Committed(Holder(list(range(size))))
    transaction = Transaction(committed)
    box = transaction.state.box
    expected = list(box)
    for heap in (box, expected):
        heapq.heappush(heap, -1)
        heapq.heapreplace(heap, 5)
    proposal = transaction.proposal()
    assert proposal is not None
    committed.apply(committed.merged(proposal).operations, 1)
    assert thaw(committed.tree).box == expected


def assigned(left: Any, right: Any) -> Any:
    left[:1] = right
    return left


COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
PAIR_DEEDS: dict[type, tuple[Callable[[Any, Any], Any], ...]] = {
    list: (
        *COMPARISONS,
        *(operator.add, operator.iadd, assigned),
        *(lambda left, right: [left] == [right], lambda left, right: (left, 1) < (right, 2)),
        *(lambda left, right: left.extend(right), lambda left, right: right in left),
        *(lambda left, right: [left].index(right), lambda left, right: [left].count(right)),
    ),
    dict: (
        *(operator.eq, operator.ne, operator.or_, operator.ior),
        *(lambda left, right: left.update(right), lambda left, right: {"x": left} == {"x": right}),
        *(lambda left, right: left.items() == right.items(), lambda left, right: dict(left, **right)),
    ),
    Counter: (
        *COMPARISONS,
        *(operator.add, operator.sub, operator.or_, operator.and_),
        *(operator.iadd, operator.isub, operator.ior, operator.iand),
    ),
    set: (
        *COMPARISONS,
        *(operator.or_, operator.and_, operator.sub, operator.xor),
        *(operator.ior, operator.iand, operator.isub, operator.ixor),
    ),
}
pair_values: dict[type, st.SearchStrategy[Any]] = {
    list: st.lists(st.one_of(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=2)), max_size=4),
    dict: st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    Counter: st.dictionaries(st.sampled_from("abc"), st.integers(-1, 2), max_size=3).map(Counter),
    set: st.sets(members, max_size=4),
}
pairs = st.sampled_from(list(pair_values)).flatmap(
    lambda kind: st.tuples(pair_values[kind], pair_values[kind], st.sampled_from(PAIR_DEEDS[kind]))
)


@settings(max_examples=400, deadline=None)
@given(pairs, st.booleans(), st.booleans())
def test_two_drafts_meet_like_two_plain_containers(
    pair: tuple[Any, Any, Callable[[Any, Any], Any]], reads_left: bool, reads_right: bool
) -> None:
    left, right, deed = pair
    expected = Holder(copy.deepcopy(left))
    expected.other = copy.deepcopy(right)
    initial = Holder(left)
    initial.other = right
    state = Transaction(Committed(initial)).state
    for is_read, box in ((reads_left, state.box), (reads_right, state.other)):
        if is_read:
            assert list(box) is not None
    assert outcome(lambda state: deed(state.box, state.other), state) == outcome(
        lambda state: deed(state.box, state.other), expected
    )
    assert (plain(state.box), plain(state.other)) == (plain(expected.box), plain(expected.other))


def test_parts_that_nobody_has_read_can_be_compared_with_each_other() -> None:
    box = draft(freeze([[2], [1], [3]]))
    box.sort()
    assert box == [[1], [2], [3]]
    assert max(draft(freeze([[2], [3], [1]]))) == [3]
    assert draft(freeze([1])) + draft(freeze([2])) == [1, 2]
