"""Every error perdure raises on purpose.

A message says what happened, where (run, task, node, file) and what to do next. The class says whose fault it is:
the definition of a graph (``GraphBuildingError`` …), a value (``CodecError``), a run (``RunError``), or the store
(``StoreError``). An error of a driver underneath (sqlite3, aiosqlite, msgspec) never leaks: it is the ``__cause__``.
An exception raised by a user's step is not wrapped at all; it reaches the caller of ``run()`` as it was raised.
"""

from __future__ import annotations

from typing import ClassVar


class PerdureError(Exception):
    """The root of perdure's own errors."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# --- the definition of a graph -----------------------------------------------------------------------------------


class GraphSetupError(PerdureError, TypeError):
    """A part of a graph is declared in a way that can't work, or an argument can't be used; found as soon as it is given."""


class GraphBuildingError(PerdureError, ValueError):
    """``build()`` found problems in the graph; the message lists all of them, each with its remedy.

    Attributes:
        problems: one sentence for each problem.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = problems or (message,)


class GraphValidationError(GraphBuildingError):
    """``build()`` found only problems of structure: dead ends, unreachable nodes, a missing end.

    ``build(validate_graph_structure=False)`` skips these.
    """


class ConvergenceWarning(UserWarning):
    """Arms of a fork lead to the same node, which runs once for each: that is meant, or a join is missing."""


class GraphRuntimeError(PerdureError, RuntimeError):
    """A graph that is being run did something its definition doesn't allow."""


# --- values ------------------------------------------------------------------------------------------------------


class CodecError(PerdureError, TypeError):
    """A value can't be stored, or a stored value can't be read back as it was.

    Attributes:
        where: the node or the part of the run the value belongs to, or an empty string.
        path: the place inside the value, as in ``$.items[3].price``.
        type_name: the name of the offending type.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, *, path: str, type_name: str, remedy: str, where: str = "") -> None:
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{problem} at {path} (type {type_name}). {remedy}")
        self.problem = problem
        self.where = where
        self.path = path
        self.type_name = type_name
        self.remedy = remedy

    def at(self, where: str) -> CodecError:
        """Return the same error with the node or part of the run it belongs to."""
        return CodecError(self.problem, path=self.path, type_name=self.type_name, remedy=self.remedy, where=where)


class EncryptionError(PerdureError):
    """Something is encrypted and can't be opened here, or isn't and should be; what is stored stays as it is."""

    @classmethod
    def missing(cls, key: str, what: str = "it") -> EncryptionError:
        """Return the error for a key that isn't at hand."""
        return cls(
            f"{what} is encrypted with key {key!r}, which isn't given: open the store with Engine.open(…, encryption=…), or name a "
            "file of keys in PERDURE_KEYS for the command line"
        )


class StateConflict(PerdureError):
    """Two tasks changed the same part of the state in ways that can't be merged, and the graph forbids that."""


# --- runs --------------------------------------------------------------------------------------------------------


class RunError(PerdureError):
    """Something about one run.

    Attributes:
        run_id: the run.
    """

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError, LookupError):
    """The store holds no run with this id."""


class RunConflict(RunError):
    """A run with this id exists, of another graph or with other inputs."""


class RunFailed(RunError):
    """The run has ended in failure; raised where the original exception isn't at hand.

    Attributes:
        error_type: the name of the type of the original exception.
        error_message: its message.
        task_path: the task that failed, as ``map[17]/check``, or an empty string.
    """

    def __init__(self, run_id: str, error_type: str, error_message: str, task_path: str = "") -> None:
        place = f" at {task_path}" if task_path else ""
        super().__init__(f"run {run_id!r} failed{place}: {error_type}: {error_message}", run_id=run_id)
        self.error_type = error_type
        self.error_message = error_message
        self.task_path = task_path


class RunCancelled(RunError):
    """The run was cancelled; that is final."""


class RunPaused(RunError):
    """The run is paused; ``resume`` it to go on."""


class RunStalled(RunError):
    """The run can't be driven by this process: its graph has changed, a type or a dependency is missing, or its log is damaged."""


class RunInterrupted(RunError):
    """This process stopped driving the run before its end; it goes on where it is driven next."""


class NoResult(RunError):
    """Nothing is left to run and no value has reached the end node."""


class MaxStepsError(RunError):
    """A chain of tasks grew longer than ``max_steps``."""


class QuorumNotReached(PerdureError):
    """Fewer arms of a fork succeeded than a join needs.

    Attributes:
        failures: the tasks that failed, each as its path and its error.
    """

    def __init__(self, message: str, failures: tuple[tuple[str, object], ...] = ()) -> None:
        super().__init__(message)
        self.failures = failures


class DeadlineExceeded(RunError, TimeoutError):
    """A wait, or a run, wasn't over in time."""


class StepTimeout(RunError, TimeoutError):
    """An attempt of a step took longer than its timeout."""


class CrashLoop(RunError):
    """A task has taken its process down with it as often as it may."""


class AnswerRefused(PerdureError, ValueError):
    """An answer doesn't fit its form, or nobody waits for it any more; the task is as it was."""


class InvalidIdentifier(PerdureError, ValueError):
    """An id is empty, too long, or holds characters that can't be printed; or a text for the record is too long."""


# --- the store ---------------------------------------------------------------------------------------------------


class StoreError(PerdureError):
    """The store can't do what it was asked for.

    Attributes:
        location: the file, or the name of the store.
    """

    remedy: ClassVar[str] = ""

    def __init__(self, problem: str, *, location: str, remedy: str | None = None) -> None:
        remedy = self.remedy if remedy is None else remedy
        super().__init__(f"{location}: {problem}" + (f". {remedy}" if remedy else ""))
        self.location = location


class StoreFull(StoreError):
    """The disk, or the quota, is full."""

    remedy = "Nothing that was acknowledged is lost; free some space and resume the run"


class StoreFaulty(StoreError):
    """The disk failed to read or write."""

    remedy = "Nothing that was acknowledged is lost; see what the system says of the disk, and resume the run when it works again"


class StoreLocked(StoreError):
    """Another process held the file locked for longer than the deadline."""

    remedy = "Look for a process that holds a transaction open on this file (a shell, a backup by copying) and end it"


class StoreReadOnly(StoreError):
    """The file, or its folder, can't be written."""

    remedy = "Give this user write permission on the file and its folder"


class StoreForeign(StoreError):
    """The file isn't a perdure store."""

    remedy = "Give a path to a perdure store, or to a file that doesn't exist yet"


class StoreTooNew(StoreError):
    """The file was written by a newer version of perdure."""

    remedy = "Upgrade perdure to open it"


class StoreCorrupt(StoreError):
    """What the file holds isn't what was written."""

    remedy = "Restore the file from a backup; `perdure verify` says which runs are sound"


class StoreUnsupported(StoreError):
    """The file lies where SQLite can't keep it safe, or this SQLite is known to be defective."""


class StoreClosed(StoreError):
    """The store was closed, or the process was forked after it was opened."""


class Fenced(StoreError):
    """An append was refused: another worker drives the run now, or the log has moved on."""


class OutcomeUnknown(StoreError):
    """A commit raised, and it couldn't be found out whether it happened; nothing that depends on it was released."""

    remedy = "See what the system says of the disk; then resume the run: it goes on from what the file holds, with it or without"
