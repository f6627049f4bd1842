"""Policies: what happens when a step fails, takes too long, or was in flight when its process died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, TypedDict

import msgspec

from perdure.errors import GraphSetupError

Seconds: TypeAlias = float | timedelta
ExceptionTest: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


LONGEST = timedelta(days=365_000)
"""What is to take longer takes so long: a time that no calendar has can be neither stored nor shown."""


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
        at_least_one("Retry: max_attempts", self.max_attempts)
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
        longest = min(seconds("max_interval", self.max_interval), LONGEST.total_seconds())
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


OnError: TypeAlias = Literal["fail", "collect", "wait"]
"""What a failure comes to: the run fails at once; it becomes a value for a join; the run fails when the others are done."""

JoinPolicy: TypeAlias = Literal["each", "all", "any"] | int
"""When a step runs that several arms lead to: for each arrival, when all have come, or when so many have."""

Uncertain: TypeAlias = Literal["retry", "pause"] | Callable[..., Any]
"""What is done about an effect that was in flight in a crash: it runs again, the run is paused, or a function says."""


class StepOptions(TypedDict, total=False):
    """What ``@g.step`` takes besides the function; see there."""

    node_id: str | None
    label: str | None
    retry: Retry | int | None
    timeout: Seconds | None
    executor: str | None
    effect: bool
    on_uncertain: Uncertain
    max_crashes: int
    max_concurrency: int | None


class StepPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """How a step is run, and what happens when it can't be.

    Attributes:
        retry: how often it is tried again, or None.
        timeout_s: how long an attempt may take, in seconds; for a stream how long it may take between two items.
        executor: where a plain function runs: ``"thread"``, ``"process"``, or the name of an executor of the engine.
        effect: whether it changes the world outside, so that running it twice matters.
        on_uncertain: what is done if it was in flight in a crash.
        max_crashes: how many processes it may take down with it before it counts as failed.
        max_concurrency: how many tasks of it run at once in one run, or None.
    """

    retry: Retry | None = None
    timeout_s: float | None = None
    executor: str | None = None
    effect: bool = False
    on_uncertain: Uncertain = "retry"
    max_crashes: int = 3
    max_concurrency: int | None = None


def step_policies(
    where: str,
    *,
    retry: Retry | int | None = None,
    timeout: Seconds | None = None,
    executor: str | None = None,
    effect: bool = False,
    on_uncertain: Uncertain = "retry",
    max_crashes: int = 3,
    max_concurrency: int | None = None,
) -> StepPolicies:
    """Check the policies of a step.

    Raises:
        GraphSetupError: one of them is of a wrong type, or out of range.
    """
    if isinstance(retry, int) and not isinstance(retry, bool):
        retry = Retry(max_attempts=retry)
    if retry is not None and not isinstance(retry, Retry):
        raise GraphSetupError(f"{where}: retry={retry!r:.80}: give a Retry(…), or a number of attempts")
    if on_uncertain not in ("retry", "pause") and not callable(on_uncertain):
        raise GraphSetupError(f'{where}: on_uncertain={on_uncertain!r:.80}: give "retry", "pause" or a function')
    if on_uncertain != "retry" and not effect:
        raise GraphSetupError(f"{where}: on_uncertain= is about effects: add effect=True")
    if executor is not None and (not isinstance(executor, str) or not executor):
        raise GraphSetupError(
            f'{where}: executor={executor!r:.80}: give "thread", "process", or the name of one of Engine.open(executors=…)'
        )
    return StepPolicies(
        retry=retry,
        timeout_s=seconds(f"{where}: timeout", timeout) if timeout is not None else None,
        executor=executor,
        effect=bool(effect),
        on_uncertain=on_uncertain,
        max_crashes=at_least_one(f"{where}: max_crashes", max_crashes),
        max_concurrency=optional_count(f"{where}: max_concurrency", max_concurrency),
    )


class JoinPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """When a join has enough, and what failures of its arms come to.

    Attributes:
        quorum: how many arrivals are enough; 0 for all that can come.
        gives_one: whether what the first arrival brings is given on itself, and not in a list.
        cancels: whether what is left is cancelled then.
        on_error: what a failure of a task in its region comes to; None for what is said further out.
        min_ok: how many arms have to succeed at least.
    """

    quorum: int = 0
    gives_one: bool = False
    cancels: bool = False
    on_error: OnError | Literal["lose"] | None = None
    min_ok: int = 0


def join_policies(
    where: str, join: JoinPolicy, *, cancel: bool = False, on_error: OnError | None = None, min_ok: int | None = None
) -> JoinPolicies | None:
    """Check the join policy of a step; None stands for ``"each"``.

    Raises:
        GraphSetupError: one of them is of a wrong type, out of range, or doesn't go with the others.
    """
    if on_error is not None and on_error not in ("fail", "collect", "wait"):
        raise GraphSetupError(f'{where}: on_error={on_error!r:.80} is not one of "fail", "collect", "wait"')
    least = optional_count(f"{where}: min_ok", min_ok) or 0
    if join == "each":
        if cancel or on_error is not None or least:
            raise GraphSetupError(
                f'{where}: cancel=, on_error= and min_ok= are about arms that meet: add join="all", "any" or a number'
            )
        return None
    if join == "all":
        quorum = 0
    elif join == "any":
        quorum = 1
    elif type(join) is int and join >= 1:
        quorum = join
    else:
        raise GraphSetupError(
            f'{where}: join={join!r:.80} is not one of "each", "all", "any" or a whole number of at least 1'
        )
    if cancel and not quorum:
        raise GraphSetupError(f'{where}: with join="all" there is nothing left to cancel: drop cancel=True')
    if least and quorum:
        raise GraphSetupError(f"{where}: join={join!r} says already how many have to succeed: drop min_ok=")
    return JoinPolicies(quorum=quorum, gives_one=join == "any", cancels=bool(cancel), on_error=on_error, min_ok=least)


def at_least_one(name: str, value: int) -> int:
    """Return a number that has to be a whole number of at least 1.

    Raises:
        GraphSetupError: it isn't, or takes more than 64 bits.
    """
    if type(value) is not int or not 1 <= value < 1 << 63:
        raise GraphSetupError(f"{name}={value!r:.80}: give a whole number of at least 1")
    return value


def optional_count(name: str, value: int | None) -> int | None:
    """Return a number that has to be a whole number of at least 1, or None.

    Raises:
        GraphSetupError: it is neither.
    """
    return None if value is None else at_least_one(name, value)
