from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import shapely

from core.city import AltitudeDatum, LayerRole
from core.incidents import Text
from geo.cells import CellTable, NearestTable, VolumeTable
from geo.city import City
from geo.layers import build_layer
from geo.live_map import LiveTagger
from geo.table_cache import TableCache, read_arrays, write_arrays
from geo.tagging import Tagger

SHAPES = [shapely.box(0, 0, 2, 2), None, shapely.Polygon([(1, 1), (4, 1), (2, 5)])]
X, Y = np.random.default_rng(1).uniform(-1, 6, (2, 500))


def never() -> CellTable:
    raise AssertionError("a table that is on disk was built")


def test_a_table_from_a_file_answers_as_the_one_that_was_built(tmp_path: Path) -> None:
    cache = TableCache(tmp_path)
    built = cache.get(CellTable, ["v1"], lambda: CellTable(SHAPES, closed=True))
    again = cache.get(CellTable, ["v1"], never)
    assert (cache.hits, cache.misses) == (1, 1)
    assert again.closed
    assert len(again) == 3
    assert again.border_ratio == built.border_ratio
    for mine, theirs in zip(built.pairs(X, Y), again.pairs(X, Y), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_volumes_and_nearest_features_too(tmp_path: Path) -> None:
    cache = TableCache(tmp_path)
    volumes = VolumeTable(SHAPES, [0, 0, 50], [100, 100, 60], [0, 0, 1])
    heights = np.full((2, len(X)), 55.0)
    cache.get(VolumeTable, 1, lambda: volumes)
    again = VolumeTable.from_arrays(cache.get(VolumeTable, 1, lambda: volumes).to_arrays())
    found = [table.volumes(X, Y, heights) for table in (volumes, again)]
    np.testing.assert_array_equal(*found)
    lines = [*SHAPES, shapely.LineString([(5, 5), (6, 6)])]
    for shapes in (lines, lines[3:]):
        nearest = NearestTable(shapes, 1.5)
        cache.get(NearestTable, len(shapes), lambda one=nearest: one)
        found = cache.get(NearestTable, len(shapes), lambda one=nearest: one).nearest(X, Y)
        np.testing.assert_array_equal(found, nearest.nearest(X, Y))
    assert (cache.hits, cache.misses) == (3, 3)


def test_another_version_is_another_table(tmp_path: Path) -> None:
    cache = TableCache(tmp_path)
    cache.get(CellTable, {"zones": "v1"}, lambda: CellTable(SHAPES))
    other = cache.get(CellTable, {"zones": "v2"}, lambda: CellTable(SHAPES[:1]))
    assert len(other) == 1
    assert cache.misses == 2


@pytest.mark.parametrize("harm", ["cut", "flipped", "not one", "old"])
def test_a_damaged_file_is_built_anew(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = TableCache(tmp_path)
    cache.get(CellTable, 1, lambda: CellTable(SHAPES))
    (path,) = tmp_path.glob("*.table")
    data = bytearray(path.read_bytes())
    if harm == "cut":
        data = data[:-9]
    elif harm == "flipped":
        data[-3] ^= 4
    elif harm == "old":
        data[20] ^= 0xFF
    else:
        data[:4] = b"what"
    path.write_bytes(data)
    assert read_arrays(path) is None
    assert len(cache.get(CellTable, 1, lambda: CellTable(SHAPES))) == 3
    assert cache.misses == 2
    assert caplog.messages == [f"{path} is damaged or cannot be read: its table is built anew"]
    assert cache.get(CellTable, 1, never)


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = TableCache(tmp_path / "file")
    assert len(cache.get(CellTable, 1, lambda: CellTable(SHAPES))) == 3


def test_the_cache_stays_within_its_size(tmp_path: Path) -> None:
    size = 0
    for number in range(4):
        cache = TableCache(tmp_path, most_bytes=2 * size or 1 << 30)
        cache.get(CellTable, number, lambda: CellTable(SHAPES))
        size = max(one.stat().st_size for one in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 2
    assert cache.get(CellTable, 3, never)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_arrays(tmp_path / "no" / "such", {"a": np.zeros(3)})
    assert read_arrays(tmp_path / "no" / "such") is None


def test_what_a_process_that_died_left_is_removed(tmp_path: Path) -> None:
    left, recent = tmp_path / ".celltable-0.table.77", tmp_path / ".celltable-1.table.78"
    left.write_bytes(b"half")
    recent.write_bytes(b"half")
    os.utime(left, (0, 0))
    TableCache(tmp_path).get(CellTable, 1, lambda: CellTable(SHAPES))
    assert not left.exists()
    assert recent.exists()


def test_a_map_that_starts_again_loads_its_tables(generated_city: City, tmp_path: Path) -> None:
    west, south, east, north = generated_city.bounds
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(west, east, 300), rng.uniform(south, north, 300)
    altitudes = {AltitudeDatum.AGL: rng.uniform(0, 200, 300)}
    built, first = Tagger(generated_city), TableCache(tmp_path)
    LiveTagger(generated_city, None, first)
    assert first.hits == 0
    assert first.misses == len(list(tmp_path.iterdir())) > 4
    second = TableCache(tmp_path)
    again = LiveTagger(generated_city, None, second)
    assert (second.hits, second.misses) == (first.misses, 0)
    wanted, got = built.tag(lon, lat, altitudes), again.tag(lon, lat, altitudes)
    assert [got.place(row) for row in range(300)] == [wanted.place(row) for row in range(300)]


def test_a_layer_that_changed_is_indexed_again_and_only_it(tmp_path: Path) -> None:
    def start(side: float) -> TableCache:
        layers = {
            "d": build_layer(
                "d", LayerRole.DISTRICT, [shapely.box(0, 0, side, 1)], code=["370202"]
            ),
            "z": build_layer("z", LayerRole.ZONE, [shapely.box(0, 0, 1, 1)], kind=["site"]),
        }
        cache = TableCache(tmp_path)
        tagger = Tagger(City("x", Text("x", "x"), 4549, layers), cache)
        place = tagger.tag(np.array([1.5]), np.array([0.5])).place(0)
        assert place.district_code == ("370202" if side > 1.5 else None)
        return cache

    found = [start(side) for side in (1.0, 2.0, 1.0)]
    assert [(one.hits, one.misses) for one in found] == [(0, 2), (1, 1), (2, 0)]
