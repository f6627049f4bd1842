"""The demo itself: run, kill, look, resume, compare."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from pathlib import Path

import msgspec

from perdure.cli.demo.proof import Proof, prove
from perdure.cli.demo.tail import Tail
from perdure.cli.demo.telling import Lines, Silence
from perdure.cli.demo.victim import Worker
from perdure.engine.inspection.inspect import Inspection, inspect_run
from perdure.errors import RunFailed
from perdure.store.port import Store

FEW = 100
"""With fewer files than this the run is killed as soon as it has begun: it wouldn't live much longer anyway."""

POLL_S = 0.03
KILL_POLL_S = 0.005


class Killed(msgspec.Struct):
    """What was found when the worker was dead."""

    pid: int
    surveyed: int
    inspection: Inspection


class Story(msgspec.Struct):
    """What has happened.

    Attributes:
        run_id: the run.
        files: how many files it is about.
        killed: what the kill left behind; None if there was none.
        proof: what its log says of it; None without a kill.
        seconds: how long each part took.
        inspection: the run at its end.
    """

    run_id: str
    files: int
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    killed: Killed | None = None
    proof: Proof | None = None
    inspection: Inspection | None = None


class Demo:
    """A demo on a database."""

    def __init__(self, store: Store, db: Path, folder: Path, files: int, tell: Silence | Lines) -> None:
        self._store = store
        self._db = db
        self._folder = folder
        self._tell = tell
        self._story = Story(f"demo-{secrets.token_hex(4)}", files)

    async def without_crash(self) -> Story:
        """Run the census once.

        Raises:
            RunFailed: the worker has failed.
        """
        story = self._story
        await self._run(story.run_id, "run")
        story.inspection = await inspect_run(self._store, story.run_id)
        return story

    async def with_crash(self) -> Story:
        """Run the census, kill it half-way, resume it, and compare it with one that isn't killed.

        Raises:
            RunFailed: the worker has failed.
        """
        story, run_id = self._story, self._story.run_id
        await self._run_and_kill()
        if story.killed is not None:
            self._say_killed(story.killed)
            await self._run(run_id, "resume")
            self._tell.say("\nFor comparison, the same census in a run that nobody kills:")
            uninterrupted = f"{run_id}-uninterrupted"
            await self._run(uninterrupted, "uninterrupted")
            killed_after = story.killed.inspection.info.last_seq
            story.proof = await prove(self._store, run_id, killed_after, uninterrupted)
        story.inspection = await inspect_run(self._store, run_id)
        return story

    async def _run_and_kill(self) -> None:
        story = self._story
        few = story.files < FEW
        target = 0 if few else random.randint(story.files // 6, story.files * 5 // 6)  # noqa: S311
        self._tell.say(f"A worker process surveys {story.files} files; it will be killed at a random moment.")
        began = time.monotonic()
        tail = Tail(self._store, story.run_id)
        with Worker(self._db, story.run_id, self._folder) as worker, self._tell.progress("survey", story.files) as show:
            while not worker.is_over:
                await tail.read_on()
                show(tail.surveyed)
                if tail.is_surveying and tail.surveyed >= target:
                    await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
                    break
                await asyncio.sleep(0 if few else KILL_POLL_S)
            if worker.kill():
                await tail.read_on()
                inspection = await inspect_run(self._store, story.run_id)
                story.killed = Killed(worker.pid, tail.surveyed, inspection)
            else:
                self._check(await worker.ended(), worker, story.run_id)
                self._tell.say("The run was over before it could be killed: there are too few files.")
        story.seconds["until_kill"] = time.monotonic() - began

    def _say_killed(self, killed: Killed) -> None:
        inspection = killed.inspection
        phases = [task.phase for task in inspection.live_tasks()]
        joins = inspection.open_joins()
        self._tell.say(
            f"\nKilled: SIGKILL to process {killed.pid}, with {killed.surveyed} of {self._story.files} files surveyed.\n"
            f"The log holds {inspection.info.last_seq} events: {inspection.counts['NodeCompleted']} tasks have completed, "
            f"{phases.count('running')} were running, {phases.count('ready')} were about to.\n"
            "Joins are open: "
            + ", ".join(f"{joined.join} has folded {joined.folded}" for joined in joins)
            + ".\n\nA new process goes on with it:"
        )

    async def _run(self, run_id: str, part: str) -> None:
        began = time.monotonic()
        tail = Tail(self._store, run_id)
        await tail.read_on()
        with Worker(self._db, run_id, self._folder) as worker, self._tell.progress(part, self._story.files) as show:
            ended = asyncio.ensure_future(worker.ended())
            while not ended.done():
                await tail.read_on()
                show(tail.surveyed)
                await asyncio.wait([ended], timeout=POLL_S)
            await tail.read_on()
            show(tail.surveyed)
            self._check(ended.result(), worker, run_id)
        self._story.seconds[part] = time.monotonic() - began

    def _check(self, code: int, worker: Worker, run_id: str) -> None:
        if code:
            complaint = worker.complaint().splitlines()
            raise RunFailed(run_id, f"worker ended with {code}", complaint[-1] if complaint else "it didn't say why")
