"""Policies: what happens when a step fails, takes too long, or was in flight when its process died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from perdure.errors import GraphSetupError

Seconds: TypeAlias = float | timedelta
ExceptionTest: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


def seconds(name: str, value: Seconds) -> float:
    """Return a length of time in seconds.

    Raises:
        GraphSetupError: it isn't a positive, finite number or a positive timedelta.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise GraphSetupError(f"{name}={value!r}: give a positive number of seconds, or a timedelta")
    return float(number)


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often, and how soon, a step is tried again after it has failed.

    Each attempt and the time of the next one are in the log, so the waiting survives restarts.

    Attributes:
        max_attempts: how many attempts at most, the first included.
        initial_interval: how long to wait before the second attempt, in seconds.
        backoff_factor: by how much each wait is longer than the one before.
        max_interval: the longest wait, in seconds.
        jitter: whether each wait is drawn at random between half of that and the whole.
        retry_on: which exceptions are tried again: a class, several, or a function that says so.
        no_retry_on: which of them aren't after all.

    Raises:
        GraphSetupError: a number is out of range.
    """

    max_attempts: int = 3
    initial_interval: Seconds = 0.5
    backoff_factor: float = 2.0
    max_interval: Seconds = 60.0
    jitter: bool = True
    retry_on: ExceptionTest = Exception
    no_retry_on: ExceptionTest = ()

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise GraphSetupError(f"Retry(max_attempts={self.max_attempts!r}): give a whole number of at least 1")
        if self.backoff_factor < 1:
            raise GraphSetupError(f"Retry(backoff_factor={self.backoff_factor!r}): give a number of at least 1")
        seconds("initial_interval", self.initial_interval)
        seconds("max_interval", self.max_interval)

    def delay(self, failures: int, error: BaseException, drawn: float) -> float | None:
        """Return how many seconds to wait before the next attempt, or None if there is to be none.

        Args:
            failures: how many attempts have failed, this one included.
            error: what this one raised.
            drawn: a random number from 0 to 1.
        """
        if failures >= self.max_attempts or not _fits(error, self.retry_on) or _fits(error, self.no_retry_on):
            return None
        longest = seconds("max_interval", self.max_interval)
        try:
            full = min(
                seconds("initial_interval", self.initial_interval) * self.backoff_factor ** (failures - 1), longest
            )
        except OverflowError:
            full = longest
        return full * (0.5 + drawn / 2) if self.jitter else full


def _fits(error: BaseException, test: ExceptionTest) -> bool:
    if isinstance(test, tuple | type):
        return isinstance(error, test)
    return bool(test(error))


class NotDone:
    """The type of the mark by which the check of an uncertain effect says that it hasn't happened."""

    def __repr__(self) -> str:
        return "NOT_DONE"


NOT_DONE: Final = NotDone()
"""What an ``on_uncertain`` function returns if the effect hasn't happened, so that the step runs again."""
