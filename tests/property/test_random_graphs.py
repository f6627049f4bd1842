"""A run gives what its graph means, whatever the graph and whatever the order in which tasks finish."""

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import MemoryStore
from random_graphs import Tally, build, evaluate, random_block

blocks = st.builds(lambda rng, depth: random_block(rng, depth), st.randoms(use_true_random=False), st.integers(0, 4))


@settings(max_examples=300)
@given(blocks, st.integers(0, 3), st.booleans())
def test_a_run_gives_what_its_graph_means(block, seed, stored) -> None:
    expected = Tally()
    result = evaluate(block, 7, expected)
    state = Tally()
    given_out = asyncio.run(build(block, seed=seed).run(inputs=7, state=state, store=MemoryStore() if stored else None))
    assert given_out == result
    assert (state.count, state.total) == (expected.count, expected.total)


def test_larger_graphs_give_what_they_mean() -> None:
    for seed in range(30):
        block = random_block(Random(seed), 6)
        expected = Tally()
        result = evaluate(block, seed, expected)
        if expected.count > 3000:
            continue
        state = Tally()
        assert asyncio.run(build(block, seed=seed).run(inputs=seed, state=state)) == result
        assert (state.count, state.total) == (expected.count, expected.total)
