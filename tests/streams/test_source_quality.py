"""The quality of each source's data, from an archive whose faults are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import an_observation, at_s

from store.archive.quality import SourceQuality, quality_document, source_quality
from store.archive.query import ArchiveReader
from tests.streams.test_archiver import Archive, Log, map_of

__all__ = ["map_of"]


def qualities(archive: Archive) -> dict[tuple[str, str], SourceQuality]:
    reader = ArchiveReader(archive.folder)
    try:
        found = source_quality(reader, at_s(-3600), at_s(3600))
    finally:
        reader.close()
    return {(one.source, one.kind): one for one in found}


async def test_each_fault_lowers_its_own_figure(tmp_path: Path, map_of: object) -> None:
    archive = Archive(tmp_path / "archive", Log(), map_of)  # type: ignore[arg-type]
    seconds = [0, 10, 20, 30, 60, 70, 80, 90]  # of ten that its rhythm promises, two are missing
    rows = [an_observation(at, thing_id="gappy", kind="gappy") for at in seconds]
    rows += [an_observation(at, thing_id="whole", kind="whole") for at in range(0, 100, 10)]
    rows += [
        an_observation(at, thing_id="slow", kind="slow", received_ns=at_s(at + 3 * at))
        for at in range(0, 40, 10)
    ]
    rows += [
        an_observation(at, thing_id="lost", kind="lost", lon_deg=None, lat_deg=None)
        for at in range(0, 40, 10)
    ]
    back = [0, 10, 5, 20]
    rows += [
        an_observation(at, thing_id="back", kind="back", received_ns=at_s(100 + order))
        for order, at in enumerate(back)
    ]
    archive.log.append(*rows)
    await archive.archive_all()
    found = {kind: one for (_, kind), one in qualities(archive).items()}
    assert found["whole"].completeness_ratio == 1.0
    assert found["gappy"].completeness_ratio == pytest.approx(0.8)
    assert found["gappy"].timeliness_ratio == 1.0
    assert found["slow"].timeliness_ratio == pytest.approx(0.75)  # only the last came too late
    assert found["lost"].validity_ratio == 0.0
    assert found["back"].consistency_ratio == pytest.approx(0.75)
    assert found["whole"].score == 100.0
    assert quality_document(found["gappy"])["score"] == 95.0
    assert found["whole"].things == 1
    assert found["whole"].observations == 10


async def test_one_word_is_no_rhythm(tmp_path: Path, map_of: object) -> None:
    archive = Archive(tmp_path / "archive", Log(), map_of)  # type: ignore[arg-type]
    archive.log.append(an_observation(0), an_observation(10))
    await archive.archive_all()
    [one] = qualities(archive).values()
    assert one.completeness_ratio is None
    assert one.score == 100.0
