"""``perdure demo``: a census of Python sources that is killed half-way and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, db_option, json_option
from perdure.cli.exits import Exit
from perdure.cli.output import print_json

if TYPE_CHECKING:
    from perdure.cli.demo.story import Story


@click.command("demo")
@click.option(
    "--path",
    "folder",
    type=click.Path(exists=True, file_okay=False, readable=True, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="The Python files to survey; those of the standard library if it isn't given.",
)
@click.option("--no-crash", is_flag=True, help="Don't kill anything.")
@db_option
@json_option
@click.pass_context
def command(ctx: click.Context, folder: Path | None, no_crash: bool, db: Path, as_json: bool) -> None:
    """Kill a run of a real graph half-way, and watch it go on.

    A worker process tokenises and parses a thousand files and more. It is killed with SIGKILL at a random moment; another
    process goes on. Then the log is asked whether anything that was finished ran again, and the result is compared with
    that of a run that nobody kills.

    \b
    Examples:
      perdure demo
      perdure demo --path src --db demo.db
    """
    from perdure.cli.demo.census import census, files_of, standard_library  # noqa: PLC0415
    from perdure.cli.demo.report import print_story, story_data  # noqa: PLC0415

    folder = folder or Path(standard_library())
    files = len(files_of(str(folder)))
    if not files:
        raise click.BadParameter(f"there are no Python files in {folder}", param_hint="--path")
    db = db.absolute()
    story = awaited(_told(db, folder, files, no_crash, as_json))
    mermaid = census().render()
    if as_json:
        print_json(story_data(story, db, folder, mermaid))
    else:
        print_story(story, db, folder, mermaid)
    if story.proof is not None and not story.proof.holds:
        ctx.exit(Exit.FAILED)


async def _told(db: Path, folder: Path, files: int, no_crash: bool, as_json: bool) -> Story:
    from perdure.cli.demo.story import Demo  # noqa: PLC0415
    from perdure.cli.demo.telling import telling  # noqa: PLC0415
    from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415

    store = SQLiteStore(db)
    await store.open()
    try:
        demo = Demo(store, db, folder, files, telling(as_json))
        return await (demo.without_crash() if no_crash else demo.with_crash())
    finally:
        await store.close()
