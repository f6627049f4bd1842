"""What the demo prints in the end: the proof, the report, the graph, and where the log lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perdure.cli.demo.proof import Proof
from perdure.cli.demo.story import Story
from perdure.cli.output import print_facts, print_heading, print_table

UNREADABLE_SHOWN = 10


def story_data(story: Story, db: Path, folder: Path, mermaid: str) -> dict[str, Any]:
    """Return all of it, for JSON."""
    killed, proof, inspection = story.killed, story.proof, story.inspection
    return {
        "db": str(db),
        "run_id": story.run_id,
        "path": str(folder),
        "files": story.files,
        "seconds": {part: round(seconds, 3) for part, seconds in story.seconds.items()},
        "killed": {
            "pid": killed.pid,
            "surveyed": killed.surveyed,
            "events": killed.inspection.info.last_seq,
            "counts": dict(killed.inspection.counts),
        }
        if killed is not None
        else None,
        "proof": {**{name: getattr(proof, name) for name in proof.__struct_fields__}, "holds": proof.holds}
        if proof is not None
        else None,
        "report": inspection.result if inspection is not None else None,
        "state": inspection.state if inspection is not None else None,
        "mermaid": mermaid,
    }


def print_story(story: Story, db: Path, folder: Path, mermaid: str) -> None:
    """Print what came of it."""
    if story.proof is not None:
        print_proof(story.proof)
    if story.inspection is not None:
        print_report(story.inspection.result, folder)
    print_heading("The graph, as Mermaid draws it")
    click.echo(mermaid)
    print_heading("The log")
    click.echo(f"{db} ({db.stat().st_size / 1e6:.1f} MB). Look into it with:")
    for command in ("show", "history"):
        click.echo(f"  perdure {command} {story.run_id} --db {db}")
    click.echo(f"  perdure verify --db {db}")


def print_proof(proof: Proof) -> None:
    """Print what was counted in the log."""
    print_heading("What the log proves")
    started = f"{proof.started_after} tasks were started after the kill"
    print_facts(
        [
            ("before", f"{proof.completed_before} tasks had completed when the process died, {proof.in_flight} were in flight"),
            ("after", f"{started}; {proof.in_flight_started_again} of them for the second time, having been in flight"),
            (_mark(not proof.completed_started_again), f"{proof.completed_started_again} completed tasks were started again"),
            (_mark(not proof.completed_twice), f"{proof.completed_twice} tasks completed twice"),
            (_mark(not proof.folded_twice), f"{proof.folded_twice} of {proof.folded} values were folded twice"),
            (_mark(proof.chain_is_sound), f"the chain of hashes over {proof.events} events is {_sound(proof)}"),
            (
                _mark(proof.equals_uninterrupted),
                f"the result {'equals' if proof.equals_uninterrupted else 'differs from'} that of the uninterrupted run",
            ),
        ]
    )  # fmt: skip


def _mark(is_right: bool) -> str:
    return "ok" if is_right else "WRONG"


def _sound(proof: Proof) -> str:
    return "sound" if proof.chain_is_sound else "damaged"


def print_report(report: dict[str, Any], folder: Path) -> None:
    """Print the census."""
    totals, peak = report["totals"], report["peak"]
    print_heading(f"Census of {folder}")
    print_table(("WHAT", "COUNT"), [(name.replace("_", " "), f"{count:,}") for name, count in totals.items()])
    if report["imports"]:
        click.echo()
        print_table(("MOST IMPORTED", "FILES"), [(name, str(count)) for name, count in report["imports"].items()])
    click.echo()
    if peak["function"]:
        path = _inside(peak["path"], folder)
        click.echo(
            f"The most complex function is {peak['function']} in {path}, with a complexity of {peak['complexity']}."
        )
    unreadable = report["unreadable"]
    if unreadable:
        listed = ", ".join(_inside(path, folder) for path in unreadable[:UNREADABLE_SHOWN])
        more = f" and {len(unreadable) - UNREADABLE_SHOWN} more" if len(unreadable) > UNREADABLE_SHOWN else ""
        click.echo(f"Not readable as Python: {len(unreadable)} ({listed}{more}).")


def _inside(path: str, folder: Path) -> str:
    return path.removeprefix(f"{folder}/")
