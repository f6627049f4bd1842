"""Who waits for a run that another process drives takes it over when that process dies, and doesn't wait for ever."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from crash import sleeper
from perdure import Engine


def test_a_run_goes_on_with_who_waits_for_it_when_its_driver_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("sleeper.py")), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "asleep\n"

            async def wait() -> int:
                async with Engine.open(path, recover=False) as engine:
                    handle = await engine.start(sleeper.build(), run_id="run")
                    assert engine.driven("run") is None
                    driver.kill()
                    driver.wait()
                    return await asyncio.wait_for(handle.result(), 60)

            assert asyncio.run(wait()) == 2
        finally:
            driver.kill()
