"""Laws about inboxes: what is put in, what is refused, and what of it remains."""

from __future__ import annotations

import asyncio
from collections import Counter

from perdure.store.port import Store
from perdure.store.records import MAX_SIGNALS, NewEntry, RunUpdate
from perdure.testing.store_laws.faults import SEED, cancelled
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import FOREVER, START, answer, create, signal, wait, write


async def accept(store: Store, new: NewEntry) -> int:
    """Put in what must be accepted, and return its number."""
    put, entry = await store.put(new)
    assert put == "accepted"
    assert entry is not None
    return entry.number


class InboxLaws(Laws):
    """Putting in and taking out."""

    @law
    async def test_what_was_put_in_is_there_in_order(self, store: Store) -> None:
        """As it was given, of each run by itself; numbers grow over all runs."""
        await create(store, opened=[wait()])
        await create(store, "other")
        given = [
            signal(b'{"a": [1, 2.50]}', name="päid\n🦉"),
            signal(run_id="other"),
            answer(at=START + 5),
            NewEntry("run", "pause", "", b"null", "", 0),
            signal(),
            signal(),
        ]
        numbers = [await accept(store, new) for new in given]
        assert numbers == sorted(set(numbers))
        there = await store.inbox("run")
        assert [(entry.kind, entry.key, entry.value, entry.by, entry.at) for entry in there] == [
            (new.kind, new.key, new.value, new.by, new.at) for new in given if new.run_id == "run"
        ]
        assert [entry.number for entry in there] == [numbers[0], *numbers[2:]]
        assert [entry.number for entry in await store.inbox("run", numbers[3])] == numbers[4:]
        assert [*await store.inbox("run", numbers[-1])] == []
        assert [*await store.inbox("nobody")] == []

    @law
    async def test_what_is_consumed_is_gone(self, store: Store) -> None:
        """Only from the inbox of the run; what isn't there is no error."""
        log = await create(store)
        await create(store, "other")
        one, two, others = [await accept(store, new) for new in (signal(), signal(), signal(run_id="other"))]
        await write(store, log, consumed=[one, others, 1 << 40])
        assert [entry.number for entry in await store.inbox("run")] == [two]
        assert [entry.number for entry in await store.inbox("other")] == [others]

    @law
    async def test_a_task_is_answered_once(self, store: Store) -> None:
        """The same answer by the same person is accepted silently; another one, or by somebody else, is refused."""
        log = await create(store, opened=[wait(), wait("b")])
        number = await accept(store, answer())
        (entry,) = await store.inbox("run")
        for _ in range(2):
            assert await store.put(answer(at=START + 99)) == ("same", entry)
            assert await store.put(answer(b'{"ok": false}')) == ("taken", entry)
            assert await store.put(answer(by="bob")) == ("taken", entry)
        await write(store, log, closed=["task"], consumed=[number])
        for _ in range(2):
            assert await store.put(answer(at=START + 99)) == ("same", None)
            assert await store.put(answer(b'{"ok": false}')) == ("taken", None)
            assert await store.put(answer(by="bob")) == ("taken", None)
        assert [*await store.inbox("run")] == []
        await write(store, log, update=RunUpdate("COMPLETED"))
        assert await store.put(answer()) == ("same", None)
        assert await store.put(answer(by="bob")) == ("taken", None)
        assert await store.put(answer(task="b")) == ("closed", None)

    @law
    async def test_who_answered_and_what_are_told_apart(self, store: Store) -> None:
        """Wherever one ends and the other begins."""
        log = await create(store, opened=[wait()])
        number = await accept(store, answer(b"1", by="ann1"))
        await write(store, log, closed=["task"], consumed=[number])
        assert (await store.put(answer(b"11", by="ann")))[0] == "taken"
        assert (await store.put(answer(b"1", by="ann1")))[0] == "same"

    @law
    async def test_an_answer_that_was_refused_leaves_the_task_open(self, store: Store) -> None:
        """It is taken out, and the wait isn't closed: the same or another one may come."""
        log = await create(store, opened=[wait()])
        for value in (b'"bad"', b'"bad"', b'"good"'):
            number = await accept(store, answer(value))
            await write(store, log, consumed=[number])
        assert [open_wait.task for open_wait in await store.waits()] == ["task"]

    @law
    async def test_an_answer_that_came_too_late_stays_until_it_is_taken_out(self, store: Store) -> None:
        """Its wait has ended in another way, and it is no answer that was used."""
        log = await create(store, opened=[wait()])
        number = await accept(store, answer())
        await write(store, log, closed=["task"])
        assert [entry.number for entry in await store.inbox("run")] == [number]
        await write(store, log, consumed=[number])
        assert await store.put(answer()) == ("closed", None)

    @law
    async def test_a_wait_that_is_opened_again_can_be_answered_again(self, store: Store) -> None:
        """With what was the answer before, or with another one."""
        log = await create(store, opened=[wait()])
        for value in (b"1", b"1", b"2"):
            number = await accept(store, answer(value))
            await write(store, log, closed=["task"], consumed=[number])
            await write(store, log, opened=[wait()])
        await write(store, log, closed=["task"])
        assert await store.put(answer(b"2")) == ("closed", None), "nobody answered it the last time"

    @law
    async def test_an_answer_outlives_its_wait_being_passed_on(self, store: Store) -> None:
        """What was accepted stays accepted."""
        log = await create(store, opened=[wait()])
        number = await accept(store, answer())
        await write(store, log, opened=[wait(assignee="bob")])
        assert [entry.number for entry in await store.inbox("run")] == [number]
        assert (await store.put(answer(by="bob")))[0] == "taken"

    @law
    async def test_only_an_open_question_to_a_human_is_answered(self, store: Store) -> None:
        """Of this run and this task."""
        await create(store, opened=[wait("s", kind="signal"), wait("z", kind="sleep"), wait("h")])
        await create(store, "other", opened=[wait("only there", "other")])
        for task in ("s", "z", "only there", "", "H"):
            assert await store.put(answer(task=task)) == ("closed", None)
        assert await store.put(answer(run_id="nobody")) == ("missing", None)
        assert [*await store.inbox("run")] == []

    @law
    async def test_whatever_else_comes_in_is_kept_unless_the_run_is_over(self, store: Store) -> None:
        """Also if nobody waits for it yet, and as often as it comes."""
        assert await store.put(signal(run_id="nobody")) == ("missing", None)
        for status in ("PENDING", "RUNNING", "WAITING", "PAUSED", "STALLED"):
            await create(store, status, update=RunUpdate(status))
            for kind in ("signal", "signal", "cancel", "resume"):
                await accept(store, NewEntry(status, kind, "", b"null", "ann", START))
            assert len(await store.inbox(status)) == 4
        for status in ("COMPLETED", "FAILED", "CANCELLED"):
            await create(store, status, update=RunUpdate(status))
            for kind in ("signal", "cancel"):
                assert await store.put(NewEntry(status, kind, "", b"null", "ann", START)) == ("over", None)
            assert [*await store.inbox(status)] == []

    @law
    async def test_an_inbox_takes_so_many_signals_and_no_more(self, store: Store) -> None:
        """Until some were taken up; what ends a run, or answers it, is let in all the same."""
        log = await create(store, opened=[wait()])
        puts = await asyncio.gather(*(store.put(signal()) for _ in range(MAX_SIGNALS + 5)))
        assert Counter(put for put, _ in puts) == {"accepted": MAX_SIGNALS, "full": 5}
        assert (await store.put(signal()))[0] == "full"
        await accept(store, answer())
        await accept(store, NewEntry("run", "cancel", "", b"null", "ann", START))
        first, *_ = await store.inbox("run")
        await write(store, log, consumed=[first.number])
        await accept(store, signal())
        assert (await store.put(signal()))[0] == "full"

    @law
    async def test_of_many_who_answer_at_once_one_is_accepted(self, store: Store) -> None:
        """Through two stores on the same data; who says the same is told so, the others are refused."""
        other = self.make_store()
        await other.open()
        await create(store, opened=[wait()])
        people = [f"person-{index % 5}" for index in range(40)]
        puts = await asyncio.gather(
            *[(other if index % 2 else store).put(answer(by=who)) for index, who in enumerate(people)]
        )
        await other.close()
        (entry,) = await store.inbox("run")
        assert {there for _, there in puts} == {entry}
        told = Counter(put for put, _ in puts)
        assert told == {"accepted": 1, "same": 7, "taken": 32}
        assert {put for (put, _), who in zip(puts, people, strict=True) if who == entry.by} == {"accepted", "same"}

    @law
    async def test_an_answer_races_with_the_end_of_its_wait(self, store: Store) -> None:
        """It is put in before, and is there; or it comes after, and is refused."""
        other = self.make_store()
        await other.open()
        log = await create(store, driven_until=FOREVER)
        told = set()
        for turn in range(60):
            task = f"task-{turn}"
            await write(store, log, opened=[wait(task)])
            calls = [write(store, log, closed=[task]), other.put(answer(task=task))]
            if turn % 2:
                calls.reverse()
            answers = await asyncio.gather(*calls)
            put = next(outcome[0] for outcome in answers if outcome is not None)
            assert [entry.key for entry in await store.inbox("run")] == ([task] if put == "accepted" else [])
            assert put in ("accepted", "closed")
            await write(store, log, consumed=[entry.number for entry in await store.inbox("run")])
            told.add(put)
        await other.close()
        assert told == {"accepted", "closed"}

    @law
    async def test_a_cancelled_caller_has_put_in_the_whole_or_nothing(self, store: Store) -> None:
        """Asking again, with the same answer, says which; and whoever had an answer is told the same."""
        log = await create(store, driven_until=FOREVER)
        seen: Counter[str] = Counter()
        for turn in range(120):
            task = f"task-{turn}"
            await write(store, log, opened=[wait(task)])
            answered = await cancelled(store.put(answer(b"%d" % turn, task=task)), (turn * SEED) % 40)
            put, entry = await store.put(answer(b"%d" % turn, task=task))
            assert put in (("same",) if answered else ("accepted", "same"))
            assert [*await store.inbox("run")] == [entry]
            assert entry is not None
            await write(store, log, closed=[task], consumed=[entry.number])
            seen[put] += 1
        assert len(seen) == 2, f"not all that can happen has happened: {seen}"
