"""Every example gives what it should, in memory and on a store."""

import asyncio
from pathlib import Path

import pytest

from examples import EXAMPLES, Example
from perdure import MemoryStore

by_name = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def check(example: Example, result, state) -> None:
    assert example.view(result) == example.expected
    if example.expected_state is not None:
        assert example.expected_state(state)


@by_name
def test_an_example_gives_its_result_in_memory(example: Example) -> None:
    state = example.state()
    result = asyncio.run(example.build().run(inputs=example.inputs, state=state))
    check(example, result, state)


@by_name
def test_an_example_gives_its_result_on_a_memory_store(example: Example) -> None:
    state = example.state()
    result = asyncio.run(example.build().run(inputs=example.inputs, state=state, store=MemoryStore()))
    check(example, result, state)


@by_name
def test_an_example_gives_its_result_on_a_file_and_again_when_asked_again(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    for _ in range(2):
        state = example.state()
        result = asyncio.run(example.build().run(inputs=example.inputs, state=state, store=path, run_id="one"))
        check(example, result, state)
