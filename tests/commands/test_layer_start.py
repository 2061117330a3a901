"""The layers of the city's profile are checked at the start: told, counted, and refused."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from commands.geo import app
from commands.layer_start import check_at_start
from core.errors import LayerError
from core.settings import Settings, load_settings
from geo.city import City, load_city
from geo.crs import convert_points

PROFILE = """
name: town
crs: 4549
layers:
- {id: districts, role: district, path: districts.gpkg}
- {id: streets, role: street, path: streets.gpkg, crs: EPSG:4326}
"""


def a_town(folder: Path, streets_in: str) -> tuple[Settings, City]:
    """Two districts of four streets each; the streets' file says WGS 84 whatever they are in."""
    west = [shapely.box(120.3 + x, 36.0, 120.4 + x, 36.1) for x in (0.0, 0.1)]
    streets = [shapely.box(120.3 + x, 36.0, 120.325 + x, 36.1) for x in np.arange(8) * 0.025]
    moved = shapely.transform(
        shapely.segmentize(np.array(streets), 0.002),
        lambda p: np.column_stack(convert_points(p[:, 0], p[:, 1], "EPSG:4326", streets_in)),
    )
    codes = [f"37020{2 + n // 4}00{1 + n % 4}" for n in range(8)]
    districts = {"code": ["370202", "370203"], "geometry": shapely.segmentize(west, 0.002)}
    gpd.GeoDataFrame(districts, crs=4326).to_file(folder / "districts.gpkg")
    gpd.GeoDataFrame({"code": codes, "geometry": moved}, crs=4326).to_file(folder / "streets.gpkg")
    (folder / "city.yaml").write_text(PROFILE)
    return load_settings(city=str(folder), data_dir=folder / "data"), load_city(str(folder))


def counted(level: str) -> float | None:
    labels = {"file": "streets.gpkg", "level": level}
    return REGISTRY.get_sample_value("qingniao_layer_findings", labels)


def test_layers_that_lie_right_are_taken(tmp_path: Path) -> None:
    reports = check_at_start(*a_town(tmp_path, "EPSG:4326"))
    assert [report.verdict.value for report in reports] == ["accepted", "accepted"]
    assert (counted("error"), counted("note")) == (0.0, 2.0)


def test_a_layer_in_another_datum_refuses_the_start(tmp_path: Path) -> None:
    settings, city = a_town(tmp_path, "GCJ-02")
    with pytest.raises(
        LayerError,
        match=r"streets.gpkg: wrong_place: .*declare GCJ-02 \(`crs: GCJ-02`\); `qingniao",
    ):
        check_at_start(settings, city)
    assert counted("error") == 1.0


def test_an_error_may_be_told_only_or_not_looked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, city = a_town(tmp_path, "GCJ-02")
    with caplog.at_level(logging.WARNING):
        reports = check_at_start(settings.model_copy(update={"layer_check": "warn"}), city)
    assert len(reports) == 2
    assert "streets.gpkg: wrong_place: 位置不对" in caplog.text
    assert check_at_start(settings.model_copy(update={"layer_check": "off"}), city) == []


def test_a_generated_city_has_no_files_to_check() -> None:
    assert check_at_start(load_settings(city="generated"), load_city("generated")) == []


@pytest.mark.parametrize(("streets_in", "status"), [("EPSG:4326", 0), ("GCJ-02", 1)])
def test_check_without_a_layer_checks_all_of_the_city(
    tmp_path: Path, streets_in: str, status: int
) -> None:
    a_town(tmp_path, streets_in)
    result = CliRunner().invoke(app, ["check", "--city", str(tmp_path)])
    assert result.exit_code == status
    assert "districts.gpkg" in result.output
    assert "streets.gpkg" in result.output


def test_check_without_a_layer_wants_a_city_of_files() -> None:
    result = CliRunner().invoke(app, ["check", "--city", "generated"])
    assert isinstance(result.exception, LayerError)
    assert "has no files" in str(result.exception)
