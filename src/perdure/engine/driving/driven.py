"""A run that this process drives, or has driven."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from perdure.engine.driving.driver import Driver
from perdure.kernel.decide.describe import add_note
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.store.records import Lease

T = TypeVar("T")


class Driven:
    """A driver at work.

    Attributes:
        lease: under which it is driven; what is done about the run's next one is none of its business.
        is_over: whether it has stopped.
        error: why it had to stop, if that is neither the end of the run nor its being handed back.
    """

    __slots__ = (
        "__weakref__",
        "_has_begun",
        "_is_lost",
        "_waiting",
        "driver",
        "error",
        "is_over",
        "lease",
        "task",
    )

    def __init__(self, driver: Driver, epoch: int) -> None:
        self.driver = driver
        self.lease = Lease(driver.run.run_id, epoch, 0)
        self.is_over = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()
        self.task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        self._has_begun = False
        self._is_lost = False

    def begin(self) -> bool:
        """Say that the driver has its turn now; return whether it is still to drive."""
        self._has_begun = True
        if self._is_lost and self.driver.steps is not None:
            self.driver.steps.over()
        return not self._is_lost

    def lose(self) -> None:
        """Interrupt the driver, whose lease is lost.

        A task that is cancelled before it has had its first turn never has one, and nobody would tidy up after it.
        """
        self._is_lost = True
        if self._has_begun and self.task is not None:
            self.task.cancel()

    def settled(self) -> asyncio.Future[None]:
        """Return what is done when the driver has stopped: one for each who waits, and may be cancelled."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_over:
            waiting.set_result(None)
        else:
            self._waiting += (waiting,)
        return waiting

    def end(self) -> None:
        """Tell those who wait that the driver has stopped."""
        self.is_over = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting = ()

    @property
    def is_complete(self) -> bool:
        """Whether the run has reached its end here."""
        return self.is_over and self.driver.run.status is Status.COMPLETED

    def raise_error(self) -> None:
        """Raise what made the run fail in this process, or the driver stop.

        Raises:
            Exception: what a step raised, unwrapped, or what kept the driver from going on.
        """
        if self.driver.run.status is Status.FAILED and self.driver.exception is not None:
            raise noted(self.driver.exception, self.driver.run)
        if self.error is not None:
            raise self.error

    def outputs(self) -> list[Any]:
        """Return every value that reached the end of a run that is complete."""
        return self.driver.outputs()


def noted(exception: BaseException, run: Run) -> BaseException:
    """Add to an exception which run it made fail."""
    add_note(exception, f"perdure: in run {run.run_id!r}")
    return exception


def hand_over(task: asyncio.Task[T], waiting: asyncio.Future[T]) -> bool:
    """Give what has come of a task to who waits for it; say whether anybody still does."""
    if waiting.done():  # its caller was cancelled
        return False
    if task.cancelled():
        waiting.cancel()
    elif (error := task.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(task.result())
    return True
