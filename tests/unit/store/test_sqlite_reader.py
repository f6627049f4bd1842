"""The reader: questions that come together are asked together, and each is answered by itself."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlite_stores import opened, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def test_what_is_asked_while_a_question_is_under_way_goes_with_the_next_one(path, monkeypatch) -> None:
    async def main() -> None:
        async with opened(path) as store:
            calls = 0
            ask = store._reading.executemany

            def counted(*arguments):
                nonlocal calls
                calls += 1
                return ask(*arguments)

            monkeypatch.setattr(store._reading, "executemany", counted)
            assert await asyncio.gather(*(store.get(f"run {number}") for number in range(100))) == [None] * 100
            assert calls == 2

    run(main())


def test_a_question_that_cannot_be_answered_is_no_other_ones_fault(path) -> None:
    def wrong(raw: sqlite3.Connection) -> None:
        raise LookupError("wrong")

    async def main() -> None:
        async with opened(path) as store:
            reader = store._reader
            questions = [wrong if number % 3 == 1 else (lambda raw, n=number: n) for number in range(9)]
            answers = await asyncio.gather(*(reader.ask(each) for each in questions), return_exceptions=True)
            assert [answer for answer in answers if isinstance(answer, int)] == [0, 2, 3, 5, 6, 8]
            assert [type(answer) for answer in answers if not isinstance(answer, int)] == [LookupError] * 3

    run(main())


@pytest.mark.parametrize("cancelled", [{0}, {1}, {0, 1}, {0, 1, 2}, {2, 3}])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_whoever_is_cancelled_takes_no_other_answer_along(path, cancelled: set[int], turns: int) -> None:
    async def main() -> None:
        async with opened(path) as store:
            reader, may_answer = store._reader, threading.Event()

            def held(raw: sqlite3.Connection) -> int:
                assert may_answer.wait(30)
                return 0

            first = asyncio.ensure_future(reader.ask(held))
            await asyncio.sleep(0)
            others = [asyncio.ensure_future(reader.ask(lambda raw, n=number: n)) for number in range(1, 5)]
            await asyncio.sleep(0)
            asked = [first, *others]
            if turns == 0:
                for number in cancelled:
                    asked[number].cancel()
            may_answer.set()
            if turns:
                while not first.done():
                    await asyncio.sleep(0)
                for _ in range(turns - 1):
                    await asyncio.sleep(0)
                for number in cancelled:
                    asked[number].cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            for number, answer in enumerate(answers):
                assert answer == number or (number in cancelled and isinstance(answer, asyncio.CancelledError))
            assert await reader.ask(lambda raw: "more") == "more"

    run(main())
