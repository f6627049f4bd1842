"""Groups: several nodes used as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from examples import example
from perdure import Failure, Graph, GraphBuilder, StepContext, reduce_list_append, reduce_sum

Number = StepContext[None, None, int]
Numbers = StepContext[None, None, list[int]]


@dataclass
class Notices:
    sent: list[str] = field(default_factory=list)
    count: int = 0


@example(2, inputs="A-17", state=Notices, expected_state=lambda state: sorted(state.sent) == ["chat A-17", "mail A-17"])
def notices_sent_at_once_and_then_counted() -> Graph[Notices, None, str, int]:
    g = GraphBuilder(name="notices", state_type=Notices, input_type=str, output_type=int)

    @g.step
    async def accept(ctx: StepContext[Notices, None, str]) -> str:
        return ctx.inputs

    @g.step
    async def mail(ctx: StepContext[Notices, None, str]) -> bool:
        ctx.state.sent.append(f"mail {ctx.inputs}")
        return True

    @g.step
    async def chat(ctx: StepContext[Notices, None, str]) -> bool:
        ctx.state.sent.append(f"chat {ctx.inputs}")
        return True

    @g.step
    async def count(ctx: StepContext[Notices, None, list[bool]]) -> int:
        ctx.state.count = sum(ctx.inputs)
        return ctx.state.count

    notify = g.parallel(mail, chat, then=count)
    g.add(
        g.edge_from(g.start_node).to(accept),
        g.edge_from(accept).to(notify),
        g.edge_from(notify).to(g.end_node),
    )
    return g.build()


@example([11, 20, 9], inputs=10)
def a_parallel_group_gives_out_a_list_in_the_order_of_its_members() -> Graph[None, None, int, list[int]]:
    g = GraphBuilder(name="ordered", input_type=int, output_type=list[int])

    @g.step
    async def more(ctx: Number) -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return ctx.inputs + 1

    @g.step
    async def twice(ctx: Number) -> int:
        await asyncio.sleep(0)
        return ctx.inputs * 2

    @g.step
    async def less(ctx: Number) -> int:
        return ctx.inputs - 1

    three = g.parallel(more, twice, less)
    g.add(g.edge_from(g.start_node).to(three), g.edge_from(three).to(g.end_node))
    return g.build()


@example("two of three: api1, api3", inputs="q")
def what_failed_is_collected_with_what_succeeded() -> Graph[None, None, str, str]:
    g = GraphBuilder(name="partial", input_type=str, output_type=str)
    Query = StepContext[None, None, str]

    @g.step
    async def api1(ctx: Query) -> str:
        return "api1"

    @g.step
    async def api2(ctx: Query) -> str:
        raise ConnectionError("api2 is down")

    @g.step
    async def api3(ctx: Query) -> str:
        return "api3"

    @g.step
    async def gather(ctx: StepContext[None, None, list[str | Failure]]) -> str:
        good = [given for given in ctx.inputs if isinstance(given, str)]
        [bad] = [given for given in ctx.inputs if isinstance(given, Failure)]
        assert (bad.path, bad.error_type, bad.error_message, bad.attempts) == (
            "parallel_fork[1]/api2",
            "ConnectionError",
            "api2 is down",
            1,
        )
        return f"two of three: {', '.join(good)}"

    fetch: Any = g.parallel(api1, api2, api3, then=gather, on_error="collect", min_ok=1)  # type: ignore[arg-type]
    g.add(g.edge_from(g.start_node).to(fetch), g.edge_from(fetch).to(g.end_node))
    return g.build()


@example("reliable", inputs=1, state=Notices, expected_state=lambda state: state.sent == ["reliable"])
def an_error_does_not_win_a_race_and_the_losers_are_cancelled() -> Graph[Notices, None, int, str]:
    g = GraphBuilder(name="race", state_type=Notices, input_type=int, output_type=str)
    Ctx = StepContext[Notices, None, int]

    @g.step
    async def broken(ctx: Ctx) -> str:
        raise OSError("quick to fail")

    @g.step
    async def reliable(ctx: Ctx) -> str:
        await asyncio.sleep(0)
        ctx.state.sent.append("reliable")
        return "reliable"

    @g.step
    async def endless(ctx: Ctx) -> str:
        await asyncio.Event().wait()
        ctx.state.sent.append("endless")
        return "endless"

    sources = g.race(broken, reliable, endless)
    g.add(g.edge_from(g.start_node).to(sources), g.edge_from(sources).to(g.end_node))
    return g.build()


@example("<31>", inputs=10)
def a_chain_is_one_node() -> Graph[None, None, int, str]:
    g = GraphBuilder(name="chain", input_type=int, output_type=str)

    @g.step
    async def triple(ctx: Number) -> int:
        return ctx.inputs * 3

    @g.step
    async def add_one(ctx: Number) -> int:
        return ctx.inputs + 1

    @g.step
    async def show(ctx: Number) -> str:
        return f"<{ctx.inputs}>"

    line = g.chain(triple, add_one, show)
    g.add(g.edge_from(g.start_node).to(line), g.edge_from(line).to(g.end_node))
    return g.build()


@example([[21, 11], [22, 12]], inputs=[1, 2], view=sorted)
def groups_inside_groups_behind_a_map() -> Graph[None, None, list[int], list[list[int]]]:
    g = GraphBuilder(name="nested groups", input_type=list[int], output_type=list[list[int]])

    @g.step
    async def plus_ten(ctx: Number) -> int:
        return ctx.inputs + 10

    @g.step
    async def plus_ten_too(ctx: Number) -> int:
        return ctx.inputs + 10

    @g.step
    async def plus_ten_again(ctx: Number) -> int:
        return ctx.inputs + 10

    @g.step
    async def never(ctx: Number) -> int:
        raise ValueError("never wins")

    both = g.parallel(g.chain(plus_ten, plus_ten_too), g.race(never, plus_ten_again))
    rows = g.join(reduce_list_append, initial_factory=list[list[int]])
    g.add(
        g.edge_from(g.start_node).map().to(both),
        g.edge_from(both).to(rows),
        g.edge_from(rows).to(g.end_node),
    )
    return g.build()


def _summed() -> Graph[None, None, list[int], int]:
    g = GraphBuilder(name="summed", input_type=list[int], output_type=int)

    @g.step
    async def same(ctx: Number) -> int:
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map().to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@example([6, 15, 21], inputs=[[1, 2, 3], [4, 5, 6]], view=sorted)
def a_graph_used_twice_in_another_once_behind_a_map() -> Graph[None, None, list[list[int]], list[int]]:
    g = GraphBuilder(name="twice", input_type=list[list[int]], output_type=list[int])
    summed = _summed()
    row, column = g.subgraph(summed, node_id="row"), g.subgraph(summed, node_id="column")

    @g.step
    async def flat(ctx: StepContext[None, None, list[list[int]]]) -> list[int]:
        return [cell for row in ctx.inputs for cell in row]

    sums = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(flat),
        g.edge_from(flat).to(column),
        g.edge_from(g.start_node).map().to(row),
        g.edge_from(row, column).to(sums),
        g.edge_from(sums).to(g.end_node),
    )
    return g.build()


@dataclass
class Account:
    balance: int = 0
    moves: list[int] = field(default_factory=list)


@dataclass
class Bank:
    total: int = 0
    accounts: int = 0


def _account() -> Graph[Account, None, list[int], int]:
    g = GraphBuilder(name="account", state_type=Account, input_type=list[int], output_type=int)

    @g.step
    async def book(ctx: StepContext[Account, None, int]) -> None:
        ctx.state.balance += ctx.inputs
        ctx.state.moves.append(ctx.inputs)

    @g.step(join="all")
    async def close(ctx: StepContext[Account, None, list[None]]) -> int:
        assert len(ctx.state.moves) == len(ctx.inputs)
        return ctx.state.balance

    g.add(
        g.edge_from(g.start_node).map().to(book),
        g.edge_from(book).to(close),
        g.edge_from(close).to(g.end_node),
    )
    return g.build()


def _take_over(bank: Bank, account: Account) -> None:
    bank.total += account.balance
    bank.accounts += 1


@example(
    [106, 115],
    inputs=[[1, 2, 3], [4, 5, 6]],
    view=sorted,
    state=Bank,
    expected_state=lambda bank: (bank.total, bank.accounts) == (221, 2),
)
def a_graph_with_a_state_of_its_own_for_each_arm() -> Graph[Bank, None, list[list[int]], list[int]]:
    g = GraphBuilder(name="bank", state_type=Bank, input_type=list[list[int]], output_type=list[int])
    account = g.subgraph(_account(), state=lambda ctx: Account(100), on_end=_take_over)
    balances = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).map().to(account),
        g.edge_from(account).to(balances),
        g.edge_from(balances).to(g.end_node),
    )
    return g.build()


def _add_to_notices() -> Graph[Notices, None, int, int]:
    g = GraphBuilder(name="inner", state_type=Notices, input_type=int, output_type=int)

    @g.step
    async def note(ctx: StepContext[Notices, None, int]) -> int:
        ctx.state.count += 1
        return ctx.inputs + 1

    g.add(g.edge_from(g.start_node).to(note), g.edge_from(note).to(g.end_node))
    return g.build()


@example(5, inputs=0, state=Notices, expected_state=lambda state: state.count == 5)
def a_graph_on_the_outer_state_in_a_loop() -> Graph[Notices, None, int, int]:
    g = GraphBuilder(name="outer", state_type=Notices, input_type=int, output_type=int)
    inner = g.subgraph(_add_to_notices(), state="shared")
    g.add(
        g.edge_from(g.start_node).to(inner),
        g.edge_from(inner).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 5).to(inner)).branch(g.match(int).to(g.end_node)),
        ),
    )
    return g.build()


def _everything() -> Graph[None, None, int, int]:
    """Return a graph with a stream, a router, a decision, a group and a join in it."""
    g = GraphBuilder(name="everything", input_type=int, output_type=int)

    @g.stream
    async def count(ctx: Number) -> AsyncIterator[int]:
        for number in range(ctx.inputs):
            yield number

    @g.step
    async def small(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def large(ctx: Number) -> int:
        return ctx.inputs * 10

    @g.step
    async def extra(ctx: Number) -> int:
        return 100

    @g.router
    async def sort(ctx: Number) -> Any:
        return [small] if ctx.inputs < 2 else ["large", extra]

    @g.step
    async def negative(ctx: Number) -> int:
        return -ctx.inputs

    @g.step
    async def positive(ctx: Number) -> int:
        return ctx.inputs

    pair = g.parallel(negative, positive)
    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(count),
        g.edge_from(count).map().to(sort),
        g.edge_from(sort).to(small, large, extra),
        g.edge_from(small, extra).to(total),
        g.edge_from(large).to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n == 30).label("pair").to(pair))
            .branch(g.match(int).to(total))
        ),
        g.edge_from(pair).map().to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@example([221, 121], inputs=[4, 3])
def a_graph_with_everything_in_it_is_a_node() -> Graph[None, None, list[int], list[int]]:
    g = GraphBuilder(name="around everything", input_type=list[int], output_type=list[int])
    inner = g.subgraph(_everything())
    results = g.join(reduce_list_append, initial_factory=list[int], order="branch")
    g.add(
        g.edge_from(g.start_node).map().to(inner),
        g.edge_from(inner).to(results),
        g.edge_from(results).to(g.end_node),
    )
    return g.build()


@example(["odd 1", "even 4", "odd 3"], inputs=[1, 2, 3])
def a_decision_and_an_edge_with_a_transform_lead_to_groups() -> Graph[None, None, list[int], list[str]]:
    g = GraphBuilder(name="edges into groups", input_type=list[int], output_type=list[str])

    @g.step
    async def odd(ctx: Number) -> str:
        return f"odd {ctx.inputs}"

    @g.step
    async def even(ctx: Number) -> str:
        return f"even {ctx.inputs}"

    @g.step
    async def lost(ctx: Number) -> str:
        raise ValueError

    odds, evens = g.chain(odd), g.race(lost, even)
    names = g.join(reduce_list_append, initial_factory=list[str], order="branch")
    g.add(
        g.edge_from(g.start_node)
        .map()
        .to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n % 2 == 1).to(odds))
            .branch(g.match(int).transform(lambda ctx: ctx.inputs * 2).to(evens))
        ),
        g.edge_from(odds, evens).to(names),
        g.edge_from(names).to(g.end_node),
    )
    return g.build()


@example([4, 5, 6], inputs=[4, 5, 6])
def the_output_of_a_group_is_mapped() -> Graph[None, None, list[int], list[int]]:
    g = GraphBuilder(name="mapped group", input_type=list[int], output_type=list[int])

    @g.step
    async def whole(ctx: Numbers) -> list[int]:
        return ctx.inputs

    @g.step
    async def same(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def lost(ctx: Numbers) -> list[int]:
        raise ValueError

    either = g.race(lost, whole)
    found = g.join(reduce_list_append, initial_factory=list[int], order="branch")
    g.add(
        g.edge_from(g.start_node).to(either),
        g.edge_from(either).map().to(same),
        g.edge_from(same).to(found),
        g.edge_from(found).to(g.end_node),
    )
    return g.build()
