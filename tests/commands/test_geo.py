"""``qingniao geo`` as a person at a terminal meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely
from typer.testing import CliRunner

from cli import app

BOXES = [shapely.box(120.0, 36.0, 120.01, 36.01), shapely.box(120.009, 36.0, 120.02, 36.01)]


def a_file(folder: Path, **columns: list[str]) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {name: values[row] for name, values in columns.items()},
            "geometry": json.loads(shapely.to_geojson(box)),
        }
        for row, box in enumerate(BOXES)
    ]
    path = folder / "网格.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["geo", *words], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_check_reports_and_draws(tmp_path: Path) -> None:
    path = a_file(tmp_path, code=["370202", "370203"])
    picture, document = tmp_path / "out.png", tmp_path / "out.json"
    code, output = run(
        "check", str(path), "--crs", "EPSG:4326", "--picture", str(picture), "--json", str(document)
    )
    assert code == 0, output
    assert "1 overlaps" in output
    assert "1 处重叠" in output
    assert "accepted with warnings" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    assert json.loads(document.read_text())["flaws"][0]["kind"] == "overlap"


def test_a_refused_layer_exits_with_1(tmp_path: Path) -> None:
    code, output = run("check", str(a_file(tmp_path, code=["370202", "370203"])))
    assert code == 1
    assert "no_crs" in output
    assert "拒绝 refused" in output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["check", "/nowhere.gpkg"], "there is no such file"),
        (["check", "/nowhere.gpkg", "--field", "code"], "name=value was wanted"),
    ],
)
def test_slips_are_told(words: list[str], wanted: str) -> None:
    result = CliRunner().invoke(app, ["geo", *words])
    assert result.exit_code != 0
    assert wanted in str(result.exception)


def test_import_is_a_dry_run_until_it_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QINGNIAO_DATA_DIR", str(tmp_path / "data"))
    path = str(a_file(tmp_path, code=["370299", "370298"]))
    words = ["import", path, "--id", "mine", "--crs", "EPSG:4326"]
    code, output = run(*words)
    assert (code, (tmp_path / "data" / "layers.yaml").exists()) == (0, False)
    assert "dry run, nothing was changed" in output
    code, output = run(*words, "--apply", "--valid-from", "2026-01-01T00:00:00Z")
    assert code == 0, output
    assert "version:" in (tmp_path / "data" / "layers.yaml").read_text()
    code, output = run("tag", "120.005", "36.005", "--json")
    assert code == 0, output
    assert json.loads(output)["district_code"] == "370299"


def test_a_refused_layer_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGNIAO_DATA_DIR", str(tmp_path / "data"))
    code, output = run("import", str(a_file(tmp_path, code=["1", "2"])), "--id", "x", "--apply")
    assert code == 1
    assert "nothing was changed" in output
    assert not (tmp_path / "data" / "layers.yaml").exists()


def test_tag_tells_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGNIAO_DATA_DIR", str(tmp_path))
    code, output = run("tag", "120.389733162", "36.061676488", "--crs", "GCJ-02", "--error-m", "20")
    assert code == 0, output
    assert "120.3846000, 36.0614000 (WGS 84)" in output
    assert "N51J001831A02411" in output
