"""The campaigns find planted bugs: each of them is killed by the short form of one, and it is said by which law."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mutants.mutations import AWAITS, MANY, MUTANTS, Mutant

ROOT = Path(__file__).parents[2]

LONGEST_S = 300


def tried(package: Path, killers: tuple[str, ...]) -> str:
    """Run the short forms of campaigns against a package; return what killed it, or an empty text."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider"]
    for killer in killers:
        try:
            done = subprocess.run(
                [*command, killer],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{killer}: it doesn't come to an end"
        assert done.returncode in (0, 1), done.stdout + done.stderr
        if done.returncode:
            told = re.findall(r"^E +(.*)", done.stdout, re.MULTILINE) or ["?"]
            failed = re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", done.stdout, re.MULTILINE) or [killer]
            return f"{failed[0]}: {told[0][:150]}"
    return ""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fits_the_source(name: str, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    mutant.plant(tmp_path)
    if mutant.file.endswith(".py"):
        compile((tmp_path / "perdure" / mutant.file).read_text(), mutant.file, "exec")


@pytest.mark.campaign
def test_every_mutant_is_killed(tmp_path: Path) -> None:
    assert len(MUTANTS) >= 12
    began = time.perf_counter()
    survivors = []
    healthy = Mutant("none", "version.py", ())
    for name, mutant in {"(no mutant)": healthy, **MUTANTS}.items():
        folder = tmp_path / name.replace(" ", "_")
        mutant.plant(folder)
        killed_by = tried(folder, mutant.killers if mutant is not healthy else (AWAITS, MANY))
        print(f"\n{name}\n    law: {mutant.law}\n    killed by: {killed_by or 'nothing'}", flush=True)
        if bool(killed_by) == (mutant is healthy):
            survivors.append(name)
    print(f"\n{len(MUTANTS)} mutants in {time.perf_counter() - began:.0f} s")
    assert not survivors, f"not killed: {survivors}"
