"""Files as they come: several layers in one, and texts in the national encoding."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from geo.sources.reader import read_source

BOX = shapely.box(120.3, 36.0, 120.4, 36.1)
OPENAIR = "AC R\nAN 胶东机场禁飞区\nAL SFC\nAH 900m AGL\nV X=36:21:42N 120:05:18E\nDC 5\n"


def a_frame(name: str) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": [name]}, geometry=[BOX], crs=4326)


@pytest.mark.parametrize("driver", ["GPKG", "KML"])
def test_a_file_of_several_layers_says_which_was_read(tmp_path: Path, driver: str) -> None:
    path = tmp_path / f"two.{driver.lower()}"
    if driver == "GPKG":
        for layer in ("first", "second"):
            a_frame(layer).to_file(path, layer=layer, driver=driver)
    else:
        point = "<Placemark><Point><coordinates>120.3,36.0</coordinates></Point></Placemark>"
        folders = "".join(
            f"<Folder><name>{one}</name>{point}</Folder>" for one in ("first", "second")
        )
        space = 'xmlns="http://www.opengis.net/kml/2.2"'
        path.write_text(f"<kml {space}><Document>{folders}</Document></kml>")
    source = read_source(path)
    assert len(source.shapes) == 1
    (note,) = source.notes
    assert "of 2 layers only 'first' was read, not 'second'; --layer-name" in note
    assert read_source(path, layer_name="second").notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_texts_may_be_in_the_national_encoding(tmp_path: Path, encoding: str) -> None:
    openair = tmp_path / "a.txt"
    openair.write_text(OPENAIR, encoding=encoding)
    assert read_source(openair).columns["name"].tolist() == ["胶东机场禁飞区"]
    feature = json.loads(a_frame("市南区").to_json())
    geojson = tmp_path / "a.geojson"
    geojson.write_text(json.dumps(feature, ensure_ascii=False), encoding=encoding)
    assert read_source(geojson).columns["name"].tolist() == ["市南区"]


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
@pytest.mark.parametrize("says", [True, False])
def test_names_of_a_shapefile_are_read(tmp_path: Path, encoding: str, says: bool) -> None:
    path = tmp_path / "a.shp"
    a_frame("市南区八大关街道").to_file(path, encoding=encoding)
    if not says:
        path.with_suffix(".cpg").unlink()
        table = bytearray(path.with_suffix(".dbf").read_bytes())
        table[29] = 0
        path.with_suffix(".dbf").write_bytes(table)
    assert read_source(path).columns["name"].tolist() == ["市南区八大关街道"]
