"""Evidence on the disk stays within its number, size and age, also across restarts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.evidence_folder import EvidenceFolder

DAY_S = 86_400.0
KIB_IN_GIB = 1 / 1024**2


def left(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def test_files_are_whole_and_the_oldest_of_a_camera_go(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path, kept=3)
    for number in range(5):
        folder.write(f"camera-1/{1000 + number}-1-new.jpg", b"picture %d" % number)
    again = EvidenceFolder(tmp_path, kept=3)
    again.write("camera-1/1009-1-new.webm", b"after a restart")
    assert left(tmp_path) == [
        "camera-1/1003-1-new.jpg",
        "camera-1/1004-1-new.jpg",
        "camera-1/1009-1-new.webm",
    ]
    assert (tmp_path / "camera-1" / "1004-1-new.jpg").read_bytes() == b"picture 4"
    assert (folder.evicted, again.evicted) == ({"number": 2}, {"number": 1})
    assert again.byte_count == sum((tmp_path / name).stat().st_size for name in left(tmp_path))


def test_the_size_is_that_of_all_cameras_and_the_oldest_go(tmp_path: Path) -> None:
    (tmp_path / "cases" / "i-1").mkdir(parents=True)
    (tmp_path / "cases" / "i-1" / "0a.jpg").write_bytes(bytes(9000))  # a person's, not ours
    folder = EvidenceFolder(tmp_path, max_gib=4 * KIB_IN_GIB)
    for number, camera in enumerate(["a", "b", "a", "b", "a"]):
        folder.write(f"{camera}/{1000 + number}-1-new.jpg", bytes(1024))
    folder.replace("a/live.jpg", bytes(9000))  # overwritten again and again: does not count
    folder.write("b/1005-1-new.webm", bytes(2048))
    assert left(tmp_path) == [
        "a/1004-1-new.jpg",
        "a/live.jpg",
        "b/1003-1-new.jpg",
        "b/1005-1-new.webm",
        "cases/i-1/0a.jpg",
    ]
    assert (folder.byte_count, folder.evicted) == (4096, {"size": 3})


@pytest.mark.parametrize(("retain_days", "kept"), [(2.0, 2), (0.0, 3)])
def test_what_is_too_old_goes(tmp_path: Path, retain_days: float, kept: int) -> None:
    (tmp_path / "a").mkdir()
    now_s = (tmp_path / "a").stat().st_mtime
    for days in (3, 1):
        old = tmp_path / "a" / f"{days}.jpg"
        old.write_bytes(b"x")
        os.utime(old, (now_s, now_s - days * DAY_S))
    folder = EvidenceFolder(tmp_path, retain_days=retain_days)
    folder.write("b/0-1-new.jpg", b"x")
    assert len(left(tmp_path)) == kept
    assert folder.evicted == ({"age": 1} if kept == 2 else {})
