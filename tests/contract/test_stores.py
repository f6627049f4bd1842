"""The contract of a store, kept by each of ours."""

import asyncio
from pathlib import Path

import pytest

from perdure.store.memory import MemoryStore
from perdure.store.sqlite.store import SQLiteStore
from perdure.testing import StoreContract


class Campaigns:
    """Long forms of some laws."""

    @pytest.mark.campaign
    def test_5000_cancelled_callers_leave_the_whole_commit_or_nothing(self, capsys):
        async def main():
            store = self.make_store()
            await store.open()
            seen = await self.cancel_callers(store, 5000, seed=1)
            await store.close()
            return seen

        seen = asyncio.run(main())
        with capsys.disabled():
            print(f"\n{type(self).__name__}: {seen.total()} callers cancelled at random: {dict(seen)}")


class TestMemoryStore(Campaigns, StoreContract):
    @pytest.fixture(autouse=True)
    def memory(self):
        self.store = MemoryStore()

    def make_store(self):
        return self.store


class TestSQLiteStore(Campaigns, StoreContract):
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path):
        self.path = tmp_path / "runs.db"

    def make_store(self):
        return SQLiteStore(self.path)

    def in_other_process(self):
        return "perdure.store.sqlite.store:SQLiteStore", str(self.path)
