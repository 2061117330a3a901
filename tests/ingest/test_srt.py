"""The side-car files of four real aircraft."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.city import CameraPose
from core.errors import InputError
from core.units import ns_to_rfc3339
from ingest.video.srt import SideCar, find_side_car

USUAL = CameraPose(
    lon_deg=0.0,
    lat_deg=0.0,
    height_agl_m=60.0,
    yaw_deg=10.0,
    pitch_deg=-90.0,
    hfov_deg=73.7,
    width_px=1920,
    height_px=1080,
)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "lon_deg", "lat_deg", "height_m"),
    [
        ("m2zoom.SRT", 74.398751, 31.452012, 60.0),  # Lahore; altitude of unknown datum
        ("matrice_300.srt", -6.1120, 36.6146, 1.3),  # Cádiz; latitude first
        ("mavic_air2.srt", 2.162162, 41.420684, 60.0),  # Barcelona
        ("p4p_sample.SRT", 8.2090, 47.4692, 45.6),  # Switzerland; longitude first
    ],
)
def test_each_model_is_where_it_was(
    realdata: Path, name: str, lon_deg: float, lat_deg: float, height_m: float
):
    path = realdata / "drone/dji_srt" / name
    if not path.is_file():
        pytest.skip(f"no side-car file {path}")
    pose = SideCar(path).pose(3_000_000_000, USUAL)
    assert pose is not None
    assert pose.lon_deg == pytest.approx(lon_deg, abs=1e-3)
    assert pose.lat_deg == pytest.approx(lat_deg, abs=1e-3)
    assert pose.height_agl_m == pytest.approx(height_m)
    assert (pose.pitch_deg, pose.hfov_deg) == (-90.0, 73.7)


@pytest.mark.realdata
def test_the_aircrafts_clock_gives_the_pictures_time(realdata: Path):
    path = realdata / "drone/dji_srt/mavic_air2.srt"
    if not path.is_file():
        pytest.skip(f"no side-car file {path}")
    utc_ns = SideCar(path).utc_ns(20_000_000, 7200.0)
    assert utc_ns is not None
    assert ns_to_rfc3339(utc_ns) == "2022-05-01T13:01:58.552Z"


def test_what_says_nothing_is_refused(tmp_path: Path):
    path = tmp_path / "clip.SRT"
    path.write_text("not subtitles")
    assert find_side_car(tmp_path / "clip.MP4") == path
    with pytest.raises(InputError, match="no subtitle with a time"):
        SideCar(path)


def test_zeros_are_no_place(tmp_path: Path):
    path = tmp_path / "clip.SRT"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\n[latitude: 0.0] [longitude: 0.0]\n")
    assert SideCar(path).at(0).lon_deg is None
