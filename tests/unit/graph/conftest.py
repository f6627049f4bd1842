"""Graphs here are built to look at them; where arms meet without a join, that is on purpose."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and "convergence" not in item.path.name:
            item.add_marker(pytest.mark.filterwarnings("ignore::perdure.errors.ConvergenceWarning"))
