"""The waits and inboxes of a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.store.records import MAX_SIGNALS, OVER, Entry, NewEntry, Put, Wait


class Inboxes:
    """What the runs of a store wait for, and what came in for them."""

    def __init__(self) -> None:
        self._waits: dict[str, dict[str, Wait]] = {}
        self._entries: dict[str, dict[int, Entry]] = {}
        self._answered: dict[tuple[str, str], bytes] = {}
        self._last = 0

    # --- what commits do ---

    def open(self, run_id: str, waits: Sequence[Wait]) -> None:
        """Begin waits, or change those that are open."""
        for wait in waits:
            self._waits.setdefault(run_id, {})[wait.task] = wait
            self._answered.pop((run_id, wait.task), None)

    def close(self, run_id: str, tasks: Sequence[str]) -> None:
        """End the waits of tasks."""
        waits = self._waits.get(run_id, {})
        for task in tasks:
            waits.pop(task, None)

    def take(self, run_id: str, numbers: Sequence[int], closed: Sequence[str]) -> None:
        """Take entries out, remembering the answers that closed a wait."""
        entries = self._entries.get(run_id, {})
        for number in numbers:
            entry = entries.pop(number, None)
            if entry is not None and entry.kind == "answer" and entry.key in closed:
                self._answered[run_id, entry.key] = _digest(run_id, entry)

    def end(self, run_id: str, status: str) -> None:
        """Forget what a run that is over waited for; what came in for one that failed stays for its retry."""
        self._waits.pop(run_id, None)
        kept = ("answer", "signal") if status == "FAILED" else ()
        entries = self._entries.pop(run_id, {})
        self._entries[run_id] = {number: entry for number, entry in entries.items() if entry.kind in kept}

    def forget(self, run_id: str) -> None:
        """Forget all about a run."""
        self._waits.pop(run_id, None)
        self._entries.pop(run_id, None)
        for key in [key for key in self._answered if key[0] == run_id]:
            del self._answered[key]

    # --- what comes in ---

    def put(self, new: NewEntry, status: str) -> tuple[Put, Entry | None]:
        """Put something in the inbox of a run in this status, or say why not."""
        if new.kind == "answer":
            if (refused := self._refused(new)) is not None:
                return refused
        elif status in OVER:
            return "over", None
        elif new.kind == "signal" and self._signals(new.run_id) >= MAX_SIGNALS:
            return "full", None
        self._last += 1
        entry = Entry(self._last, new.kind, new.key, new.value, new.by, new.at)
        self._entries.setdefault(new.run_id, {})[entry.number] = entry
        return "accepted", entry

    def _signals(self, run_id: str) -> int:
        return sum(entry.kind == "signal" for entry in self._entries.get(run_id, {}).values())

    def _refused(self, new: NewEntry) -> tuple[Put, Entry | None] | None:
        for entry in self._entries.get(new.run_id, {}).values():
            if (entry.kind, entry.key) == (new.kind, new.key):
                return ("same" if (entry.by, entry.value) == (new.by, new.value) else "taken"), entry
        wait = self._waits.get(new.run_id, {}).get(new.key)
        if wait is not None and wait.kind == "human":
            return None
        used = self._answered.get((new.run_id, new.key))
        if used is not None:
            return ("same" if used == new.digest else "taken"), None
        return "closed", None

    def fill(self, run_id: str, entries: Sequence[NewEntry], answered: Mapping[str, bytes]) -> None:
        """Put in what a run brings along."""
        for new in entries:
            self._last += 1
            entry = Entry(self._last, new.kind, new.key, new.value, new.by, new.at)
            self._entries.setdefault(run_id, {})[entry.number] = entry
        self._answered.update({(run_id, task): digest for task, digest in answered.items()})

    # --- what is there ---

    def answered(self, run_id: str) -> dict[str, bytes]:
        """Return what is remembered of the answers that were used in a run."""
        return {task: digest for (run, task), digest in sorted(self._answered.items()) if run == run_id}

    def has_mail(self, run_id: str) -> bool:
        """Say whether something is in a run's inbox."""
        return bool(self._entries.get(run_id))

    def entries(self, run_id: str, after: int) -> list[Entry]:
        """Return what is in a run's inbox, in order."""
        return [entry for number, entry in self._entries.get(run_id, {}).items() if number > after]

    def waits(self) -> list[Wait]:
        """Return the open waits of all runs, the oldest first."""
        return sorted((wait for waits in self._waits.values() for wait in waits.values()), key=age)


def _digest(run_id: str, entry: Entry) -> bytes:
    return NewEntry(run_id, entry.kind, entry.key, entry.value, entry.by, entry.at).digest


def age(wait: Wait) -> tuple[int, str, str]:
    """Return what waits are ordered by."""
    return wait.opened_at, wait.run_id, wait.task
