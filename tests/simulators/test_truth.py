"""The truth file."""

from __future__ import annotations

import pytest

from core.errors import InputError
from simulators.truth import Fault, NearMiss, Thing, TruthWriter, read_truth

THING = Thing(
    truth_id="a", scenario="gas-leak", lon_deg=120.0, lat_deg=36.0, began_ns=1, ended_ns=2,
    note="煤气", devices=("gas-0001",),
)  # fmt: skip
NEAR = NearMiss(
    truth_id="b", scenario="gas-leak", lon_deg=120.0, lat_deg=36.0, began_ns=1, ended_ns=2,
    note="n", radius_m=5.0,
)  # fmt: skip
FAULT = Fault(kind="delay", thing_id="gas-0001", observed_ns=1, delay_s=2.5)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "folder" / "truth.jsonl"
    with TruthWriter(path) as writer:
        writer.write([THING, NEAR])
        writer.write([])
        writer.write([FAULT])
        assert len(path.read_bytes().splitlines()) == 3
    truth = read_truth(path)
    assert truth == ([THING], [NEAR], [FAULT])


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "truth.jsonl"
    with TruthWriter(path) as writer:
        writer.write([THING, NEAR])
    path.write_bytes(path.read_bytes()[:-9])
    assert read_truth(path) == ([THING], [], [])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b'{"type":"thing"}\n', "line 1", id="keys missing"),
        pytest.param(b'\n\n{"type":"other"}\n', "line 3", id="unknown type"),
        pytest.param(b"nonsense\n\n", "line 1", id="no JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, says):
    path = tmp_path / "truth.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_truth(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        read_truth(tmp_path / "nowhere.jsonl")


def test_an_empty_file_is_an_empty_truth(tmp_path):
    path = tmp_path / "truth.jsonl"
    path.touch()
    assert read_truth(path) == ([], [], [])
