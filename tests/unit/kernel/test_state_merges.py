"""What single merges come to, in the cases that random programs seldom meet."""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import pytest

from perdure import StateConflict, add, append, first, forbid, last, max_value, merge, min_value, union
from perdure.kernel.state.committed import Committed, Transaction
from perdure.kernel.state.tree import thaw

Deed = Callable[[Any], Any]


@dataclass
class Fields:
    plain: Any = None
    added: Annotated[Any, add] = None
    appended: Annotated[Any, append] = None
    united: Annotated[Any, union] = None
    merged: Annotated[Any, merge] = None
    most: Annotated[Any, max_value] = None
    least: Annotated[Any, min_value] = None
    early: Annotated[Any, first] = None
    late: Annotated[Any, last] = None
    guarded: Annotated[Any, forbid] = None
    counts: Annotated[Counter[str], add] = field(default_factory=Counter)


def together(initial: Fields, *deeds: Deed) -> Any:
    """Return the state after tasks that began together have committed one by one."""
    committed = Committed(initial)
    tasks = [Transaction(committed) for _ in deeds]
    for task in tasks:
        assert task.state is not None
    for seq, (task, deed) in enumerate(zip(tasks, deeds, strict=True), 1):
        deed(task.state)
        proposal = task.proposal()
        if proposal is not None:
            committed.apply(committed.merged(proposal).operations, seq)
    return thaw(committed.tree)


def sets(name: str, value: Any) -> Deed:
    return lambda state: setattr(state, name, value)


def counts(key: str, number: int) -> Deed:
    def deed(state: Any) -> None:
        state.counts[key] += number

    return deed


# --- by type and content ---


def test_append_refuses_a_true_in_the_place_of_a_one() -> None:
    with pytest.raises(StateConflict):
        together(Fields(appended=[1]), sets("plain", 1), lambda state: state.appended.__setitem__(0, True))
    with pytest.raises(StateConflict):
        append([1, 2], [1], [True, 3])


def test_append_takes_a_list_that_holds_nan() -> None:
    assert append([math.nan, 1], [math.nan], [float("nan"), 2])[1:] == [1, 2]


def test_forbid_refuses_and_first_keeps_a_value_that_differs_in_type_alone() -> None:
    with pytest.raises(StateConflict):
        forbid(True, 1, 2)
    assert first(True, 1, 2) is True


def test_merge_takes_a_true_in_the_place_of_a_one_for_a_change() -> None:
    assert merge({"a": 1, "b": 2}, {"a": 1}, {"a": True})["a"] is True


# --- optional fields ---


@pytest.mark.parametrize(
    ("name", "one", "other", "result"),
    [
        ("added", 5, 3, 8),
        ("appended", [1], [2], [1, 2]),
        ("united", {1}, {2}, {1, 2}),
        ("merged", {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ("most", 3, 5, 5),
        ("least", 3, 5, 3),
        ("early", 3, 5, 3),
        ("late", 3, 5, 5),
    ],
)
def test_a_declared_field_may_begin_as_none(name: str, one: Any, other: Any, result: Any) -> None:
    assert getattr(together(Fields(), sets(name, one)), name) == one
    assert getattr(together(Fields(), sets(name, one), sets(name, other)), name) == result


# --- add ---


@pytest.mark.parametrize("base", [1e16, math.inf, math.nan, 0.1])
def test_add_leaves_what_the_only_writer_left(base: float) -> None:
    assert together(Fields(added=base), sets("added", 0.3)).added == 0.3


def test_add_adds_decimals() -> None:
    state = together(Fields(added=Decimal("1.0")), sets("added", Decimal(2)), sets("added", Decimal(3)))
    assert state.added == 4


def test_add_counts_down_in_a_counter() -> None:
    state = together(Fields(counts=Counter(a=3)), counts("a", -2), counts("a", -2), counts("b", 1), counts("b", 1))
    assert state.counts == Counter(a=-1, b=2)


def test_add_deletes_a_key_of_a_counter_that_nobody_else_has_counted() -> None:
    assert "a" not in together(Fields(counts=Counter(a=3)), lambda state: state.counts.pop("a")).counts
    state = together(Fields(counts=Counter(a=3)), counts("a", 2), lambda state: state.counts.pop("a"))
    assert state.counts == Counter(a=2)


def test_add_of_whole_counters_agrees_with_add_key_by_key() -> None:
    assert add(Counter(a=5, b=1), Counter(a=3, c=1), Counter(a=1, c=1)) == Counter(a=3, b=1)
    assert add(Counter(a=3), Counter(a=3, b=1), Counter(b=1)) == Counter()


def test_changing_one_key_of_a_counter_that_is_added_is_one_operation_on_that_key() -> None:
    committed = Committed(Fields(counts=Counter({str(number): number for number in range(100)})))
    task = Transaction(committed)
    task.state.counts["7"] += 1
    proposal = task.proposal()
    assert proposal is not None
    (operation,) = committed.merged(proposal).operations
    assert (operation.path, operation.value) == (("counts", "7"), 1)


# --- the order of dicts ---


def resorted(name: str) -> Deed:
    def deed(state: Any) -> None:
        box = getattr(state, name)
        box["a"] = box.pop("a")

    return deed


def test_sorting_a_dict_overwrites_nothing() -> None:
    state = Fields(plain={"a": 1, "b": 2}, guarded={"a": 1, "b": 2})
    result = together(state, sets("plain", 0), resorted("plain"))
    assert result.plain == 0
    result = together(state, lambda state: state.guarded.update(c=3), resorted("guarded"))
    assert list(result.guarded) == ["b", "c", "a"]


def test_merge_keeps_the_order_and_the_kind_of_a_dict() -> None:
    state = together(Fields(merged=OrderedDict(a=1, b=2)), lambda state: state.merged.move_to_end("a"))
    assert list(state.merged) == ["b", "a"]
    assert type(merge(Counter(a=1), None, Counter(b=1))) is Counter


# --- deques ---


def test_a_deque_is_copied_for_the_task_and_replaced_as_a_whole() -> None:
    initial = Fields(plain=deque([1], maxlen=2))
    state = together(initial, lambda state: state.plain.append(2), lambda state: state.plain.append(3))
    assert (state.plain, state.plain.maxlen, initial.plain) == (deque([1, 3]), 2, deque([1]))


@pytest.mark.parametrize("other", [deque([1.0], maxlen=2), deque([1], maxlen=3), deque([1])])
def test_deques_that_differ_in_type_or_length_limit_are_not_the_same(other: Any) -> None:
    state = together(Fields(plain=deque([1], maxlen=2)), sets("plain", other))
    assert (repr(state.plain), state.plain.maxlen) == (repr(other), other.maxlen)
