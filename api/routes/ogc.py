"""The map's layers by the standards of the field: OGC API Features and Tiles.

Features Part 1 (17-069r4): core, GeoJSON. Tiles Part 1 (20-057): vector tiles of
WebMercatorQuad. What is wrong with a parameter is answered with 400, as they want.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import shapely
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from api.answers import GEOJSON, JsonBytes, as_json, encoded
from api.errors import ParameterError
from api.query import Parameter, Parameters, interval
from api.routes.city_map import find_layer, layers_now
from api.schemas import PROBLEMS
from api.services import Services
from core.errors import GeometryError, InputError, NotFoundError
from core.units import ns_to_rfc3339
from geo.layers import Layer
from geo.vector_tiles import HALF_WORLD_M, MOST_ZOOM, encode_tile

ROOT = "/ogc"
MVT = "application/vnd.mapbox-vector-tile"
TILES = "WebMercatorQuad"

DEFAULT_LIMIT = 10
MOST_LIMIT = 10_000

_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_EPSG_3857 = "http://www.opengis.net/def/crs/EPSG/0/3857"
_TMS = f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{TILES}"
_FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
_OF_TILES = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf"
CONFORMS_TO = (
    *(f"{_FEATURES}/{one}" for one in ("core", "geojson")),
    *(
        f"{_OF_TILES}/{one}"
        for one in ("core", "tileset", "tilesets-list", "geodata-tilesets", "mvt")
    ),
)

#: Columns that items may be asked for by value.
_QUERYABLE = ("feature_id", "code", "name", "kind", "unit", "datum")

_F = Parameter("f", "Format; there is `json` only.")
_PLAIN = Parameters(_F)
_TILE = Parameters(Parameter("f", "Format; there is `mvt` only."))
_ITEMS = Parameters(
    _F,
    Parameter(
        "limit",
        f"Features of the page; {DEFAULT_LIMIT} unless given, at most {MOST_LIMIT}.",
        {"type": "integer", "minimum": 1, "maximum": MOST_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter(
        "bbox",
        "`west,south,east,north` in WGS 84 degrees, or with heights, which do not count; borders "
        "included, and west greater than east goes over the 180th meridian.",
    ),
    Parameter("datetime", "An instant, `a/b`, `../b` or `a/..`; layers have no time, all match."),
    Parameter("cursor", "Of the link to the next page."),
    *(Parameter(name, f"Only features with this `{name}`.") for name in _QUERYABLE),
)

#: Metres on the screen for each unit of scale: pixels of 0.28 mm.
_PIXEL_M = 0.00028


def build_router(services: Services) -> APIRouter:
    """The routes of the layers' standards."""
    router = APIRouter(prefix=ROOT, tags=["ogc"], responses=PROBLEMS)

    @router.get("", summary="OGC API: where everything is", response_class=JsonBytes)
    def landing(request: Request) -> Response:
        _read(_PLAIN, request)
        here = _base(request)
        return encoded(
            {
                "title": f"{services.city.title.zh} 统一能力图层 {services.city.title.en}",
                "description": "The layers of the city's map.",
                "links": [
                    _link("self", here, "This page"),
                    _link(
                        "service-desc",
                        f"{here.removesuffix(ROOT)}/openapi.json",
                        "The API",
                        "application/vnd.oai.openapi+json;version=3.1",
                    ),
                    _link("conformance", f"{here}/conformance", "What it conforms to"),
                    _link("data", f"{here}/collections", "The layers"),
                    _link(
                        "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes",
                        f"{here}/tileMatrixSets",
                        "The tilings",
                    ),
                ],
            }
        )

    @router.get("/conformance", summary="OGC API: conformance", response_class=JsonBytes)
    def conformance(request: Request) -> Response:
        _read(_PLAIN, request)
        return encoded({"conformsTo": CONFORMS_TO})

    @router.get("/collections", summary="OGC API: the layers", response_class=JsonBytes)
    def list_collections(request: Request) -> Response:
        _read(_PLAIN, request)
        here = _base(request)
        return encoded(
            {
                "links": [_link("self", f"{here}/collections", "The layers")],
                "collections": [
                    _collection(layer, here) for layer in layers_now(services).values()
                ],
            }
        )

    @router.get("/collections/{layer_id}", summary="OGC API: one layer", response_class=JsonBytes)
    def get_collection(request: Request, layer_id: str) -> Response:
        _read(_PLAIN, request)
        return encoded(_collection(find_layer(services, layer_id), _base(request)))

    @router.get(
        "/collections/{layer_id}/items",
        summary="OGC API: features of a layer, by page",
        openapi_extra=_ITEMS.openapi,
        response_class=JsonBytes,
    )
    def list_items(request: Request, layer_id: str) -> Response:
        layer = find_layer(services, layer_id)
        given = _read(_ITEMS, request)
        rows = _chosen(layer, given)
        first = _first_row(layer, given["cursor"])
        limit = _limit(given["limit"])
        begin = int(np.searchsorted(rows, first))
        page = rows[begin : begin + limit].tolist()
        url = f"{_base(request)}/collections/{layer.id}"
        links = [
            _link("self", str(request.url), "This page", GEOJSON),
            _link("collection", url, "The layer"),
        ]
        if begin + limit < len(rows):
            cursor = f"{layer.version}-{rows[begin + limit]}"
            following = str(request.url.include_query_params(cursor=cursor))
            links.append(_link("next", following, "The next page", GEOJSON))
        head = {
            "type": "FeatureCollection",
            "links": links,
            "timeStamp": ns_to_rfc3339(services.clock.now_ns()),
            "numberMatched": len(rows),
            "numberReturned": len(page),
        }
        features = ",".join(layer.features[row] for row in page).encode()
        body = as_json(head)[:-1] + b',"features":[' + features + b"]}"
        return Response(body, media_type=GEOJSON, headers=_crs_header())

    @router.get(
        "/collections/{layer_id}/items/{feature_id:path}",
        summary="OGC API: one feature of a layer",
        response_class=JsonBytes,
    )
    def get_item(request: Request, layer_id: str, feature_id: str) -> Response:
        _read(_PLAIN, request)
        layer = find_layer(services, layer_id)
        try:
            row = layer.column("feature_id").index(feature_id)
        except ValueError:
            raise NotFoundError(
                f"feature {feature_id[:80]!r}: layer {layer.id} has none with this id"
            ) from None
        url = f"{_base(request)}/collections/{layer.id}"
        links = [
            _link("self", str(request.url), "This feature", GEOJSON),
            _link("collection", url, "The layer"),
        ]
        body = f'{layer.features[row][:-1]},"links":'.encode() + as_json(links) + b"}"
        return Response(body, media_type=GEOJSON, headers=_crs_header())

    @router.get(
        "/collections/{layer_id}/tiles",
        summary="OGC API: the tilings of a layer",
        response_class=JsonBytes,
    )
    def list_tilesets(request: Request, layer_id: str) -> Response:
        _read(_PLAIN, request)
        layer = find_layer(services, layer_id)
        here = _base(request)
        return encoded({"tilesets": [_tileset(layer, here)]})

    @router.get(
        "/collections/{layer_id}/tiles/" + TILES,
        summary="OGC API: a layer's vector tiles",
        response_class=JsonBytes,
    )
    def get_tileset(request: Request, layer_id: str) -> Response:
        _read(_PLAIN, request)
        return encoded(_tileset(find_layer(services, layer_id), _base(request)))

    @router.get(
        "/collections/{layer_id}/tiles/" + TILES + "/{matrix}/{row}/{column}",
        summary="OGC API: a vector tile of a layer; the row comes before the column",
        response_class=Response,
        responses={
            200: {"content": {MVT: {}}, "description": "The tile"},
            204: {"description": "Nothing of the layer is in the tile"},
        },
    )
    def get_tile(request: Request, layer_id: str, matrix: str, row: str, column: str) -> Response:
        _read(_TILE, request, "mvt")
        layer = find_layer(services, layer_id)
        headers = {"ETag": f'"{layer.version}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        numbers = [matrix, row, column]
        if not all(re.fullmatch(r"[0-9]{1,8}", one) for one in numbers):
            raise ParameterError(
                f"tile: whole numbers {{level}}/{{row}}/{{column}} were wanted, got {numbers}"
            )
        try:
            tile = encode_tile(layer, int(matrix), int(column), int(row))
        except GeometryError as exc:
            raise NotFoundError(str(exc)) from exc
        if not tile:
            return Response(status_code=204, headers=headers)
        return Response(tile, media_type=MVT, headers=headers)

    @router.get("/tileMatrixSets", summary="OGC API: the tilings", response_class=JsonBytes)
    def list_tile_matrix_sets(request: Request) -> Response:
        _read(_PLAIN, request)
        url = f"{_base(request)}/tileMatrixSets/{TILES}"
        one = {"id": TILES, "uri": _TMS, "links": [_link("self", url, TILES)]}
        return encoded({"tileMatrixSets": [one]})

    @router.get(
        "/tileMatrixSets/" + TILES,
        summary="OGC API: the tiling of web maps",
        response_class=JsonBytes,
    )
    def get_tile_matrix_set(request: Request) -> Response:
        _read(_PLAIN, request)
        return encoded(
            {
                "id": TILES,
                "title": TILES,
                "uri": _TMS,
                "crs": _EPSG_3857,
                "orderedAxes": ["X", "Y"],
                "tileMatrices": [_matrix(level) for level in range(MOST_ZOOM + 1)],
            }
        )

    return router


def _read(
    parameters: Parameters, request: Request, only_format: str = "json"
) -> dict[str, str | None]:
    try:
        given = parameters.read(request)
    except InputError as exc:
        raise ParameterError(str(exc)) from exc
    if given["f"] not in {None, only_format}:
        raise ParameterError(f"f: {only_format} was wanted, got {str(given['f'])[:80]!r}")
    return given


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{ROOT}"


def _link(rel: str, href: str, title: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": media_type, "title": title}


def _crs_header() -> dict[str, str]:
    return {"Content-Crs": f"<{_CRS84}>"}


def _collection(layer: Layer, here: str) -> dict[str, Any]:
    url = f"{here}/collections/{layer.id}"
    found: dict[str, Any] = {
        "id": layer.id,
        "title": f"{layer.title.zh} {layer.title.en}",
        "description": f"role {layer.role.value}, version {layer.version}, {len(layer)} features",
        "itemType": "feature",
        "crs": [_CRS84],
        "links": [
            _link("self", url, "This layer"),
            _link("items", f"{url}/items", "Its features", GEOJSON),
            _link(
                "enclosure", f"{here.removesuffix(ROOT)}/layers/{layer.id}", "All of it", GEOJSON
            ),
            _link(
                "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector",
                f"{url}/tiles",
                "Its vector tiles",
            ),
        ],
    }
    if len(layer):
        box = shapely.total_bounds(layer.geometries).round(7).tolist()
        found["extent"] = {"spatial": {"bbox": [box], "crs": _CRS84}}
    return found


def _tileset(layer: Layer, here: str) -> dict[str, Any]:
    url = f"{here}/collections/{layer.id}/tiles/{TILES}"
    template = _link("item", f"{url}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}", "A tile", MVT)
    return {
        "title": f"{layer.title.zh} {layer.title.en}",
        "dataType": "vector",
        "crs": _EPSG_3857,
        "tileMatrixSetURI": _TMS,
        "links": [
            _link("self", url, "This tiling"),
            template | {"templated": True},
            _link(
                "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme",
                f"{here}/tileMatrixSets/{TILES}",
                "Where its tiles are",
            ),
        ],
    }


def _matrix(level: int) -> dict[str, Any]:
    cell_m = 2.0 * HALF_WORLD_M / 256 / (1 << level)
    return {
        "id": str(level),
        "scaleDenominator": cell_m / _PIXEL_M,
        "cellSize": cell_m,
        "cornerOfOrigin": "topLeft",
        "pointOfOrigin": [-HALF_WORLD_M, HALF_WORLD_M],
        "tileWidth": 256,
        "tileHeight": 256,
        "matrixWidth": 1 << level,
        "matrixHeight": 1 << level,
    }


def _limit(text: str | None) -> int:
    """How many features a page has; more than is given is cut, as the standard has it."""
    if text is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"[0-9]{1,18}", text) is None or int(text) < 1:
        raise ParameterError(f"limit: a whole number from 1 was wanted, got {text[:80]!r}")
    return min(int(text), MOST_LIMIT)


def _first_row(layer: Layer, cursor: str | None) -> int:
    """Where a page begins; a cursor of another version of the layer leads nowhere."""
    if cursor is None:
        return 0
    version, _, row = cursor.partition("-")
    if version != layer.version or re.fullmatch(r"[0-9]{1,9}", row) is None:
        raise ParameterError(
            f"cursor: that of a link to a next page of version {layer.version} was wanted, got "
            f"{cursor[:80]!r}; the layer may have changed, begin again"
        )
    return int(row)


def _chosen(layer: Layer, given: dict[str, str | None]) -> NDArray[np.int64]:
    """Rows of the features that all conditions hold for, in order."""
    if given["datetime"] is not None:
        try:
            interval(None, None, given["datetime"])
        except InputError as exc:
            raise ParameterError(str(exc)) from exc
    kept = np.ones(len(layer), np.bool_)
    if given["bbox"] is not None:
        kept[:] = False
        for box in _boxes(given["bbox"]):
            kept[layer.tree.query(box, predicate="intersects")] = True
    for name in _QUERYABLE:
        if given[name] is not None:
            kept &= np.array([str(value) == given[name] for value in layer.column(name)], np.bool_)
    return np.flatnonzero(kept)


def _boxes(text: str) -> list[shapely.Geometry]:
    """A bounding box as one area, or as two where it goes over the 180th meridian."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ParameterError(f"bbox: four or six numbers were wanted, got {text[:80]!r}")
    west, south, east, north = numbers
    if not (abs(west) <= 180 and abs(east) <= 180 and -90 <= south <= north <= 90):
        raise ParameterError(
            "bbox: longitudes in -180..180 and latitudes in -90..90 with south <= north were "
            f"wanted, got {text[:80]!r}"
        )
    if west <= east:
        return [shapely.box(west, south, east, north)]
    return [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
