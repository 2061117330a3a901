"""Layers by OGC API Features and Tiles: what a client of the standard meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import pytest
import shapely

from core.city import LayerRole
from geo.layers import build_layer

FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
TILES = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/"


async def linked(client: httpx.AsyncClient, answer: httpx.Response, rel: str) -> httpx.Response:
    (href,) = [one["href"] for one in answer.json()["links"] if one["rel"] == rel]
    return await client.get(href)


async def all_ids(client: httpx.AsyncClient, url: str) -> list[str]:
    """The ids of all features, page by page."""
    found: list[str] = []
    answer = await client.get(url)
    while True:
        page = answer.json()
        assert page["numberReturned"] == len(page["features"])
        found += [one["id"] for one in page["features"]]
        if not any(one["rel"] == "next" for one in page["links"]):
            assert page["numberMatched"] == len(found)
            return found
        answer = await linked(client, answer, "next")


async def test_everything_is_reached_from_the_landing_page(
    site: Any, client: httpx.AsyncClient
) -> None:
    landing = await client.get("/ogc")
    assert (await linked(client, landing, "service-desc")).json()["openapi"].startswith("3.")
    conformance = (await linked(client, landing, "conformance")).json()["conformsTo"]
    assert {FEATURES + "core", FEATURES + "geojson", TILES + "mvt"} <= set(conformance)
    collections = (await linked(client, landing, "data")).json()["collections"]
    assert [one["id"] for one in collections] == list(site.city.layers)
    for one in collections:
        alone = await client.get(f"/ogc/collections/{one['id']}")
        assert alone.json() == one
        items = await linked(client, alone, "items")
        assert items.headers["content-type"] == "application/geo+json"
        assert items.headers["content-crs"] == "<http://www.opengis.net/def/crs/OGC/1.3/CRS84>"
        first = items.json()["features"][0]
        again = await client.get(f"/ogc/collections/{one['id']}/items/{first['id']}")
        assert {key: again.json()[key] for key in first} == first
        whole = await linked(client, alone, "enclosure")
        assert len(whole.json()["features"]) == items.json()["numberMatched"]


@pytest.mark.parametrize("limit", ["1", "7", "10000", "999999"])
async def test_pages_hold_every_feature_once(
    site: Any, client: httpx.AsyncClient, limit: str
) -> None:
    layer = site.city.layers["zones"]
    ids = await all_ids(client, f"/ogc/collections/zones/items?limit={limit}")
    assert ids == layer.column("feature_id")


async def test_a_box_gives_what_meets_it(site: Any, client: httpx.AsyncClient) -> None:
    layer = site.city.layers["communities"]
    west, south, east, north = shapely.total_bounds(layer.geometries).tolist()
    middle = ((west + east) / 2, (south + north) / 2)
    for box in (
        (west, south, *middle),
        (*middle, east, north),
        (east, north, east + 1, north + 1),  # its border only
        (0.0, 0.0, 1.0, 1.0),
    ):
        text = ",".join(map(repr, box))
        ids = await all_ids(client, f"/ogc/collections/communities/items?limit=3&bbox={text}")
        met = shapely.intersects(layer.geometries, shapely.box(*box))
        wanted = [
            one for one, inside in zip(layer.column("feature_id"), met, strict=True) if inside
        ]
        assert ids == wanted, box
        flat = f"{box[0]!r},{box[1]!r},-5,{box[2]!r},{box[3]!r},5"
        url = f"/ogc/collections/communities/items?limit=10000&bbox={flat}"
        assert await all_ids(client, url) == wanted
    around = "/ogc/collections/communities/items?bbox=170,0,-170,60"
    assert await all_ids(client, around) == []
    assert len(await all_ids(client, "/ogc/collections/communities/items?bbox=100,0,-170,60")) > 0


async def test_values_and_times_choose_too(site: Any, client: httpx.AsyncClient) -> None:
    layer = site.city.layers["zones"]
    kind = layer.column("kind")[0]
    ids = await all_ids(
        client, f"/ogc/collections/zones/items?kind={kind}&datetime=2026-01-01T00:00:00Z/.."
    )
    assert len(ids) == layer.column("kind").count(kind) < len(layer)
    assert await all_ids(client, "/ogc/collections/zones/items?kind=none-such") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("collections/zones/items?limit=0", 400),
        ("collections/zones/items?limit=ten", 400),
        ("collections/zones/items?bbox=1,2,3", 400),
        ("collections/zones/items?bbox=1,2,3,nan", 400),
        ("collections/zones/items?bbox=1,5,3,2", 400),
        ("collections/zones/items?datetime=yesterday", 400),
        ("collections/zones/items?colour=red", 400),
        ("collections/zones/items?cursor=old-3", 400),
        ("collections/zones/items?f=html", 400),
        ("collections/none", 404),
        ("collections/none/items", 404),
        ("collections/zones/items/none", 404),
        ("collections/zones/tiles/WebMercatorQuad/3/9/0", 404),
        ("collections/zones/tiles/WebMercatorQuad/x/0/0", 400),
        ("collections/zones/tiles/Other", 404),
    ],
)
async def test_what_is_wrong_is_told(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(f"/ogc/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_cursor_of_another_version_is_refused(
    site: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await client.get("/ogc/collections/zones/items?limit=1")
    (url,) = [one["href"] for one in page.json()["links"] if one["rel"] == "next"]
    none = build_layer("zones", LayerRole.ZONE, [])
    monkeypatch.setitem(site.city.layers, "zones", none)
    answer = await client.get(url)
    assert answer.status_code == 400
    assert "begin again" in answer.json()["detail"]


async def test_tiles_are_what_gdal_reads(
    site: Any, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    sets = (await client.get("/ogc/collections/zones/tiles")).json()["tilesets"]
    (template,) = [one["href"] for one in sets[0]["links"] if one["rel"] == "item"]
    tiling = (await client.get("/ogc/tileMatrixSets/WebMercatorQuad")).json()
    matrix = tiling["tileMatrices"][14]
    left, top = matrix["pointOfOrigin"]
    side = matrix["cellSize"] * matrix["tileWidth"]
    layer = site.city.layers["zones"]
    point = gpd.GeoSeries(shapely.point_on_surface(layer.geometries[:1]), crs=4326).to_crs(3857)
    column, row = int((point[0].x - left) / side), int((top - point[0].y) / side)
    url = template.format(tileMatrix=matrix["id"], tileRow=row, tileCol=column)
    tile = await client.get(url)
    assert tile.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    path = tmp_path / matrix["id"] / str(column) / f"{row}.pbf"
    path.parent.mkdir(parents=True)
    path.write_bytes(tile.content)
    found = gpd.read_file(f"MVT:{path}")
    assert layer.column("feature_id")[0] in set(found["feature_id"])
    again = await client.get(url, headers={"If-None-Match": tile.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    nothing = await client.get(template.format(tileMatrix="14", tileRow=0, tileCol=0))
    assert (nothing.status_code, nothing.content) == (204, b"")
