"""Large values are kept apart, items come in chunks, and what is too large is refused."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from perdure import CodecError
from perdure.codec.blobs import MAX_INLINE_BYTES, BlobMissing, Blobs, blob_digest, resolved
from perdure.codec.codec import CHUNK_ITEMS, Codec, Written, encoded_events
from perdure.codec.plans import MAX_VALUE_BYTES
from unit.codec.exchange import codec_for, read

KB = 1 << 10


@dataclass
class Page:
    text: str
    words: list[str]


# --- blobs -------------------------------------------------------------------------------------------------------


def test_a_value_of_256_kb_stands_in_its_event_and_a_larger_one_apart() -> None:
    codec, blobs = codec_for(str), Blobs()
    small, large = "a" * (MAX_INLINE_BYTES - 2), "a" * (MAX_INLINE_BYTES - 1)
    assert blob_digest(codec.write("__start__", small, blobs)) is None
    assert not blobs.unsaved
    raw = codec.write("__start__", large, blobs)
    assert blob_digest(raw) in blobs.unsaved
    assert len(bytes(raw)) < 100
    assert codec.read("__start__", raw, blobs) == large


@pytest.mark.parametrize("annotation", [str, Any, Page, list[Page], dict[str, str], int, tuple[str, ...]], ids=str)
def test_a_value_that_is_kept_apart_comes_back(annotation: Any) -> None:
    codec, blobs, text = codec_for(annotation, Page), Blobs(), "ä" * 200_000
    for value in (text, Page(text, ["b"]), [Page("", [text])], {"a": text}, (text, 1)):
        raw = codec.write("__start__", value, blobs)
        assert blob_digest(raw) is not None
        assert codec.read("__start__", raw, blobs) == value


def test_a_value_whose_bytes_are_not_at_hand_is_missing_until_they_are_fetched() -> None:
    codec, here, there = codec_for(Any), Blobs(), Blobs()
    raw = codec.write("", "a" * MAX_INLINE_BYTES, here)
    with pytest.raises(BlobMissing) as missing:
        codec.read("", raw, there)
    assert missing.value.digest == blob_digest(raw)
    there.add(missing.value.digest, here.unsaved[missing.value.digest])
    assert codec.read("", raw, there) == "a" * MAX_INLINE_BYTES
    assert resolved(raw, there) == here.get(missing.value.digest)


def test_equal_values_are_kept_once() -> None:
    codec, blobs = codec_for(Any), Blobs()
    first, second = (codec.write("", "a" * 300 * KB, blobs) for _ in range(2))
    assert first == second
    assert len(blobs.unsaved) == 1


def test_saved_blobs_stay_at_hand_until_there_are_too_many() -> None:
    blobs = Blobs(capacity_bytes=2 * KB)
    for name in "abc":
        blobs.unsaved[name] = bytes(KB)
        blobs.save()
    assert blobs.unsaved == {}
    assert len(blobs.get("c")) == len(blobs.get("b")) == KB
    with pytest.raises(BlobMissing):
        blobs.get("a")


def test_the_last_blob_stays_however_large() -> None:
    blobs = Blobs(capacity_bytes=1)
    blobs.unsaved["a"] = bytes(KB)
    blobs.save()
    assert len(blobs.get("a")) == KB


def test_a_value_that_is_kept_apart_refers_to_no_other() -> None:
    codec, blobs = codec_for(Any), Blobs()
    reference = b'{"$":"blob","v":"loop","bytes":9}'
    blobs.add("loop", reference)
    with pytest.raises(CodecError, match="refers to another one"):
        codec.read("", msgspec.Raw(reference), blobs)


def test_no_value_of_a_user_is_taken_for_a_reference() -> None:
    for value in ({"$": "blob", "v": "x"}, '{"$":"blob",', {"$": {"$": "blob"}}):
        raw = codec_for(Any).write("", value, Blobs())
        assert blob_digest(raw) is None
        assert read(Any, bytes(raw)) == value


# --- the limit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotation", [str, Any, bytes], ids=str)
def test_a_value_of_more_than_64_mb_is_refused(annotation: Any) -> None:
    codec, blobs = codec_for(annotation), Blobs()
    most = MAX_VALUE_BYTES - 2
    assert blob_digest(codec.write("__start__", "a" * most, blobs)) is not None
    with pytest.raises(CodecError, match="more than the 64 MB a value may take") as refused:
        codec.write("__start__", "a" * (most + 1), blobs)
    assert refused.value.remedy == "Keep it elsewhere and pass a reference, or map over its parts"


# --- chunks ------------------------------------------------------------------------------------------------------


def items_of(codec: Codec, chunks: list[tuple[int, msgspec.Raw]], blobs: Blobs) -> list[Any]:
    read_chunks = [codec.read_items("__start__", raw, blobs) for _, raw in chunks]
    assert [len(items) for items in read_chunks] == [count for count, _ in chunks]
    return [item for items in read_chunks for item in items]


@pytest.mark.parametrize(
    "items",
    [
        [], [1], list(range(CHUNK_ITEMS)), list(range(3 * CHUNK_ITEMS + 1)), ["a" * KB] * 2_500, ["a" * 255 * KB] * 5,
        [1, "a" * 300 * KB, 2, "b" * 300 * KB], ["a" * KB * (number % 200) for number in range(300)], [Page("a", ["b"])] * 1_500,
        [None, (), {1: 2}] * 500,
    ],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize("annotation", [list[int], list[Any], list[Page], tuple[str, ...], Any], ids=str)
def test_items_are_recorded_in_chunks_of_at_most_1000_and_256_kb(annotation: Any, items: list[Any]) -> None:
    codec, blobs = codec_for(annotation, Page), Blobs()
    chunks = codec.write_items("__start__", items, blobs)
    assert all(1 <= count <= CHUNK_ITEMS for count, _ in chunks)
    assert all(len(bytes(raw)) <= MAX_INLINE_BYTES for _, raw in chunks)
    assert all(count == 1 for count, raw in chunks if blob_digest(raw) is not None)
    assert items_of(codec, chunks, blobs) == items


def test_chunks_are_not_much_smaller_than_they_may_be() -> None:
    chunks = codec_for(list[str]).write_items("__start__", ["a" * KB] * 2_000, Blobs())
    assert len(chunks) <= 10


def test_the_limit_holds_for_an_item_not_for_all_of_them() -> None:
    codec, blobs = codec_for(list[str]), Blobs()
    text = "a" * 70 * KB
    chunks = codec.write_items("__start__", [text] * 1_000, blobs)
    assert sum(count for count, _ in chunks) == 1_000
    with pytest.raises(CodecError, match="64 MB"):
        codec.write_items("__start__", ["a", "b" * MAX_VALUE_BYTES], blobs)


@pytest.mark.parametrize("place", [0, 999, 1_000, 2_345])
@pytest.mark.parametrize("annotation", [list[int], Any], ids=str)
def test_an_item_that_cannot_be_stored_is_named_by_its_place_among_all(annotation: Any, place: int) -> None:
    items: list[Any] = ["a" * 500] * 3_000
    items[place] = {"x": [object()]}
    with pytest.raises(CodecError) as refused:
        codec_for(annotation).write_items("__start__", items, Blobs())
    assert refused.value.path == f"$[{place}]['x'][0]"
    assert refused.value.where == "items of the inputs"


def test_items_are_copies_of_their_own_at_each_reading() -> None:
    codec, blobs, shared = codec_for(list[list[int]]), Blobs(), [1]
    [(_, raw)] = codec.write_items("__start__", [shared, shared], blobs)
    shared.append(2)
    first, second = codec.read_items("__start__", raw, blobs)
    assert first == second == [1]
    assert first is not second
    first.append(5)
    assert codec.read_items("__start__", raw, blobs) == [[1], [1]]


def test_a_value_is_a_copy_of_its_own_at_each_reading() -> None:
    codec, blobs = codec_for(Page), Blobs()
    page = Page("a", ["b"])
    raw = codec.write("__start__", page, blobs)
    one, other = codec.read("__start__", raw, blobs), codec.read("__start__", raw, blobs)
    assert one == other == page
    assert len({id(each.words) for each in (one, other, page)}) == 3


# --- events ------------------------------------------------------------------------------------------------------


def test_an_event_holds_what_was_written() -> None:
    assert encoded_events([["Kind", Written([1], msgspec.Raw(b"[1]")), msgspec.Raw(b"5")]]) == b'[["Kind",[1],5]]'


def test_an_event_that_holds_anything_else_is_a_defect() -> None:
    with pytest.raises(TypeError, match="wasn't written"):
        encoded_events([["Kind", object()]])
