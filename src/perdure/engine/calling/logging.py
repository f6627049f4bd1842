"""The engine's log.

An application that has configured structlog gets the events as it wants them. In one that hasn't, they go to the standard
library's logging, under ``perdure``, so that a library doesn't print to standard output.

Events about a run carry ``run``, those about an attempt ``task``, ``path`` and ``attempt`` as well. What steps log
themselves gets the same from :func:`add_attempt`, a structlog processor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from perdure.codec.redaction import Redaction
from perdure.engine.calling.context import current_attempt
from perdure.events import AnyEvent, NodeFailed
from perdure.kernel.decide.describe import describe
from perdure.kernel.fold.run import Run

if TYPE_CHECKING:
    from perdure.engine.calling.observing import Observed


def get_logger(name: str) -> Any:
    """Return a logger, chosen when it is asked for."""
    if structlog.is_configured():
        return structlog.get_logger(name)
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def add_attempt(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Say in an event which attempt it comes from; a structlog processor.

    ``structlog.configure(processors=[add_attempt, …])`` puts ``run``, ``task``, ``path`` and ``attempt`` into whatever is
    logged inside of a step, unless the event says them itself. Elsewhere it changes nothing.
    """
    cell = current_attempt.get(None)
    attempt = cell[0] if cell is not None else None
    if attempt is not None:
        event.setdefault("run", attempt.run_id)
        event.setdefault("task", attempt.task_id)
        event.setdefault("path", attempt.task_path)
        event.setdefault("attempt", attempt.attempt)
    return event


def log_exception(log: Any, event: str, error: BaseException, redaction: Redaction | None, **about: Any) -> None:
    """Log an exception with its traceback; where values are redacted, as they leave it."""
    if redaction is None:
        log.error(event, exc_info=error, **about)
        return
    info = redaction.error(describe(error))
    log.error(event, error=f"{info.type}: {info.message}", traceback=info.traceback, **about)


def message_of(error: BaseException, redaction: Redaction | None) -> str:
    """Return what an exception says; where values are redacted, what is left of it."""
    info = describe(error)
    return (info if redaction is None else redaction.error(info)).message


def log_failures(log: Any, run: Run, events: Sequence[AnyEvent], observed: Observed) -> None:
    """Log the attempts that have failed, and what follows from that, as though from inside of them."""
    for event in events:
        if type(event) is NodeFailed:
            task = run.tasks.get(event.task)
            entered = observed.enter(task.id, task.attempt) if task is not None and observed.surrounds else None
            log.info(
                "attempt failed",
                run=run.run_id,
                task=event.task,
                path=task.shown_path if task is not None else "",
                attempt=task.attempt if task is not None else None,
                error=f"{event.error.type}: {event.error.message}",
                outcome=event.outcome,
                retry_at=event.retry_at,
            )
            observed.leave(entered)
