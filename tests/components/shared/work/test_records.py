"""A record is trusted only when it verifies and its outputs are in place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.errors import UserError
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.s3 import client
from components.shared.storage.store import Store, Vouches, checksum, join_uri
from components.shared.work.records import (
    Output,
    Record,
    commit,
    input_hash,
    is_done,
    outputs_present,
    overwritten,
    read_record,
    record_key,
    unseal,
    withdraw,
    write_output,
)
from tests.components.shared.storage.memory_store import new_root
from tests.components.shared.work.rot import change_places, change_with_time_put_back

PARTS = st.lists(st.text("aé", max_size=2) | st.sampled_from([b"", b"a", b"aa", b"\xff"]), max_size=3)


def committed(store: Store, unit: str = "0-15") -> Record:
    output = write_output(store, "data/0.bin", b"12345", memoryview(b"6789"))
    record = Record(step="align", unit=unit, input_hash="abc", outputs=(output,))
    commit(store, record)
    return record


def test_a_record_is_read_as_it_was_sealed(store: Store) -> None:
    record = committed(store)
    assert read_record(store, "align", "0-15") == record
    assert record.outputs[0] == Output(
        uri=store.uri, key="data/0.bin", size_bytes=9, crc32c=checksum(b"123456789")
    )
    assert is_done(store, "align", "0-15", "abc")
    assert not is_done(store, "align", "0-15", "abd")
    assert not is_done(store, "align", "16-31", "abc")
    assert read_record(store, "tile", "0-15") is None


def test_the_units_of_a_step_are_unsealed_and_their_outputs_stay(store: Store) -> None:
    outputs = committed(store).outputs
    committed(store, "16-31")
    commit(store, Record(step="aligned", unit="0", input_hash="abc", outputs=()))
    assert unseal(store, "align") == 2
    assert not is_done(store, "align", "0-15", "abc")
    assert outputs_present(outputs)
    assert is_done(store, "aligned", "0", "abc")
    assert unseal(store, "align") == 0


def test_the_same_work_seals_the_same_bytes(store: Store) -> None:
    committed(store)
    first = store.read(record_key("align", "0-15"))
    committed(store)
    assert store.read(record_key("align", "0-15")) == first


def test_every_damage_makes_a_record_absent(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    committed(store)
    file = tmp_path / record_key("align", "0-15")
    whole = file.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        file.write_bytes(damaged)
        assert read_record(store, "align", "0-15") is None, position
        assert not is_done(store, "align", "0-15", "abc")
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert read_record(store, "align", "0-15") is None, length


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"step": "align"}', b"\xff\xfe", b'{"unknown": 1}'])
def test_a_sealed_text_that_is_no_record_is_absent(store: Store, body: bytes) -> None:
    store.write(record_key("align", "0"), body + b"\n" + checksum(body).encode() + b"\n")
    assert read_record(store, "align", "0") is None


def test_a_unit_is_not_done_without_its_outputs(store: Store) -> None:
    record = committed(store)
    assert outputs_present(record.outputs)
    assert outputs_present(())
    store.write("data/0.bin", b"shorter")
    assert not is_done(store, "align", "0-15", "abc")
    store.delete("data/0.bin")
    assert not is_done(store, "align", "0-15", "abc")
    store.write("data/0.bin", b"123456789")
    assert is_done(store, "align", "0-15", "abc")


def test_a_bucket_notices_other_bytes_of_the_same_size(bucket: str) -> None:
    store = open_store(f"gs://{bucket}/run")
    committed(store)
    store.write("data/0.bin", b"987654321")
    assert not is_done(store, "align", "0-15", "abc")


def test_an_s3_bucket_notices_other_bytes_whether_its_server_keeps_checksums_or_not(s3_bucket: str) -> None:
    """Each object tells for itself: the crc32c of it, or nothing, and then it is read."""
    store = open_store(f"s3://{s3_bucket}/run")
    record = committed(store)
    assert is_done(store, "align", "0-15", "abc")
    for content, is_right in ((b"987654321", False), (b"123456789", True)):
        store.write("data/0.bin", content)
        assert is_done(store, "align", "0-15", "abc") is is_right
        client().ask("put_object", Bucket=s3_bucket, Key="run/data/0.bin", Body=lambda told=content: told)
        assert outputs_present(record.outputs)  # as far as a size tells
        assert is_done(store, "align", "0-15", "abc") is is_right
        assert overwritten(store, record) == ([] if is_right else list(record.outputs))


def test_a_folder_notices_what_was_written_since(tmp_path: Path) -> None:
    """It keeps no checksums, but a file that is newer than its record is read."""
    store = FolderStore(tmp_path)
    committed(store)
    file = tmp_path / "data/0.bin"
    sealed_ns = (tmp_path / record_key("align", "0-15")).stat().st_mtime_ns
    file.write_bytes(b"987654321")
    os.utime(file, ns=(sealed_ns, sealed_ns + 1))
    assert not is_done(store, "align", "0-15", "abc")
    file.write_bytes(b"123456789")
    os.utime(file, ns=(sealed_ns, sealed_ns + 1))
    assert is_done(store, "align", "0-15", "abc")


def test_a_folder_notices_a_change_whose_time_was_put_back(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    record = committed(store)
    file = tmp_path / "data/0.bin"
    change_with_time_put_back(file, b"123456788")
    assert overwritten(store, record) == list(record.outputs)
    assert not is_done(store, "align", "0-15", "abc")
    change_with_time_put_back(file, b"123456789")
    assert is_done(store, "align", "0-15", "abc")


def test_a_folder_notices_files_of_one_size_that_have_changed_places(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    units = ("0", "1")
    for unit in units:
        outputs = (write_output(store, f"data/{unit}.bin", f"content {unit}".encode()),)
        commit(store, Record(step="tile", unit=unit, input_hash="abc", outputs=outputs))
    change_places(tmp_path / "data/0.bin", tmp_path / "data/1.bin")
    assert not any(is_done(store, "tile", unit, "abc") for unit in units)


def test_records_that_have_changed_places_are_absent(store: Store) -> None:
    committed(store)
    committed(store, "16-31")
    first, second = record_key("align", "0-15"), record_key("align", "16-31")
    contents = store.read(first), store.read(second)
    store.write(first, contents[1])
    store.write(second, contents[0])
    assert read_record(store, "align", "0-15") is None
    assert read_record(store, "align", "16-31") is None


def test_a_unit_whose_output_was_found_damaged_is_done_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    committed(store)
    withdraw(store, "align", "0-15", "abc")
    withdraw(store, "align", "0-15", "abc")
    assert not is_done(store, "align", "0-15", "abc")
    assert store.read("data/0.bin") == b"123456789"


def test_the_record_of_another_run_is_not_withdrawn(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    committed(store)
    withdraw(store, "align", "0-15", "of another run")
    assert is_done(store, "align", "0-15", "abc")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_record_in_a_bucket_is_not_withdrawn_since_outputs_are_compared(
    scheme: str, bucket: str, s3_bucket: str
) -> None:
    """No step may delete there."""
    store = open_store(f"{scheme}://{bucket if scheme == 'gs' else s3_bucket}/run")
    committed(store)
    withdraw(store, "align", "0-15", "abc")
    assert is_done(store, "align", "0-15", "abc")


def test_a_store_that_vouches_for_nothing_is_read_and_compared() -> None:
    """Neither a checksum nor a time tells that bytes are others, so they are looked at each time."""
    store = open_store(new_root("records"))
    record = committed(store)
    assert is_done(store, "align", "0-15", "abc")
    store.write("data/0.bin", b"987654321")
    assert outputs_present(record.outputs)  # as far as a size tells
    assert overwritten(store, record) == list(record.outputs)
    assert not is_done(store, "align", "0-15", "abc")
    store.write("data/0.bin", b"123456789")
    assert is_done(store, "align", "0-15", "abc")


def test_a_folder_beside_a_bucket_is_read_too(bucket: str, tmp_path: Path) -> None:
    """Its times are told by another clock than the record's."""
    process, folder = open_store(f"gs://{bucket}/run"), FolderStore(tmp_path)
    outputs = (write_output(folder, "a", b"123"),)
    commit(process, Record(step="align", unit="0", input_hash="abc", outputs=outputs))
    assert is_done(process, "align", "0", "abc")
    (tmp_path / "a").write_bytes(b"321")
    assert not is_done(process, "align", "0", "abc")


def test_what_a_store_vouches_for_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(store)
    keys = []
    read = type(store).read

    def note(self: Store, key: str, crc32c: str | None = None) -> bytes:
        keys.append(key)
        return read(self, key, crc32c)

    monkeypatch.setattr(type(store), "read", note)
    assert is_done(store, "align", "0-15", "abc")
    looked_at = ["data/0.bin"] if store.vouches is Vouches.NOTHING else []
    assert keys == [record_key("align", "0-15"), *looked_at]


def test_outputs_may_lie_in_several_stores(store: Store) -> None:
    other = open_store(join_uri(store.uri, "chunk"))
    outputs = (write_output(store, "a", b"1"), write_output(other, "b", b"22"))
    assert outputs_present(outputs)
    other.delete("b")
    assert not outputs_present(outputs)


def test_a_unit_may_not_leave_the_records(store: Store) -> None:
    with pytest.raises(UserError, match="stay inside"):
        commit(store, Record(step="align", unit="../../x", input_hash="a", outputs=()))


@given(PARTS, PARTS)
def test_input_hashes_are_equal_only_for_equal_parts(
    one: list[str | bytes], other: list[str | bytes]
) -> None:
    def encoded(parts: list[str | bytes]) -> list[bytes]:
        return [part.encode() if isinstance(part, str) else part for part in parts]

    assert (input_hash(*one) == input_hash(*other)) == (encoded(one) == encoded(other))


def test_input_hashes_stay_the_same_from_release_to_release() -> None:
    expected = hashlib.sha256(bytes(7) + b"\x01a" + bytes(7) + b"\x02bc").hexdigest()[:32]
    assert input_hash("a", b"bc") == input_hash(b"a", "bc") == expected
