"""What is typed: ids and names are completed, beginnings of ids are taken, and Ctrl-C and a closed pipe end quietly."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from perdure.cli.exits import Exit

PERDURE = [sys.executable, "-m", "perdure.cli.main"]


def completed(line: str, db: Path) -> list[str]:
    """Return what bash would offer at the end of a line."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", "from perdure.cli.main import main; main()"],
        env={**os.environ, "PERDURE_DB": str(db), "_PERDURE_COMPLETE": "bash_complete", "COMP_WORDS": line,
             "COMP_CWORD": str(len(words) - 1)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [offered.partition(",")[2] for offered in done.stdout.split()]


def test_commands_options_runs_and_graphs_are_completed(db, tmp_path) -> None:
    assert completed("perdure wa", db) == ["watch", "waiting"]
    assert completed("perdure show ", db) == ["left", "bad", "good"]
    assert completed("perdure diff good b", db) == ["bad"]
    assert completed("perdure waiting --run le", db) == ["left"]
    assert completed("perdure runs --graph o", db) == ["orders"]
    assert completed("perdure watch --unt", db) == ["--until"]
    assert completed("perdure completion z", db) == ["zsh"]
    other = tmp_path / "other.db"
    shutil.copy(db, other)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("UPDATE run SET run_id = 'elsewhere' WHERE run_id = 'good'")
        connection.commit()
    assert completed(f"perdure show --db {other} el", db) == ["elsewhere"]


def test_nothing_is_completed_from_what_is_no_database(tmp_path) -> None:
    (tmp_path / "text").write_text("not a database" * 1000)
    for name in ("none", "text"):
        assert completed("perdure show ", tmp_path / name) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(perdure, shell) -> None:
    code, out, err = perdure("completion", shell)
    assert (code, err) == (0, "")
    assert "_PERDURE_COMPLETE" in out
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=out, text=True, check=True, timeout=60)


def test_the_beginning_of_an_id_is_enough_to_look_at_a_run_and_not_to_change_it(perdure, db) -> None:
    assert perdure("show", "goo", "--db", db, "--json").data["run_id"] == "good"
    assert perdure("diff", "goo", "ba", "--db", db, "--json").code == 0
    code, out, err = perdure("cancel", "lef", "--db", db)
    assert (code, out) == (4, "")
    assert err.endswith("holds no run 'lef'. Did you mean left?\n")
    assert perdure("fork", "good", "--at", "1", "--new-id", "good-2", "--db", db).code == 0
    assert perdure("show", "good", "--db", db, "--json").data["run_id"] == "good"
    code, out, err = perdure("show", "go", "--db", db)
    assert (code, out) == (4, "")
    assert err == "perdure: 'go' is the beginning of 2 runs: good-2, good. Give more of it\n"


def test_a_command_that_there_is_not_is_answered_with_similar_ones(perdure) -> None:
    code, out, err = perdure("retyr")
    assert (code, out) == (2, "")
    assert "Did you mean retry?" in err


def test_ctrl_c_ends_a_watch_in_a_line_and_leaves_the_run_alone(db) -> None:
    # A shell may have had the tests ignore Ctrl-C, as those do that it starts in the background; their children would, too.
    with subprocess.Popen(
        [*PERDURE, "watch", "left", "--db", str(db)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            assert "RunStarted" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, err = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert (watching.returncode, err.strip()) == (Exit.INTERRUPTED, "perdure: interrupted")


def test_a_run_that_another_process_drives_is_drawn_on_a_terminal_until_its_end(db) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", NO_COLOR="1", COLUMNS="100", LINES="10")
        os.execv(sys.executable, [*PERDURE, "watch", "left", "--db", str(db)])
    try:
        seen = read_until(terminal, "1 of 2 done")
        subprocess.run(
            [*PERDURE, "recover", "left", "--app", "orders:graph", "--db", str(db)],
            env={**os.environ, "ORDERS_GO_ON": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        seen += read_until(terminal, None)
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == Exit.OK
    assert "2 of 2 done" in seen
    assert "COMPLETED" in seen
    assert "\x1b[3" not in seen  # no colours; the cursor moves


def read_until(terminal: int, wanted: str | None) -> str:
    """Read what is drawn, up to a text or the end."""
    seen = ""
    while wanted is None or wanted not in seen:
        assert select.select([terminal], [], [], 60)[0], f"nothing more was drawn: {seen}"
        try:
            part = os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:  # Linux says so at the end
            part = ""
        if not part:
            assert wanted is None, seen
            break
        seen += part
    return seen


@pytest.mark.parametrize(
    "arguments", [["--help"], ["history", "good"], ["history", "good", "--json"], ["export", "good"]]
)
def test_a_reader_that_goes_away_is_no_error(db, arguments) -> None:
    command = " ".join([sys.executable, "-m", "perdure.cli.main", *arguments])
    done = subprocess.run(
        ["sh", "-c", f"{command} | true"], env={**os.environ, "PERDURE_DB": str(db)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


AS_NOBODY = """
import contextlib, io, os, sys
from perdure.cli.main import main, run

*arguments, file, other = sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()):
    run([*arguments, "--db", other])  # so that all is imported: nobody may not do that
os.getuid() or os.setuid(65534)
main([*arguments, "--db", file])
"""


def as_nobody(path: Path, other: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call a command as somebody who can't write: as another user if this one is root, who can write everywhere."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments, str(path), str(other)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_file_is_read_by_who_may_not_write_to_it(db) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can't be entered by others
        path = Path(folder) / "runs.db"
        shutil.copy(db, path)
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        try:
            done = as_nobody(path, db, "show", "good")
            assert (done.returncode, done.stderr) == (0, "")
            assert as_nobody(path, db, "runs").stdout.count("\n") == 4
            done = as_nobody(path, db, "cancel", "left")
            assert (done.returncode, done.stdout) == (6, "")
            assert "may not write to it" in done.stderr
            assert os.listdir(folder) == ["runs.db"]
        finally:
            Path(folder).chmod(0o755)


def test_what_only_reads_leaves_the_file_as_it_was(perdure, db) -> None:
    before = db.read_bytes()
    for arguments in (
        ["runs"],
        ["show", "good"],
        ["explain", "left"],
        ["watch", "good"],
        ["doctor"],
        ["export", "good"],
    ):
        assert perdure(*arguments, "--db", db).code in (0, 1)
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.iterdir()] == [db.name]
