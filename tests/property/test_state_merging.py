"""Random tasks that work on one state at once and commit in any order, against a naive merge of plain values.

The same program runs on the drafts of real transactions and on plain copies. After every commit the committed state, the
conflicts and the additions have to be those of the reference; drafts that are still open must not have noticed; recorded
changes, applied to the initial state again, have to give the same states; and the caller's object, restored, the last one.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from perdure import GraphBuilder, StateConflict, add, append, first, forbid, last, max_value, merge, min_value, union
from perdure.codec.codec import Blobs, Codec
from perdure.kernel.state.committed import Committed, Transaction
from perdure.kernel.state.declared import declared_merges
from perdure.kernel.state.restore import restore
from perdure.kernel.state.tree import thaw
from property.state_programs import OBJECTS, STATES, Deed, Fixed, Keys, Part, Piece, Tape, do, get, put
from property.state_reference import Kind, Refused, clone, essence, merged

# --- the law ---


class Task:
    """One attempt, with the real transaction and the plain copies."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.transaction = Transaction(run.committed)
        assert self.transaction.state is self.transaction.state  # the first touch pins
        self.base = clone(run.current, run.kind)
        self.mine = clone(run.current, run.kind)

    def do(self, deed: Deed) -> None:
        assert do(deed, self.transaction.state) == do(deed, self.mine)

    def has_not_noticed(self) -> None:
        left, right = self.transaction.state, self.mine
        assert essence(left, self.run.kind, ordered=True) == essence(right, self.run.kind, ordered=True)

    def commit(self) -> None:
        run, kind = self.run, self.run.kind
        refusal: Exception | None = None
        try:
            expected = merged(self.base, clone(self.mine, kind), clone(run.current, kind), kind)
        except Refused as error:
            refusal = error
        proposal = self.transaction.proposal()
        if proposal is None:
            assert refusal is None
            assert essence(expected.value, kind, ordered=True) == essence(run.current, kind, ordered=True)
            return
        assert proposal.base_seq <= run.committed.seq
        try:
            outcome = run.committed.merged(proposal)
        except StateConflict:
            assert refusal is not None
            return
        assert refusal is None
        assert set(outcome.conflicts) == expected.conflicts
        assert set(outcome.additions) == expected.additions
        is_alone = essence(self.base, kind, ordered=True) == essence(run.current, kind, ordered=True)
        run.record(outcome.operations)
        value = thaw(run.committed.tree)
        assert essence(value, kind) == essence(expected.value, kind)
        if is_alone and not kind.declared:
            assert essence(value, kind, ordered=True) == essence(self.mine, kind, ordered=True)
        run.current = value


class Run:
    """A committed state and all that came before it."""

    def __init__(self, kind: Kind, initial: Any, keys: Any = Keys) -> None:
        self.kind = kind
        self.initial = initial
        self.committed = Committed(initial, declared_merges(keys) if type(initial) is dict else None)
        self.current = clone(initial, kind)
        self.codec = Codec(graph_over(keys if type(initial) is dict else type(initial)))
        self.log: list[Any] = []
        self.past: list[tuple[Committed, Any]] = []

    def record(self, operations: Any) -> None:
        self.past.append((self.committed.frozen(), self.current))
        self.log.append(self.codec.write_operations(operations, Blobs()).raw)
        self.committed.apply(operations, self.committed.seq + 1)

    def check_the_end(self) -> None:
        for version, value in self.past:
            assert essence(thaw(version.tree), self.kind, ordered=True) == essence(value, self.kind, ordered=True)
        replayed = Committed(self.initial, self.committed.declared)
        for raw in self.log:
            replayed.apply(self.codec.read_operations(raw, Blobs()), replayed.seq + 1)
        last_one = essence(self.current, self.kind, ordered=True)
        assert essence(thaw(replayed.tree), self.kind, ordered=True) == last_one
        restored = restore(self.initial, self.committed.tree)
        assert restored is self.initial
        assert essence(restored, self.kind, ordered=True) == last_one


GRAPHS: dict[Any, Any] = {}


def graph_over(state_type: Any) -> Any:
    """Return a graph that does nothing but has a codec for a type of state."""
    if state_type not in GRAPHS:
        builder = GraphBuilder(name="state", state_type=state_type, types=[Part, Piece, Fixed])  # type: ignore[var-annotated]
        builder.add(builder.edge_from(builder.start_node).to(builder.end_node))
        GRAPHS[state_type] = builder.build()
    return GRAPHS[state_type]


Act = tuple[str, int, Any]


def acts(tape: Tape) -> list[Act]:
    """Read a program off a tape: (what, which task, deed)."""
    return [
        (
            tape.pick(("do", "do", "do", "do", "do", "do", "commit", "commit", "fail", "look")),
            tape.number(3),
            tape.deed(),
        )
        for _ in range(tape.number(30))
    ]


def play(run: Run, program: list[Act], begin_together: bool, perform: Any) -> None:
    tasks: dict[int, Task] = {which: Task(run) for which in range(3)} if begin_together else {}
    looks = len(program) % 2 == 0  # else nothing looks into lazy containers but what the program does
    for what, which, deed in [*program, *(("commit", which, None) for which in range(3))]:
        task = tasks.get(which)
        if what == "do":
            if task is None:
                task = tasks[which] = Task(run)
            perform(task, deed)
        elif task is not None and what == "look":
            task.has_not_noticed()
        elif task is not None:
            del tasks[which]
            if what == "commit":
                task.commit()
                for open_task in tasks.values() if looks else ():
                    open_task.has_not_noticed()
    run.check_the_end()


tapes = st.binary(min_size=300, max_size=500).map(Tape)


@settings(max_examples=400)
@given(tapes)
def test_tasks_that_commit_in_any_order_merge_as_the_contract_says(tape: Tape) -> None:
    state_type = tape.pick(STATES)
    run = Run(Kind(OBJECTS), state_type(**tape.fields()))
    play(run, acts(tape), begin_together=tape.number(4) > 0, perform=Task.do)


# --- declared merges ---


def longest(current: Any, base: Any, mine: Any) -> Any:
    """Merge as a user's function may: it tells what it was given by what it returns."""
    return max((current, base, mine), key=len) + ("!" if current != base else "")


@dataclass
class Declared:
    total: Annotated[int, add] = 0
    log: Annotated[list[Any], append] = field(default_factory=list)
    seen: Annotated[set[int], union] = field(default_factory=set)
    options: Annotated[dict[str, Any], merge] = field(default_factory=dict)
    best: Annotated[Any, max_value] = 0
    least: Annotated[Any, min_value] = 0
    once: Annotated[list[Any], first] = field(default_factory=list)
    latest: Annotated[list[Any], last] = field(default_factory=list)
    guarded: Annotated[list[Any], forbid] = field(default_factory=list)
    word: Annotated[str, longest] = ""
    tally: Annotated[Counter[str], add] = field(default_factory=Counter)


class DeclaredKeys(TypedDict):
    total: Annotated[int, add]
    log: Annotated[list[Any], append]
    seen: Annotated[set[int], union]
    options: Annotated[dict[str, Any], merge]
    best: Annotated[Any, max_value]
    least: Annotated[Any, min_value]
    once: Annotated[list[Any], first]
    latest: Annotated[list[Any], last]
    guarded: Annotated[list[Any], forbid]
    word: Annotated[str, longest]
    tally: Annotated[Counter[str], add]


KIND = Kind((Declared, Part, Piece, Fixed))


def same(left: Any, right: Any) -> bool:
    return bool(essence(left, KIND) == essence(right, KIND))


def appended(current: Any, base: Any, mine: Any) -> Any:
    if not same(mine[: len(base)], base):
        raise Refused
    return current + mine[len(base) :]


def by_key(current: Any, base: Any, mine: Any) -> Any:
    result = {key: value for key, value in current.items() if key not in base or key in mine}
    return result | {key: value for key, value in mine.items() if key not in base or not same(base[key], value)}


def refused(current: Any, base: Any, mine: Any) -> Any:
    if not same(current, base):
        raise Refused
    return mine


def tallied(current: Any, base: Any, mine: Any) -> Any:
    if same(current, base):
        return mine
    result = Counter(current)
    for key in {*base, *mine}:
        if (key in base, base[key]) != (key in mine, mine[key]):
            result[key] += mine[key] - base[key]
            if key not in mine and not result[key]:
                del result[key]
    return result


KIND.declared.update(
    total=lambda current, base, mine: current + mine - base,
    log=appended,
    seen=lambda current, base, mine: current | mine,
    options=by_key,
    best=lambda current, base, mine: max(current, mine),
    least=lambda current, base, mine: min(current, mine),
    once=lambda current, base, mine: mine if same(current, base) else current,
    latest=lambda current, base, mine: mine,
    guarded=refused,
    word=longest,
    tally=tallied,
)


def declared_deed(tape: Tape) -> Deed:
    numbers, lists = ("total", "best", "least"), ("log", "once", "latest", "guarded")
    what, name = tape.pick(
        (
            *(("number", name) for name in numbers),
            *((f"list {what}", name) for what in ("append", "append", "append", "extend") for name in lists),
            *((f"list {what}", name) for what in ("pop", "insert", "set", "clear") for name in lists[1:]),
            *(("list pop first", "log"), ("list set", "log")),
            *((f"set {what}", "seen") for what in ("add", "add", "update", "remove")),
            *((f"dict {what}", "options") for what in ("set", "set", "update", "delete", "setdefault", "to the end")),
            *((f"dict {what}", "tally") for what in ("start", "start", "increase", "delete", "pop", "to the end")),
            *(("word", "word"), ("word", "word")),
        )
    )
    return what, name, [], tape.number(3), tape.pick("abc"), tape.value(1), tape.number(5)


def do_declared(deed: Deed, state: Any) -> str:
    what, name, _, number, key, _, member = deed
    if what == "number":
        put(state, name, get(state, name) + number * member - 3)
    elif what == "word":
        put(state, name, get(state, name) + key)
    else:
        return do(deed, state)
    return ""


@settings(max_examples=150)
@given(tapes)
def test_declared_merges_decide_at_every_commit_that_changed_their_field(tape: Tape) -> None:
    state = Declared(log=[1], seen={1}, options={"a": 1}, once=[0], guarded=[0], word="w", tally=Counter(a=1))
    run = Run(KIND, dict(vars(state)) if tape.number(2) else state, DeclaredKeys)
    program = [
        (tape.pick(("do", "do", "do", "do", "commit", "fail", "look")), tape.number(3), declared_deed(tape))
        for _ in range(tape.number(20))
    ]

    def perform(task: Task, deed: Deed) -> None:
        assert do_declared(deed, task.transaction.state) == do_declared(deed, task.mine)

    play(run, program, begin_together=tape.number(4) > 0, perform=perform)
