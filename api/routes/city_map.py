"""The map: layers, tagging, things, cameras, pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
import shapely
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from numpy.typing import NDArray

from api.answers import GEOJSON, JsonBytes, as_json, encoded
from api.evidence_files import SnapshotDesk
from api.live import camera_word
from api.query import Parameter, Parameters
from api.schemas import PROBLEMS, answer
from api.services import Services
from core.city import AltitudeDatum, Camera, CameraPose
from core.errors import InputError, NotFoundError
from core.events import Place
from core.snapshots import MEDIA_TYPES
from core.units import NS_PER_MS, ns_to_rfc3339, rfc3339_to_ns
from geo.camera import FlatGroundProjector
from geo.crs import convert_points
from geo.fact_sheet import Asked, fact_sheets
from geo.layers import Layer
from geo.live_map import LiveTagger
from geo.model import City
from geo.tagging import Tagger
from store.documents import join_array, thing_body
from store.things import Thing

#: Most points of one tagging request.
MAX_POINTS = 10_000

_HALF_METRE_DEG = 5e-6

_THINGS = Parameters(Parameter("kind", "Only things of this kind, e.g. aircraft or dock."))
_NONE = Parameters()


class _Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a tagging request; every list but points may be left out."""

    points: list[tuple[float, float]]
    crs: str = "EPSG:4326"
    altitudes_m: list[float | None] | None = None
    datum: AltitudeDatum = AltitudeDatum.AGL
    errors_m: list[float | None] | None = None
    time: str | None = None
    detail: Literal["place", "full"] = "place"


_POINTS = msgspec.json.Decoder(_Points)


def build_router(services: Services) -> APIRouter:
    """The routes of the map."""
    router = APIRouter(tags=["map"], responses=PROBLEMS)
    store = services.store
    desk = SnapshotDesk(services.snapshot_dir, services.city.cameras, services.clock)

    @router.post(
        "/geo/tag",
        summary="Where points are: district, street, community, grid, road, zones",
        description=f'Up to {MAX_POINTS:,} points `{{"points": [[lon, lat], …]}}`; the places '
        "come in the same order, in WGS 84, unknown levels are null. `crs` says what the points "
        "are in: EPSG:4326 (the default), GCJ-02, BD-09, EPSG:4490, EPSG:4549 and so on. "
        "`altitudes_m` with their `datum` place them in airspace, `errors_m` (one sigma) give the "
        "grids that a point may lie in with their shares, `time` (RFC 3339, now unless given) "
        "picks the versions of layers and the hours of airspace. `detail: full` adds Beidou and "
        "H3 codes, the side of the road, the nearest component and its unit, and why a level is "
        "null.",
        response_class=JsonBytes,
        responses=answer("The places", {"places": [Place]}),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": msgspec.json.schema(_Points)["$defs"]["_Points"],
                        "example": {"points": [[120.3846, 36.0614]]},
                    }
                },
            }
        },
    )
    async def tag_points(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_tag, services, body)

    @router.get(
        "/layers",
        summary="The layers of the map",
        response_class=JsonBytes,
    )
    def list_layers(request: Request) -> Response:
        _NONE.read(request)
        return encoded(
            [
                {
                    "id": layer.id,
                    "role": layer.role,
                    "title": layer.title,
                    "version": layer.version,
                    "feature_count": len(layer),
                    "url": f"/layers/{layer.id}",
                }
                for layer in layers_now(services).values()
            ]
        )

    @router.get("/layers/{layer_id}", summary="A layer as GeoJSON", response_class=JsonBytes)
    def get_layer(request: Request, layer_id: str) -> Response:
        _NONE.read(request)
        layer = find_layer(services, layer_id)
        headers = {"ETag": f'"{layer.version}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(layer.geojson(), media_type=GEOJSON, headers=headers)

    @router.get(
        "/things",
        summary="Last states of things",
        description="`state` is live, late or stale by a thing's own rhythm; null where it was "
        "not heard since the start.",
        openapi_extra=_THINGS.openapi,
        response_class=JsonBytes,
        responses=answer("The things", {"things": [Thing]}),
    )
    def list_things(request: Request) -> Response:
        kind = _THINGS.read(request)["kind"]
        kept = {one.thing_id: thing_body(one, None) for one in store.list_things(kind)}
        if services.live is not None:
            kept |= services.live.things(kind)
        return JsonBytes(b'{"things":%b}' % join_array(kept[key] for key in sorted(kept)))

    @router.get(
        "/cameras",
        summary="The cameras: where they look, whether they send, the newest picture",
        response_class=JsonBytes,
    )
    def list_cameras(request: Request) -> Response:
        _NONE.read(request)
        return encoded({"cameras": _cameras(services)})

    @router.get(
        "/snapshots/{path:path}",
        summary="A picture or a clip that is evidence, or a camera's live picture",
        description="Clips are VP8 in WebM; parts of them are given on `Range`. A picture is named "
        "a moment before it is there: the answer waits two seconds for it, then is 503 with "
        "`Retry-After`.",
        response_class=FileResponse,
        responses={
            200: {
                "content": {one: {} for one in MEDIA_TYPES.values()},
                "description": "The picture or clip",
            },
            206: {"description": "The part of it that was asked for"},
        },
    )
    async def get_snapshot(path: str) -> Response:
        file = await desk.find(path)
        return FileResponse(
            file,
            media_type=MEDIA_TYPES[file.suffix],
            headers={"Cache-Control": "private, max-age=3600"},
        )

    return router


def layers_now(services: Services) -> dict[str, Layer]:
    """The layers that count now."""
    return map_at(services, services.clock.now_ns())[1].layers


def find_layer(services: Services, layer_id: str) -> Layer:
    """The version of a layer that counts now.

    Raises:
        NotFoundError: There is no such layer; lists those that there are.
    """
    layers = layers_now(services)
    if layer_id not in layers:
        known = ", ".join(layers)
        raise NotFoundError(f"layer {layer_id[:80]!r}: there is none with this id; {known}")
    return layers[layer_id]


def map_at(services: Services, time_ns: int) -> tuple[Tagger, City]:
    """The map that counts at an instant."""
    if isinstance(services.tagger, LiveTagger):
        return services.tagger.at(time_ns)
    return services.tagger, services.city


def _tag(services: Services, body: bytes) -> Response:
    try:
        asked = _POINTS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise InputError(f'body: {{"points": [[lon, lat], …]}} was wanted: {exc}') from exc
    points = asked.points
    if len(points) > MAX_POINTS:
        raise InputError(f"body.points: at most {MAX_POINTS} were wanted, got {len(points)}")
    if not points:
        return JsonBytes(b'{"places":[]}')
    time_ns = services.clock.now_ns() if asked.time is None else rfc3339_to_ns(asked.time)
    tagger, city = map_at(services, time_ns)
    xy = np.array(points, dtype=np.float64)
    lon, lat = convert_points(xy[:, 0], xy[:, 1], asked.crs, "EPSG:4326")
    wrong = np.flatnonzero(~((np.abs(lon) <= 180.0) & (np.abs(lat) <= 90.0)))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"body.points[{row}]: a position on Earth, [lon, lat] in -180..180 and -90..90 or a "
            f"pair that {asked.crs} can express, was wanted, got {list(points[row])}"
        )
    heights = _column(asked.altitudes_m, len(points), "altitudes_m")
    altitudes = {} if asked.altitudes_m is None else {asked.datum: heights}
    times = np.full(len(points), time_ns, dtype=np.int64)
    errors = _column(asked.errors_m, len(points), "errors_m")
    if asked.detail == "full":
        whole = Asked.of_points(lon, lat, altitudes, times, errors)
        places = [as_json(sheet) for sheet in fact_sheets(tagger, city, whole)]
    else:
        tags = tagger.tag(lon, lat, altitudes or None, times)
        plain = asked.crs == "EPSG:4326"  # positions are given back as they were written
        places = []
        for row, point in enumerate(points):
            x, y = point if plain else (float(lon[row]), float(lat[row]))
            error = float(errors[row])
            places.append(as_json(_full_place(tags.place(row, x, y, error, error))))
    return JsonBytes(b'{"places":%b}' % join_array(places))


def _column(values: list[float | None] | None, count: int, name: str) -> NDArray[np.float64]:
    if values is None:
        return np.full(count, np.nan)
    if len(values) != count:
        raise InputError(
            f"body.{name}: one value for each of the {count} points was wanted, got {len(values)}"
        )
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _full_place(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Place.__struct_fields__}


@lru_cache(maxsize=4096)
def _footprint(pose: CameraPose) -> dict[str, Any] | None:
    """The ground that a camera shows, as a GeoJSON polygon to half a metre; None if it sees none.

    Remembered, for fixed cameras are asked about again and again.
    """
    shape = FlatGroundProjector().footprint(pose).simplify(_HALF_METRE_DEG)
    if shape.is_empty:
        return None
    ring = shapely.get_coordinates(shape.exterior).round(7).tolist()
    return {"type": "Polygon", "coordinates": [ring]}


def _cameras(services: Services) -> list[dict[str, Any]]:
    states = {} if services.live is None else services.live.cameras()
    now_ns = services.clock.now_ns()
    known = dict(services.city.cameras)
    for camera_id in states:
        known.setdefault(camera_id, Camera(camera_id=camera_id))
    found: list[dict[str, Any]] = []
    for camera_id, camera in known.items():
        state = states.get(camera_id)
        pose = state.pose if state is not None and state.pose is not None else camera.pose
        snapshot = None if state is None else state.snapshot
        live = None if state is None or state.live is None else state
        found.append(
            {
                "camera_id": camera_id,
                "name": camera.name,
                "flies": camera.pose is None,
                "lon_deg": None if pose is None else pose.lon_deg,
                "lat_deg": None if pose is None else pose.lat_deg,
                "pose": pose,
                "footprint": None if pose is None else _footprint(pose),
                "state": None if state is None else camera_word(state, now_ns),
                "quality": None if state is None else state.quality,
                "frames_per_s": 0.0 if state is None else state.frames_per_s,
                "skipped_ratio": 0.0 if state is None else state.skipped_ratio,
                "last_frame_at": None if state is None else ns_to_rfc3339(state.last_frame_ns),
                "live_at": None if live is None else ns_to_rfc3339(live.live_ns),
                "live_url": None
                if live is None
                else f"/snapshots/{live.live}?at={live.live_ns // NS_PER_MS}",
                "snapshot": snapshot,
                "snapshot_url": None if snapshot is None else f"/snapshots/{snapshot}",
            }
        )
    return found
