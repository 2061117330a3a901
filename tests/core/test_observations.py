from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from builders import a_batch, a_stamp, an_observation
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DecodeError
from core.events import Event, Place
from core.grades import grade_of_fields
from core.incidents import Evidence, HistoryEntry, Incident
from core.observations import (
    KEY_GROUPS,
    Observation,
    decode_batch,
    encode_batch,
    key_group,
    pack,
    partition_of,
)
from store.things import Thing

finite = st.floats(-1e9, 1e9)
names = st.text("abcdefgh_青鸟", min_size=1, max_size=8)
observations = st.builds(
    Observation,
    source=names,
    thing_id=names,
    kind=names,
    observed_ns=st.integers(0, 2**62),
    received_ns=st.integers(0, 2**62),
    has_device_time=st.booleans(),
    repeated=st.booleans(),
    device_sequence=st.none() | st.integers(0, 2**40),
    lon_deg=st.none() | st.floats(-180, 180),
    lat_deg=st.none() | st.floats(-90, 90),
    error_major_m=st.none() | st.floats(0, 1e3),
    measures=st.dictionaries(names, finite, max_size=4),
    labels=st.dictionaries(names, names, max_size=3),
    snapshots=st.lists(names, max_size=2).map(tuple),
    topic=names,
)


@given(st.lists(observations, max_size=12))
def test_a_batch_gives_back_what_was_packed(rows: list[Observation]) -> None:
    batch = decode_batch(encode_batch(pack(rows, a_stamp())))
    assert list(batch) == rows
    assert batch.ids == [row.id for row in rows]


def test_id_depends_on_content_not_on_receipt() -> None:
    one = an_observation(1.0)
    assert msgspec.structs.replace(one, received_ns=1).id == one.id
    for change in (
        {"observed_ns": 1},
        {"thing_id": "w-2"},
        {"measures": {"water_level_m": 0.06}},
        {"lon_deg": 1.0},
        {"source": "senml"},
    ):
        assert msgspec.structs.replace(one, **change).id != one.id


def test_key_group_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from core.observations import key_group; print([key_group(f't-{i}') for i in range(50)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert outputs == {str([key_group(f"t-{i}") for i in range(50)]) + "\n"}


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 64])
def test_key_groups_are_dealt_out_evenly(partitions: int) -> None:
    counts = [0] * partitions
    for group in range(KEY_GROUPS):
        counts[group * partitions // KEY_GROUPS] += 1
    assert max(counts) - min(counts) <= 1
    assert 0 <= partition_of("t", partitions) < partitions


@pytest.mark.parametrize(
    ("data", "match"),
    [(b"", "bad_batch"), (b"\xc0", "bad_batch"), (b"\x81\xa1a\x01", "bad_batch")],
)
def test_a_record_that_is_no_batch_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(DecodeError, match=match):
        decode_batch(data)


def test_a_batch_with_columns_of_other_lengths_is_refused() -> None:
    batch = msgspec.structs.replace(a_batch(an_observation()), observed=b"")
    with pytest.raises(DecodeError, match="differ in length"):
        decode_batch(encode_batch(batch))


@pytest.mark.parametrize(
    "struct", [Observation, Event, Place, Incident, Evidence, HistoryEntry, Thing]
)
def test_every_field_has_a_data_grade(struct: type[msgspec.Struct]) -> None:
    assert [name for name, grade in grade_of_fields(struct).items() if grade is None] == []
