"""Planted bugs: small changes of the package, each of which breaks a law that the campaigns are to protect.

A mutant is a list of replacements in one file. Each has to be found there exactly once, so that a mutant that doesn't fit the
source any more is noticed, and written anew.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import perdure

AWAITS = "tests/simulation/test_crash_at_every_await.py::test_a_run_survives_a_crash_at_any_await"
WAITING = "tests/simulation/test_crash_while_waiting.py"
MANY = "tests/simulation/test_many_processes.py"
KILLS = "tests/crash/test_random_kills.py::test_random_graphs_survive_random_kills"
TWO = "tests/crash/test_two_processes.py"


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Attributes:
        law: what it breaks.
        file: where, in the package.
        changes: what is replaced by what.
        killers: the short forms of the campaigns that are tried, in this order.
    """

    law: str
    file: str
    changes: tuple[tuple[str, str], ...]
    killers: tuple[str, ...] = (AWAITS,)

    def plant(self, folder: Path) -> None:
        """Copy the package into a folder, with the bug in it.

        Raises:
            AssertionError: the change doesn't fit the source any more.
        """
        package = folder / "perdure"
        shutil.copytree(Path(perdure.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        path = package / self.file
        text = path.read_text()
        for old, new in self.changes:
            assert text.count(old) == 1, (
                f"{self.file}: {old!r} is there {text.count(old)} times: write this mutant anew"
            )
            text = text.replace(old, new)
        path.write_text(text)


MUTANTS = {
    "an arrival is folded twice": Mutant(
        "each input is folded once",
        "engine/calling/code.py",
        (
            (
                "return node.reducer(current, item), False",
                "return node.reducer(node.reducer(current, item), item), False",
            ),
        ),
    ),
    "a cancellation isn't recorded": Mutant(
        "cancelled stays cancelled",
        "kernel/decide/settle.py",
        (
            ("deciding.record(NodeCancelled(task.id, reason))", "remove(deciding.run, task)"),
            (
                "from perdure.kernel.state.committed import Transaction",
                "from perdure.kernel.state.committed import Transaction\nfrom perdure.kernel.fold.tokens import remove",
            ),
        ),
    ),
    "the memory store doesn't look at the fence": Mutant(
        "one driver per run: a stale append is refused",
        "store/memory.py",
        (("if info is None or info.epoch != append.epoch or info.last_seq != append.after:", "if info is None:"),),
        (MANY,),
    ),
    "a seq is used twice": Mutant(
        "seqs have no gaps, and none is used twice",
        "engine/driving/journal.py",
        (("first = position.seq + 1", "first = max(position.seq, 1)"),),
    ),
    "bodies begin before the commit": Mutant(
        "commit before act",
        "engine/driving/turns.py",
        (
            (
                "        if self._durable is None or last is None:",
                "        self._act(decision)\n        if self._durable is None or last is None:",
            ),
            ("        self._act(decision)\n        if durable is not None", "        if durable is not None"),
        ),
    ),
    "attempts aren't counted": Mutant(
        "an attempt is counted by its start",
        "kernel/decide/schedule.py",
        (("NodeStarted(task.id, task.node.id, task.attempt + 1)", "NodeStarted(task.id, task.node.id, 1)"),),
    ),
    "failures aren't counted on recovery": Mutant(
        "what was counted before a crash counts after it",
        "engine/driving/recovery.py",
        (
            (
                "                apply(run, event)\n",
                "                apply(run, event)\n        for task in run.tasks.values():\n            task.failures = 0\n",
            ),
        ),
    ),
    "a join closes when one is left": Mutant(
        "a join closes when nothing can reach it any more",
        "kernel/fold/tokens.py",
        (
            (
                "        left = instance.counts[join] - 1\n        if left:",
                "        left = instance.counts.get(join, 1) - 1\n        if left > 1:",
            ),
            ("            del instance.counts[join]\n", "            instance.counts.pop(join, None)\n"),
        ),
    ),
    "the last completion is forgotten on recovery": Mutant(
        "what has finished never runs again",
        "engine/driving/recovery.py",
        (
            (
                "            for event in events:\n                apply(run, event)\n",
                "            for event in events:\n                if isinstance(event, NodeCompleted) and position.seq == info.last_seq:\n"
                "                    run.seq += 1\n                    continue\n                apply(run, event)\n",
            ),
        ),
    ),
    "an answer may be given twice": Mutant(
        "an inbox holds one answer for a task",
        "store/memory_inbox.py",
        (
            (
                'return ("same" if (entry.by, entry.value) == (new.by, new.value) else "taken"), entry',
                "return None",
            ),
        ),
        (WAITING,),
    ),
    "arrivals are folded again from behind": Mutant(
        "folds are replayed in the order in which they happened",
        "engine/calling/code.py",
        (
            ("past = joined.unfolded[0]", "past = joined.unfolded[-1]"),
            ("joined.unfolded.popleft()", "joined.unfolded.pop()"),
        ),
    ),
    "a snapshot is older than it says": Mutant(
        "a snapshot is the fold at its seq",
        "engine/driving/snapshots.py",
        (
            (
                "            data = dump(run, self._values.whole())\n",
                "            fresh = dump(run, self._values.whole())\n"
                '            data, self._old = getattr(self, "_old", fresh), fresh\n',
            ),
        ),
    ),
    "starts of later attempts aren't recorded": Mutant(
        "a body runs only after its start is durable",
        "kernel/decide/schedule.py",
        (
            (
                "        deciding.record(NodeStarted(task.id, task.node.id, task.attempt + 1))\n",
                "        if task.attempt:\n            apply(run, NodeStarted(task.id, task.node.id, task.attempt + 1))\n"
                "            run.seq -= 1\n        else:\n"
                "            deciding.record(NodeStarted(task.id, task.node.id, task.attempt + 1))\n",
            ),
            (
                "from perdure.kernel.decide.deciding import Deciding",
                "from perdure.kernel.fold.apply import apply\nfrom perdure.kernel.decide.deciding import Deciding",
            ),
        ),
    ),
    "parallel additions are lost": Mutant(
        "changes of the state are merged",
        "kernel/state/merge.py",
        (("self._put(MERGE, path, mine - base)", "self._put(MERGE, path, mine - current)"),),
    ),
    "items of a stream are recorded again": Mutant(
        "an item of a stream is recorded once",
        "engine/calling/streams.py",
        (("skip = 0 if seeks else self._context.stream_offset", "skip = 0"),),
        (AWAITS, "tests/simulation/test_crash_at_every_await.py"),
    ),
    "time goes back with the clock": Mutant(
        "time never goes back within a run",
        "engine/driving/journal.py",
        (("position.ts = max(position.ts, self._clock.now())", "position.ts = self._clock.now()"),),
        (MANY,),
    ),
    "a signal that nobody waits for is dropped": Mutant(
        "a signal is kept until somebody waits for it",
        "kernel/fold/apply.py",
        (("    run.signals += (KeptSignal(event.entry, event.name, bytes(event.data), event.by),)\n", "    pass\n"),),
        ("tests/simulation/test_crash_while_waiting.py", "tests/simulation/test_signals.py"),
    ),
    "a lease is taken whenever somebody wants it": Mutant(
        "no lease is taken from a living owner",
        "store/memory.py",
        (("return max(info.lease_until, info.due_at or 0)", "return info.due_at or 0"),),
        (MANY,),
    ),
    "the file gives out leases that are held": Mutant(
        "one driver per run",
        "store/sqlite/queries.sql",
        (("WHERE run_id = ?2 AND (ready_at <= ?1 OR (?3 AND lease_until <= ?1))", "WHERE run_id = ?2"),),
        (TWO,),
    ),
    "the file answers before it has committed": Mutant(
        "what was acknowledged is durable",
        "store/sqlite/transactions.py",
        (('connection.execute(QUERIES["commit"])', 'self.count % 5 == 4 or connection.execute(QUERIES["commit"])'),),
        (KILLS,),
    ),
    "the file forgets what a commit takes out of the inbox": Mutant(
        "a crash loses no commit and repeats none",
        "store/sqlite/inbox.py",
        (('QUERIES["take_entry"], (number, run)', 'QUERIES["take_entry"], (-number, run)'),),
        ("tests/crash/test_kill_while_waiting.py",),
    ),
}
