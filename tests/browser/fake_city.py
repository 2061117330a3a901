"""A city made of canned answers that the page can talk to.

The server says what the API says (see docs on the HTTP interface) but holds no platform, so
that a fault found here is a fault of the page.
"""

from __future__ import annotations

import json
import mimetypes
import queue
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import cv2
import msgspec
import numpy as np
import shapely
from playwright.sync_api import Page
from shapely import Point

from core.city import CameraPose, LayerRole
from core.incidents import OPEN_STATUSES
from geo.camera import FlatGroundProjector
from geo.city import City

DIST = Path(__file__).parents[2] / "web" / "dist"
TOKEN = "a-token-for-tests"
BEGIN = datetime(2026, 5, 20, 0, 30, tzinfo=UTC)

#: Scenario, Chinese and English name, domain, code, severity, kind, measure, value, threshold.
SCENARIOS: dict[str, tuple[str, str, str, str, str, str, str, float, float]] = {
    "road-flooding": (
        "道路积水", "Road flooding", "交通", "01015", "severe",
        "water_level", "water_level_m", 0.31, 0.25,
    ),
    "illegal-parking": (
        "机动车乱停放", "Illegal parking", "交通", "09009", "minor",
        "detection.static_object", "dwell_s", 130.0, 120.0,
    ),
    "exposed-waste": (
        "暴露垃圾", "Exposed waste", "城管", "02001", "minor",
        "detection.static_object", "dwell_s", 150.0, 120.0,
    ),
    "manhole-cover": (
        "井盖异常", "Manhole cover out of place", "城管", "01001", "severe",
        "manhole", "tilt_deg", 22.5, 15.0,
    ),
    "site-dust": (
        "工地扬尘", "Site dust", "住建", "05003", "moderate",
        "site_air", "pm10_ug_m3", 182.0, 150.0,
    ),
    "gas-leak": (
        "燃气泄漏", "Gas leak", "社区", "10002", "extreme",
        "gas", "gas_lel_ratio", 0.14, 0.10,
    ),
    "fire-lane-blocked": (
        "占用消防通道", "Fire lane blocked", "社区", "10007", "severe",
        "parking", "occupied", 1.0, 1.0,
    ),
    "unidentified-aircraft": (
        "不明航空器", "Unidentified aircraft", "低空", "LA-003", "moderate",
        "aircraft", "alt_takeoff_m", 64.0, 0.0,
    ),
}  # fmt: skip

STEPS = ("collected", "filed", "dispatched", "handling", "feedback", "closed")
ACTIONS = {
    "collected": ["file", "cancel"],
    "filed": ["dispatch", "cancel"],
    "dispatched": ["accept", "return", "cancel"],
    "handling": ["feedback", "return", "cancel"],
    "feedback": ["close", "return", "cancel"],
    "closed": ["evaluate", "reopen"],
}
LEADS_TO = {
    "file": "filed",
    "dispatch": "dispatched",
    "accept": "handling",
    "feedback": "feedback",
    "close": "closed",
    "cancel": "cancelled",
    "return": "filed",
}


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def street_picture() -> bytes:
    """A street as a camera sees it, with a box around a car: JPEG, 640 × 360 pixels."""
    picture = np.zeros((360, 640, 3), np.uint8)
    picture[:150] = np.linspace((178, 160, 140), (214, 204, 190), 150)[:, None]
    picture[150:] = (84, 86, 88)
    cv2.rectangle(picture, (0, 60), (210, 170), (96, 104, 118), -1)
    cv2.rectangle(picture, (430, 40), (640, 170), (112, 116, 124), -1)
    for column in range(20, 200, 36):
        cv2.rectangle(picture, (column, 80), (column + 18, 104), (150, 160, 170), -1)
    cv2.fillPoly(picture, [np.array([[0, 360], [0, 230], [250, 150], [290, 150]])], (132, 138, 140))
    for step in range(6):
        top, wide = 160 + step * 34, 2 + step * 2
        cv2.line(
            picture, (345 + step * 12, top), (352 + step * 16, top + 18), (230, 230, 226), wide
        )
    cv2.rectangle(picture, (395, 205), (530, 280), (150, 72, 44), -1)
    cv2.rectangle(picture, (420, 178), (508, 210), (110, 56, 40), -1)
    for wheel in (420, 505):
        cv2.circle(picture, (wheel, 282), 15, (28, 28, 28), -1)
    cv2.rectangle(picture, (384, 168), (542, 302), (92, 108, 255), 3)
    ok, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert ok
    return encoded.tobytes()


def _footprint(pose: CameraPose) -> dict[str, Any]:
    shape = FlatGroundProjector().footprint(pose)
    ring = shapely.get_coordinates(shape.exterior).tolist()
    return {"type": "Polygon", "coordinates": [ring]}


class FakeCity:
    """What the API would know, and the open streams that hear of changes."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.now = BEGIN
        self.incidents: dict[str, dict[str, Any]] = {}
        self.evidence: dict[str, list[dict[str, Any]]] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.things: dict[str, dict[str, Any]] = {}
        #: Whether new streams are refused.
        self.refuse = False
        self.sequence = 0
        self.feed: list[tuple[int, bytes]] = []
        self.listeners: list[queue.SimpleQueue[bytes | None]] = []
        self.lock = threading.Lock()
        self.picture = street_picture()
        self.layers = {layer.id: layer.geojson() for layer in city.layers.values()}

    # --- What happens in the city ---

    def open_incident(
        self,
        scenario: str,
        lon_deg: float,
        lat_deg: float,
        *,
        status: str = "dispatched",
        minutes_ago: float = 0.0,
        deadline_min: float = 240.0,
        tell: bool = True,
        rework_count: int = 0,
        worker: tuple[str, str] = ("worker-01", "王海燕"),
        thing_id: str = "",
    ) -> str:
        zh, en, domain, code, severity, kind, measure, value, threshold = SCENARIOS[scenario]
        number = len(self.incidents) + 1
        opened = self.now - timedelta(minutes=minutes_ago)
        began = opened - timedelta(seconds=95)
        incident_id = f"{number:032x}"
        thing_id = thing_id or f"{kind.replace('_', '-')}-{number:04d}"
        snapshot = f"camera-1/{number:04d}.jpg" if kind.startswith("detection") else None
        deadline = opened + timedelta(minutes=deadline_min)
        area = self._area(lon_deg, lat_deg)
        self.incidents[incident_id] = {
            "id": incident_id,
            "case_number": f"370202{opened:%Y%m%d}{number:05d}",
            "scenario": scenario,
            "scenario_name": {"zh": zh, "en": en},
            "domain": domain,
            "category_system": "LA" if code.startswith("LA") else "GB/T 47678.5",
            "category_code": code,
            "department": {"zh": "城市管理部门", "en": "Urban management department"},
            "severity": severity,
            "status": status,
            "place": {
                "lon_deg": lon_deg,
                "lat_deg": lat_deg,
                "error_major_m": 6.5,
                "error_minor_m": 2.4,
                "error_azimuth_deg": 78.0,
                **area,
                "generated": True,
                "road_name": "鹿鸣中路",
                "road_distance_m": 4.2,
                "zones": ["no-parking-1"] if scenario == "illegal-parking" else [],
                "airspaces": [],
                "unplaced": None,
                "layer_versions": {},
            },
            "began_at": _text(began),
            "opened_at": _text(opened),
            "updated_at": _text(opened),
            "deadline_at": _text(deadline),
            "cleared_at": None,
            "closed_at": _text(opened + timedelta(minutes=20)) if status == "closed" else None,
            "unit_id": "community-370202091",
            "unit_name": "银帆路街道网格中心",
            "worker_id": worker[0],
            "worker_name": worker[1],
            "confidence_ratio": 0.86,
            "source_count": 1,
            "event_count": 2,
            "rework_count": rework_count,
            "explanation": {
                "zh": f"为何立案：{thing_id} 自 {began:%H:%M:%S} 起符合规则，实测 {value:g}，"
                f"阈值 {threshold:g}。\n为何由您处理：事发地在您的网格内，您离现场最近。\n"
                f"时限：4 小时（全天计时）。\n结案条件：现场恢复正常，附处理后照片",
                "en": f"Why a case: {thing_id} met the rule from {began:%H:%M:%S} on; it measured "
                f"{value:g} against {threshold:g}.\nWhy you: the place is in your grid and you "
                "are nearest.\nTime: 4 h (around the clock).\nClosed when: the place is back to "
                "normal; a picture taken afterwards is attached",
            },
            "snapshot": snapshot,
            "version": 1,
            "a_field_of_tomorrow": {"ignored": True},
        }
        self.evidence[incident_id] = [
            {
                "event_id": f"{number:016x}{edge:016x}",
                "source": "vision" if snapshot else "plain",
                "thing_id": thing_id,
                "kind": kind,
                "rule": f"{scenario}/sensor",
                "edge": ("raise", "still")[edge],
                "at": _text(opened + timedelta(minutes=edge)),
                "at_ns": 0,
                "lon_deg": lon_deg,
                "lat_deg": lat_deg,
                "because": {
                    "for_s": 60.0,
                    "held_s": 95.0 + 60.0 * edge,
                    "measure": measure,
                    "comparison": "at_least",
                    "threshold": threshold,
                    "value": value,
                    "peak": value,
                },
                "observation_ids": [],
                "snapshots": [snapshot] if snapshot else [],
            }
            for edge in range(2)
        ]
        reached = STEPS[: STEPS.index(status) + 1] if status in STEPS else ("collected",)
        self.history[incident_id] = [
            {
                "at": _text(opened + timedelta(minutes=2 * step)),
                "actor": "system" if step < 3 else worker[1],
                "action": ("collect", "file", "dispatch", "accept", "feedback", "close")[step],
                "from_status": reached[step - 1] if step else None,
                "to_status": to_status,
                "reason": "",
            }
            for step, to_status in enumerate(reached)
        ]
        if tell:
            self.tell_incident("opened", incident_id)
        return incident_id

    def _area(self, lon_deg: float, lat_deg: float) -> dict[str, Any]:
        codes: dict[str, Any] = {}
        names: list[str] = []
        for role in (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID):
            (layer,) = self.city.layers_of(role)
            frame = layer.frame
            near = frame.iloc[frame.geometry.sindex.nearest(Point(lon_deg, lat_deg))[1][0]]
            codes[f"{role.value}_code"] = near["code"]
            names.append(near["name"])
        return {**codes, "area_name": names[2]}

    def move(self, thing_id: str, kind: str, lon_deg: float, lat_deg: float, **more: Any) -> None:
        thing = {
            "thing_id": thing_id,
            "kind": kind,
            "observed_at": _text(self.now),
            "lon_deg": lon_deg,
            "lat_deg": lat_deg,
            "heading_deg": None,
            "measures": {},
            "labels": {},
            "state": "live",
            **more,
        }
        self.things[thing_id] = thing
        self._send("thing", thing, None)

    def tell_incident(self, change: str, incident_id: str) -> None:
        body = {
            "change": change,
            "at": _text(self.now),
            "incident": self.incidents[incident_id],
            "evidence": self.evidence[incident_id][-1],
        }
        self.sequence += 1
        self._send("incident", body, self.sequence)

    def tell_figures(self) -> None:
        opened = [one for one in self.incidents.values() if one["status"] in OPEN_STATUSES]
        figures = {
            "observations_per_s": 412.5,
            "frames_per_s": 11.7,
            "lag_s": 0.084,
            "incidents_open": len(opened),
            "rejections": 3,
            "city_time": _text(self.now),
        }
        self._send("figures", figures, None)

    def act(self, incident_id: str, action: str, reason: str, actor: str) -> None:
        incident = self.incidents[incident_id]
        before, after = incident["status"], LEADS_TO[action]
        incident["status"] = after
        incident["version"] += 1
        incident["updated_at"] = _text(self.now)
        self.history[incident_id].append(
            {
                "at": _text(self.now),
                "actor": actor,
                "action": action,
                "from_status": before,
                "to_status": after,
                "reason": reason,
            }
        )
        self.tell_incident("transition", incident_id)

    def drop_streams(self) -> None:
        """Cut every stream, as a network does."""
        with self.lock:
            for listener in self.listeners:
                listener.put(None)

    def _send(self, event: str, data: dict[str, Any], sequence: int | None) -> None:
        head = f"event: {event}\n" + (f"id: {sequence}\n" if sequence is not None else "")
        frame = f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
        with self.lock:
            if sequence is not None:
                self.feed.append((sequence, frame))
            for listener in self.listeners:
                listener.put(frame)

    # --- What readers ask ---

    def detail(self, incident_id: str) -> dict[str, Any]:
        incident = self.incidents[incident_id]
        return {
            **incident,
            "evidence": self.evidence[incident_id],
            "history": self.history[incident_id],
            "transitions": ACTIONS.get(incident["status"], []),
        }

    def cameras(self) -> list[dict[str, Any]]:
        found = []
        for camera in self.city.cameras.values():
            pose, live = camera.pose, camera.camera_id == "camera-1"
            found.append(
                {
                    "camera_id": camera.camera_id,
                    "name": camera.name,
                    "flies": pose is None,
                    "lon_deg": None if pose is None else pose.lon_deg,
                    "lat_deg": None if pose is None else pose.lat_deg,
                    "pose": None if pose is None else msgspec.to_builtins(pose),
                    "footprint": None if pose is None else _footprint(pose),
                    "state": "live" if live else None,
                    "quality": "good" if live else None,
                    "frames_per_s": 2.0 if live else 0.0,
                    "last_frame_at": _text(self.now - timedelta(seconds=4)) if live else None,
                    "snapshot": "camera-1/latest.jpg" if live else None,
                    "snapshot_url": "/snapshots/camera-1/latest.jpg" if live else None,
                }
            )
        return found

    def layer_list(self) -> list[dict[str, Any]]:
        return [
            {
                "id": layer.id,
                "role": layer.role.value,
                "title": {"zh": layer.title.zh, "en": layer.title.en},
                "version": layer.version,
                "feature_count": len(layer),
                "url": f"/layers/{layer.id}",
            }
            for layer in self.city.layers.values()
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeCity

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        fake = self.fake
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        match [unquote(part) for part in parts.path.split("/") if part]:
            case ["incidents"]:
                assert set(query) <= {"limit", "status"}
                assert query.get("status", ["open"]) == ["open"]
                found = [
                    one
                    for one in fake.incidents.values()
                    if "status" not in query or one["status"] in OPEN_STATUSES
                ]
                newest = sorted(found, key=lambda one: one["opened_at"], reverse=True)
                self._json({"incidents": newest, "next": None})
            case ["incidents", incident_id] if incident_id in fake.incidents:
                self._json(fake.detail(incident_id))
            case ["layers"]:
                self._json(fake.layer_list())
            case ["layers", layer_id]:
                self._bytes(fake.layers[layer_id], "application/geo+json")
            case ["things"]:
                self._json({"things": list(fake.things.values())})
            case ["cameras"]:
                self._json({"cameras": fake.cameras()})
            case ["snapshots", *_]:
                self._bytes(fake.picture, "image/jpeg")
            case ["stream"] if fake.refuse:
                self._json({"detail": "not now"}, 503)
            case ["stream"]:
                self._stream()
            case path:
                self._file(DIST.joinpath(*path) if path else DIST / "index.html")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match [part for part in self.path.split("/") if part]:
            case ["incidents", incident_id, "transitions"]:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._json({"detail": "token: missing or wrong"}, 401)
                    return
                assert set(body) <= {"action", "reason", "version", "actor", "role"}
                self.fake.act(
                    incident_id,
                    body["action"],
                    body.get("reason", ""),
                    body.get("actor", body["role"]),
                )
                self._json(self.fake.incidents[incident_id])
            case _:
                self._json({"detail": "no such address"}, 404)

    def _stream(self) -> None:
        listener: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        last = self.headers.get("Last-Event-ID")
        with self.fake.lock:
            for sequence, frame in self.fake.feed:
                if last is not None and sequence > int(last):
                    listener.put(frame)
            self.fake.listeners.append(listener)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(b"retry: 300\n\n")
            while (frame := listener.get()) is not None:
                self.wfile.write(frame)
                self.wfile.flush()
        except OSError:
            pass  # the browser went
        finally:
            with self.fake.lock:
                self.fake.listeners.remove(listener)

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._json({"detail": f"no file {path.name}"}, 404)
            return
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._bytes(path.read_bytes(), "text/javascript" if path.suffix == ".js" else kind)

    def _json(self, body: Any, status: int = 200) -> None:
        self._bytes(json.dumps(body, ensure_ascii=False).encode(), "application/json", status)

    def _bytes(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Served:
    """A fake city on a port, its clock running at twenty times the wall's speed."""

    def __init__(self, city: City) -> None:
        self.fake = FakeCity(city)
        handler = type("Handler", (_Handler,), {"fake": self.fake})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,)),
            threading.Thread(target=self._tick),
        ]
        for thread in self._threads:
            thread.start()

    def _tick(self) -> None:
        while not self._stop.wait(0.5):
            self.fake.now += timedelta(seconds=10)
            self.fake.tell_figures()

    def stop(self) -> None:
        self._stop.set()
        self.fake.drop_streams()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(5)
        self._server.server_close()


class Watched:
    """A page whose console and requests are kept, to be judged at the end."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url, origin))

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", "data:", f"blob:{origin}/")):
            self.strangers.append(url)
