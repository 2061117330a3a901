"""Clips through the decoding process: whole ones, lying ones, and those that break it."""

from __future__ import annotations

import http.server
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import ServiceError
from ingest.video.source import SourceLimits, VideoSource

FAST = SourceLimits(first_picture_s=20.0, picture_s=0.5, restarts=2, pause_s=0.05)

#: A decoder that, unless told to skip further, writes two good pictures and then misbehaves.
BAD_DECODER = """
import os, sys, time
from ingest.video.wire import END, PICTURE, Header, pack
skip = int(sys.argv[sys.argv.index("--skip") + 1])
out = sys.stdout.buffer
for number in range(skip, 6):
    if number == 2:
        out.flush()
        MISBEHAVE
    out.write(pack(Header(PICTURE, number, number * 10, 2, 1, 6, 0, 6)) + bytes(6))
out.write(pack(Header(END, 6, 0, 0, 0, 0, 0, 6)))
out.flush()
"""


def bad_decoder(folder: Path, misbehave: str) -> tuple[str, ...]:
    path = folder / "decoder.py"
    path.write_text(BAD_DECODER.replace("MISBEHAVE", misbehave))
    return (sys.executable, str(path))


def write_clip(path: Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    for number in range(count):
        writer.write(np.full((size[1], size[0], 3), 10 * number, np.uint8))
    writer.release()


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        ("os.abort()", "decoder_crashed"),
        ("time.sleep(60)", "decoder_hung"),
        ("out.write(b'x' * 48); out.flush(); time.sleep(60)", "decoder_garbled"),
    ],
)
def test_a_picture_that_breaks_the_decoder_costs_a_counted_restart(
    tmp_path: Path, misbehave: str, reason: str
):
    source = VideoSource("clip", limits=FAST, command=bad_decoder(tmp_path, misbehave))
    assert [picture.number for picture in source] == [0, 1, 3, 4, 5]
    assert source.counts == {reason: 1}


def test_a_file_that_always_breaks_the_decoder_is_given_up(tmp_path: Path):
    decoder = tmp_path / "decoder.py"
    decoder.write_text("import os; os.abort()")
    source = VideoSource("clip", limits=FAST, command=(sys.executable, str(decoder)))
    with pytest.raises(
        ServiceError, match="'clip': the decoder failed 3 times, last with decoder_crashed"
    ):
        list(source)
    assert source.counts == {"decoder_crashed": 3}


def test_a_clip_comes_with_its_own_times(tmp_path: Path):
    write_clip(tmp_path / "a.avi", 5)
    source = VideoSource(str(tmp_path / "a.avi"))
    pictures = list(source)
    assert [picture.time_ns for picture in pictures] == [n * 100_000_000 for n in range(5)]
    assert [round(float(picture.image.mean()) / 10) for picture in pictures] == [0, 1, 2, 3, 4]
    assert source.counts == {}


def test_a_clip_cut_short_says_what_is_missing(tmp_path: Path):
    write_clip(tmp_path / "a.avi", 20, (320, 240))
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 6 // 10])
    source = VideoSource(str(tmp_path / "cut.avi"))
    count = len(list(source))
    assert 0 < count < 20
    assert source.counts.get("missing", 0) == max(source.promised - count, 0)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(ServiceError, match=r"x.mp4': FFmpeg cannot open it"):
        list(VideoSource(str(tmp_path / "x.mp4")))
    with pytest.raises(ServiceError, match="there is no such file"):
        list(VideoSource(str(tmp_path / "absent.mp4")))


def test_a_folder_of_pictures_in_the_order_of_their_numbers(tmp_path: Path):
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "3.png").write_bytes(b"broken")
    pictures = list(VideoSource(str(tmp_path), fps=2.0))
    assert [int(picture.image[0, 0, 0]) for picture in pictures] == [1, 2, 10]
    assert [picture.time_ns for picture in pictures] == [0, 500_000_000, 1_500_000_000]


def test_a_stream_over_http_is_taken_live(tmp_path: Path):
    """Real HTTP, real FFmpeg; UTC times; at its end it is opened again."""
    write_clip(tmp_path / "a.avi", 8)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, directory=str(tmp_path), **more)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        source = VideoSource(f"http://127.0.0.1:{server.server_port}/a.avi", limits=FAST)
        times = []
        for picture in source:
            times.append(picture.time_ns)
            if len(times) >= 10:
                source.stop()
        server.shutdown()
        thread.join()
    assert source.live
    assert min(times) > 1_500_000_000 * 10**9
    assert len(times) == 10


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "promised", "decoded"),
    [("bgslibrary/video03.avi", 1700, 1699), ("intel/car-detection.mp4", 377, 377)],
)
def test_header_counts_of_real_clips_are_not_believed(
    realdata: Path, name: str, promised: int, decoded: int
):
    path = realdata / "video" / name
    if not path.is_file():
        pytest.skip(f"no recording {path}")
    source = VideoSource(str(path))
    times = [picture.time_ns for picture in source]
    assert (source.promised, len(times)) == (promised, decoded)
    assert source.counts.get("missing", 0) == promised - decoded
    assert times == sorted(set(times))
