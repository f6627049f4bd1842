"""The chain: whatever is changed in a row, or between rows, is noticed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import StoreCorrupt
from perdure.store.chain import blob_name, chain_start, verify_blob, verify_row
from perdure.store.records import Row
from perdure.testing.store_laws.writing import Log, events


def verify(rows, run_id="run", graph="graph"):
    seq, head = 0, chain_start(run_id, graph)
    for row in rows:
        verify_row(row, head, run_id, seq, "store")
        seq, head = seq + row.count, row.hash


@pytest.fixture
def rows():
    log = Log("run", 3)
    for turn in range(4):
        log.took(log.following(events(turn, turn), events("x")))
    return log.rows


def test_a_log_as_it_was_written_verifies(rows):
    verify(rows)


@pytest.mark.parametrize(
    "change",
    [{"events": events("y")}, {"epoch": 4}, {"ts": 1}, {"hash": b"\x00" * 16}, {"count": 2}, {"first": 1}],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_row_that_was_changed_is_noticed(rows, place, change):
    changed = msgspec.structs.replace(rows[place], **change)
    if changed == rows[place]:
        return
    with pytest.raises(StoreCorrupt, match="run 'run', events"):
        verify((*rows[:place], changed, *rows[place + 1 :]))


@given(st.data())
def test_rows_that_were_dropped_swapped_or_repeated_are_noticed(data):
    log = Log("run", 3)
    for turn in range(6):
        log.took(log.following(events(turn)))
    order = data.draw(st.lists(st.integers(0, 5), min_size=1))
    if order == [*range(len(order))]:
        verify([log.rows[index] for index in order])
    else:
        with pytest.raises(StoreCorrupt):
            verify([log.rows[index] for index in order])


@pytest.mark.parametrize(("run_id", "graph"), [("ru", "graph"), ("run", "graphs"), ("rung", "raph")])
def test_the_log_of_another_run_or_graph_is_noticed(rows, run_id, graph):
    with pytest.raises(StoreCorrupt):
        verify(rows, run_id, graph)


def test_the_message_says_where(rows: tuple[Row, ...]):
    with pytest.raises(StoreCorrupt, match="run 'run', events 4 to 5: they follow event 0, so some are missing"):
        verify(rows[2:])


def test_a_blob_is_what_it_is_named_after():
    verify_blob(b"data", blob_name(b"data"), "run", "store")
    with pytest.raises(StoreCorrupt, match="isn't what was written"):
        verify_blob(b"date", blob_name(b"data"), "run", "store")
