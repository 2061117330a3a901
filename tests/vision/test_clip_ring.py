"""The last seconds of cameras: which frames a clip has, and what bounds them."""

from __future__ import annotations

import numpy as np

from core.city import CameraPose
from vision.clip_ring import AFTER_S, BEFORE_S, MAX_PENDING, ClipRing
from vision.darkroom import Negative, pack_mask

S = 1_000_000_000
POSE = CameraPose(
    lon_deg=120.0, lat_deg=36.0, height_agl_m=7.0, yaw_deg=0.0, pitch_deg=-25.0, hfov_deg=70.0,
    width_px=64, height_px=36,
)  # fmt: skip


def a_negative(at_s: float, *clips: str, camera: str = "c", jpeg: bytes = b"j" * 100) -> Negative:
    mask = np.zeros((3, 5), np.uint8)
    mask[1, 2:4] = 255
    return Negative(
        camera_id=camera,
        time_ns=round(at_s * S),
        jpeg=jpeg,
        pose=POSE,
        suspect_bits=pack_mask(mask),
        suspect_shape=(3, 5),
        shots=(),
        shown=(),
        moving=(),
        outlines_px=(),
        street_ns=0,
        clips=clips,
    )


def seconds(frames: tuple[Negative, ...]) -> list[float]:
    return [one.time_ns / S for one in frames]


def test_a_mask_of_bits_is_the_mask() -> None:
    suspects = a_negative(0).suspects
    assert suspects.tolist() == [[0] * 5, [0, 0, 255, 255, 0], [0] * 5]


def test_a_clip_begins_before_the_moment_and_ends_after_it() -> None:
    ring = ClipRing()
    clips = []
    for second in range(100, 160):
        clips += ring.add(a_negative(second, *(["x.webm"] if second == 140 else [])))
        clips += ring.add(a_negative(second, camera="other"))
    ((name, frames),) = clips
    assert name == "x.webm"
    assert {one.camera_id for one in frames} == {"c"}
    assert seconds(frames) == list(range(140 - int(BEFORE_S), 140 + int(AFTER_S) + 1))


def test_only_moments_have_clips_and_what_waits_is_flushed() -> None:
    ring = ClipRing()
    assert ring.add(a_negative(1)) == []
    assert ring.add(a_negative(2, "b.webm")) == []
    (clip,) = ring.flush()
    assert (clip.name, seconds(clip.frames)) == ("b.webm", [1.0, 2.0])
    assert ring.flush() == []


def test_time_that_jumps_begins_anew() -> None:
    ring = ClipRing()
    for at_s in (100, 101, 300, 301, 50, 51):
        ring.add(a_negative(at_s))
    ring.add(a_negative(52, "x.webm"))
    assert seconds(ring.flush()[0].frames) == [50.0, 51.0, 52.0]


def test_bytes_and_waiting_clips_are_bounded_and_what_goes_is_counted() -> None:
    ring = ClipRing(max_bytes=5_000)
    for number in range(200):
        ring.add(a_negative(number / 20, camera=f"c{number % 3}", jpeg=bytes(990)))
    assert ring.byte_count <= 5_000
    assert ring.dropped == 200 - 5
    before = ring.dropped
    for number in range(MAX_PENDING + 3):
        ring.add(a_negative(10 + number / 100, f"{number}.webm", jpeg=b""))
    assert ring.dropped == before + 3
    assert len(ring.flush()) == MAX_PENDING
