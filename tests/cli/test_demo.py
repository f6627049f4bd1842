"""The demo kills what it says it kills, and proves what it says it proves."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from perdure.cli.demo.census import files_of, most_frequent
from perdure.cli.demo.survey import Survey, Unreadable, survey
from perdure.cli.demo.victim import Worker


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "package.py").mkdir(parents=True)
    for number in range(30):
        (folder / f"module_{number:02}.py").write_text(
            f"import os\n\n\ndef f{number}(x):\n    return x if x else {number}\n"
        )
    (folder / "empty.py").touch()
    (folder / "wrong.py").write_text("def f(:\n")
    (folder / "binary.py").write_bytes(bytes(range(256)) * 8)
    (folder / "gone.py").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("not Python")
    return folder


def living_in_session(session: int) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if fields[3] == str(session) and fields[0] not in "ZX":
            found.append(text)
    return found


def test_a_killed_census_goes_on_and_nothing_finished_runs_again(perdure, sources, tmp_path) -> None:
    code, out, _ = perdure("demo", "--path", sources, "--db", tmp_path / "demo.db", "--json")
    assert code == 0
    data = json.loads(out)
    assert data["files"] == 34
    assert data["killed"]["events"] == data["proof"]["killed_after"]
    assert data["proof"]["holds"]
    assert data["proof"]["completed_before"] > 0
    assert data["proof"]["in_flight"] == data["proof"]["in_flight_started_again"]
    assert data["report"]["totals"] == {
        "files": 31,
        "lines": 150,
        "code_lines": 90,
        "comment_lines": 0,
        "functions": 30,
        "classes": 0,
    }
    assert data["report"]["imports"] == {"os": 30}
    assert [Path(path).name for path in data["report"]["unreadable"]] == ["binary.py", "gone.py", "wrong.py"]
    assert data["mermaid"].startswith("stateDiagram-v2")
    assert perdure("verify", "--db", tmp_path / "demo.db").code == 0
    shown = perdure("show", data["run_id"], "--db", tmp_path / "demo.db", "--json").data
    assert len(shown["segments"]) == 2
    assert shown["state"]["files"] == 34
    assert living_in_session(data["killed"]["pid"]) == []


def test_a_census_can_be_left_alone_and_told_in_words(perdure, sources, tmp_path) -> None:
    code, out, _ = perdure("demo", "--path", sources, "--db", tmp_path / "demo.db", "--no-crash")
    assert code == 0
    assert "run: 34 of 34 files" in out
    assert "The most complex function is f29 in module_29.py, with a complexity of 2." in out
    assert "state readable <<choice>>" in out
    assert str(tmp_path / "demo.db") in out
    assert "Killed" not in out


def test_a_folder_without_python_is_wrong_usage(perdure, tmp_path) -> None:
    code, _, err = perdure("demo", "--path", tmp_path, "--db", tmp_path / "demo.db")
    assert code == 2
    assert "there are no Python files" in err
    assert perdure("demo", "--path", tmp_path / "nowhere").code == 2
    assert not (tmp_path / "demo.db").exists()


def test_a_worker_that_fails_says_why(perdure, sources, tmp_path) -> None:
    code, _, err = perdure("demo", "--path", sources, "--db", tmp_path)
    assert code == 6
    assert "it is a folder" in err


def test_a_worker_ends_with_the_process_that_started_it(tmp_path, sources) -> None:
    with Worker(tmp_path / "demo.db", "run", sources) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        assert worker._process.stdin is not None
        worker._process.stdin.close()
        os.kill(worker.pid, signal.SIGCONT)
        assert worker._process.wait() == 1


def test_a_survey_counts_what_is_there(tmp_path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "# a comment\nimport os.path, sys\nfrom . import near\n\n\nclass C:\n"
        '    """Two\n    lines."""\n\n    async def f(self, x):\n        if x and self or not x:  # twice\n'
        "            return [y for y in x]\n        match x:\n            case 1:\n                return 2"
    )
    found = survey(str(path))
    assert found == Survey(
        path=str(path),
        lines=15,
        code_lines=11,
        comment_lines=2,
        functions=1,
        classes=1,
        imports=["os", "sys"],
        complexity=6,
        most_complex="f",
    )
    deep = tmp_path / "deep.py"
    deep.write_text("x = " + "(" * 5000 + ")" * 5000)
    assert isinstance(survey(str(deep)), Unreadable)


def test_a_file_name_that_is_no_text_is_found_unreadable(tmp_path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.py", "w") as file:
        file.write("x = 1")
    (name,) = files_of(str(tmp_path))
    assert isinstance(survey(name), Unreadable)


def test_equally_frequent_imports_come_by_name() -> None:
    assert list(most_frequent({"b": 1, "a": 1, "c": 2})) == ["c", "a", "b"]
