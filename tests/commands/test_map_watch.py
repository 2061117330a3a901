"""A new catalogue is taken into use while the map is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import shapely

from commands.layer_import import plan_import, write_import
from commands.map_watch import open_map, watch_map
from core.city import LayerRole
from core.incidents import Text
from core.settings import load_settings
from geo.layers import build_layer
from geo.live_map import LiveTagger
from geo.model import City


def put(path: Path, code: str) -> None:
    box = shapely.box(120.0, 36.0, 120.1, 36.1)
    layer = build_layer("districts", LayerRole.DISTRICT, [box], code=[code])
    write_import(layer, plan_import(layer, path, Path("x"), "2020-01-01T00:00:00Z"), path)


def asked(tagger: LiveTagger) -> tuple[str | None, dict[str, str]]:
    time_ns = np.array([2_000_000_000_000_000_000])
    place = tagger.tag(np.array([120.05]), np.array([36.05]), None, time_ns).place(0)
    return place.district_code, place.layer_versions


async def until(tagger: LiveTagger, code: str) -> dict[str, str]:
    async with asyncio.timeout(20):
        while asked(tagger)[0] != code:
            await asyncio.sleep(0.01)
    return asked(tagger)[1]


async def test_imports_are_taken_in_and_broken_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "layers.yaml"
    tagger = LiveTagger(City("x", Text("x", "x"), 4549))
    put(path, "370201")  # between the start's own reading of the catalogue and the first look
    watching = asyncio.create_task(watch_map(path, tagger, look_s=0.01))
    try:
        await until(tagger, "370201")
        put(path, "370202")
        first = await until(tagger, "370202")
        path.write_text("layers: [oops")
        async with asyncio.timeout(20):
            while "the map stays as it is" not in caplog.text:
                await asyncio.sleep(0.01)
        assert asked(tagger)[0] == "370202"
        path.unlink()
        put(path, "370203")
        assert await until(tagger, "370203") != first
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_the_map_is_indexed_into_the_data_folder(tmp_path: Path) -> None:
    box = shapely.box(120.0, 36.0, 120.1, 36.1)
    layer = build_layer("districts", LayerRole.DISTRICT, [box], code=["370202"])
    city = City("x", Text("x", "x"), 4549, {"districts": layer})
    settings = load_settings(data_dir=tmp_path)
    assert asked(open_map(settings, city))[0] == "370202"
    assert [one.suffix for one in (tmp_path / "tables").iterdir()] == [".table"]
