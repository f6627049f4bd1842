"""A campaign: random graphs in real processes, on a real file, killed again and again at random until they end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from crash.harness import Life, Remains, Zygote
from crash.programs import Program, find
from perdure import Graph
from perdure.events import NodeCancelled, NodeCompleted, RunCompleted
from perdure.graph.compile.topology import Topology
from perdure.kernel.fold.run import Phase
from perdure.kernel.state.tree import thaw
from random_graphs import has_race, kinds

MOST_KILLS = 8
"""Fewer, if a task is about to be given up as the one that kills its process."""

REACHED = (
    "a run that wasn't there yet",
    "a join that was open",
    "a map whose arms weren't all open",
    "a stream that was giving out items",
    "a loop",
    "several bodies at once",
    "a fork that had been ended early",
    "a second time",
    "a third time",
)
"""What has to have been killed in the midst of, or the campaign proves less than it says."""


def looping(graph: Graph[Any, Any, Any, Any]) -> set[str]:
    """Return the nodes that can lead to themselves."""
    successors = Topology(graph.plan).successors
    found = set()
    for node in successors:
        seen, ahead = set(), list(successors[node])
        while ahead:
            if (other := ahead.pop()) not in seen:
                seen.add(other)
                ahead += successors[other]
        if node in seen:
            found.add(node)
    return found


class Campaign:
    """Many lives of many graphs, and what was seen in them."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self._zygote = zygote
        self._folder = folder
        self.counts: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.blocks: Counter[str] = Counter()

    def live(self, seed: int) -> None:
        """Kill the processes of one random graph until one of them ends."""
        rng = Random(f"kills {seed}")
        name = f"random/{seed}"
        program = find(name)
        graph = program.build()
        folder = self._folder / str(seed)
        folder.mkdir()
        life = Life(self._zygote, folder, name, graph)
        loops = looping(graph)
        for kills in range(MOST_KILLS + 1):
            run = life.remains.run
            is_spared = kills == MOST_KILLS or (run is not None and any(task.crashes for task in run.tasks.values()))
            answer = life.process(**({} if is_spared else self._death(rng, program)))
            self.counts["processes"] += 1
            if not life.killed:
                break
            self.counts["kills"] += 1
            self._notice(life.remains, loops, kills)
        self._check(program, life.remains, answer, seed)
        self.counts["graphs"] += 1
        assert program.block is not None
        self.blocks.update(kind.__name__ for kind in kinds(program.block))

    def _death(self, rng: Random, program: Program) -> dict[str, Any]:
        if rng.random() < 0.5:
            # The time to open the file, and then about that of the run.
            return {"after_s": rng.uniform(0.001, 0.015 + program.size / 4000)}
        return {"kill": (rng.randrange(1, program.size // 2 + 4), rng.choice(["before", "after"]))}

    def _notice(self, remains: Remains, loops: set[str], kills: int) -> None:
        """Count what was going on when a process was killed."""
        run, events = remains.run, [recorded.event for recorded in remains.history]
        self.reached["a second time"] += kills == 1
        self.reached["a third time"] += kills == 2
        if run is None:
            self.reached["a run that wasn't there yet"] += 1
            return
        if events and isinstance(events[-1], RunCompleted):
            self.reached["a run that had ended"] += 1
            return
        live = [task for task in run.tasks.values() if task.phase is Phase.RUNNING]
        self.reached["a join that was open"] += bool(run.joins)
        self.reached["a map whose arms weren't all open"] += any(
            instance.feed is not None and instance.feed.task is None for instance in run.maps.values()
        )
        self.reached["a stream that was giving out items"] += any(task.feeds is not None for task in live)
        self.reached["a loop"] += any(task.node.id in loops for task in live)
        self.reached["several bodies at once"] += len(live) > 1
        self.reached["a fork that had been ended early"] += any(isinstance(event, NodeCancelled) for event in events)

    def _check(self, program: Program, remains: Remains, answer: dict[str, Any], seed: int) -> None:
        """Compare what a run gave with what its graph means, and with the fold of its log."""
        assert answer["is_right"], f"seed {seed}: {answer['result']}"
        assert remains.run is not None
        assert answer["result"] == repr(remains.output), seed
        state = thaw(remains.run.state.tree)
        changes = sum(isinstance(r.event, NodeCompleted) and r.event.change is not None for r in remains.history)
        assert answer["state"] == [state.count, state.total], seed
        assert state.count == changes, f"seed {seed}: a completion was folded into the state other than once"
        assert program.block is not None
        self.counts["compared with the fold of their log" if has_race(program.block) else "equal to the reference"] += 1
        self.counts["events"] += len(remains.history)

    def __str__(self) -> str:
        lines = [", ".join(f"{count} {what}" for what, count in self.counts.items())]
        lines.append("blocks: " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.blocks.items())))
        lines.append("killed in: " + ", ".join(f"{what} {count}" for what, count in self.reached.most_common()))
        return "\n".join(lines)


def test_random_graphs_survive_random_kills(zygote: Zygote, tmp_path: Path) -> None:
    campaign = Campaign(zygote, tmp_path)
    for seed in range(40):
        campaign.live(seed)
    assert campaign.counts["kills"] >= 60
    assert campaign.reached["a join that was open"], str(campaign)
    assert campaign.reached["a loop"], str(campaign)


@pytest.mark.campaign
def test_six_hundred_random_graphs_survive_random_kills(zygote: Zygote, tmp_path: Path) -> None:
    campaign = Campaign(zygote, tmp_path)
    for seed in range(1000, 1600):
        campaign.live(seed)
    print(f"\n{campaign}")
    assert campaign.counts["kills"] >= 1000
    assert all(campaign.reached[what] >= 10 for what in REACHED), str(campaign)
