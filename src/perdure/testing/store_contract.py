"""The contract of a store, as tests: every implementation passes the same ones.

    class TestMyStore(StoreContract):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path):
            self.path = tmp_path / "runs"

        def make_store(self):
            return MyStore(self.path)

Each test is a law of :class:`perdure.store.port.Store`. pytest makes an object of the class for each test, so what
``make_store`` refers to is new for each.
"""

from __future__ import annotations

from perdure.testing.store_laws.crashes import CrashLaws
from perdure.testing.store_laws.faults import FaultLaws
from perdure.testing.store_laws.housekeeping import HousekeepingLaws
from perdure.testing.store_laws.inbox import InboxLaws
from perdure.testing.store_laws.keeping import KeepingLaws
from perdure.testing.store_laws.leases import LeaseLaws
from perdure.testing.store_laws.logs import LogLaws
from perdure.testing.store_laws.reading import ReadingLaws
from perdure.testing.store_laws.runs import RunLaws
from perdure.testing.store_laws.waits import WaitLaws
from perdure.testing.store_laws.waking import WakingLaws


class StoreContract(
    RunLaws,
    LogLaws,
    ReadingLaws,
    LeaseLaws,
    WaitLaws,
    InboxLaws,
    WakingLaws,
    KeepingLaws,
    HousekeepingLaws,
    FaultLaws,
    CrashLaws,
):
    """The laws of a store; subclass it, name the class ``Test…`` and say how a store is made.

    Hooks: ``make_store`` is needed. ``in_other_process`` says how another process gets at the same data, where it can;
    without it the laws of crashes are skipped.
    """
