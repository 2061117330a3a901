"""Whatever comes in, nothing dies, nothing is lost silently, every rejection has a reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from running_city import City, Device, city_of, wait_for, wait_until_equal

from core.frames import Frame, encode_frame
from core.units import NS_PER_S, ns_to_rfc3339
from ingest.broker import BrokerAddress, MosquittoBroker, find_mosquitto

AWAY_S = 20.0

HOSTILE: list[tuple[str, bytes, str]] = [
    ("qn/qingdao/sensor/water-0001", b"{", "bad_json"),
    ("qn/qingdao/sensor/water-0001", b"\xff\xfe\x00", "bad_json"),
    ("qn/qingdao/sensor/water-0001", b"[1, 2]", "wrong_type"),
    ("qn/qingdao/sensor/water-0001", b'{"measures": {"water_level_m": "deep"}}', "wrong_type"),
    ("qn/qingdao/sensor/water-0001", b'{"measures": {"water_level_m": NaN}}', "not_finite"),
    ("qn/qingdao/sensor/water-0001", b'{"measures": {"water_level_m": 1e300}}', "bad_measure"),
    (
        "qn/qingdao/sensor/water-0001",
        b'{"lon": 1200.0, "lat": 36.0, "measures": {"water_level_m": 0.1}}',
        "bad_position",
    ),
    (
        "qn/qingdao/sensor/water-0001",
        b'{"kind": "x", "time": "soon", "measures": {"a": 1}}',
        "bad_time",
    ),
    ("qn/qingdao/sensor/water-0001", b'{"x": "' + b"y" * 1024 * 1024 + b'"}', "too_large"),
    ("qn/qingdao/senml/gas-0001", b'[{"n": "x", "v": 1, "new_": 2}]', "bad_senml"),
    ("thing/product/SN1/unheard_of", b"{}", None),  # nobody subscribes: never reaches us
    ("thing/product/SN1/osd", b'"text"', "wrong_type"),
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    """A broker that keeps its sessions while it is away, as a city's own would."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    (tmp_path / "broker").mkdir()
    made = MosquittoBroker(tmp_path / "broker")
    made.start()
    yield made
    made.stop()


def _smoke(device: Device, at_ns: int, level: float, seq: int, thing: str = "smoke-0001") -> None:
    device.publish(
        f"qn/qingdao/sensor/{thing}",
        {
            "kind": "smoke",
            "time": ns_to_rfc3339(at_ns),
            "seq": seq,
            "measures": {"smoke_db_per_m": level},
        },
    )


def _alarm(city: City, device: Device, thing: str) -> None:
    """A smoke alarm that lasts, and the incident it must become."""
    start_ns = time.time_ns()  # noqa: TID251 (a device's own clock)
    for step in range(4):
        _smoke(device, start_ns + (5 * step - 20) * NS_PER_S, 0.5, step, thing)
    device.wait()
    wait_for(
        f"incident of {thing}",
        lambda: city.incidents(scenario="smoke-alarm", thing=thing),
    )


def _frames() -> list[bytes]:
    """Good frames whose size changes, one that is cut short, and no frame at all."""
    payloads = [b"no frame", b""]
    for number, (width, height) in enumerate(((640, 360), (320, 180), (640, 360))):
        ok, jpeg = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
        assert ok
        payloads += [
            encode_frame(
                Frame(
                    camera_id="camera-1",
                    time_ns=time.time_ns() + number * NS_PER_S,  # noqa: TID251
                    width_px=width,
                    height_px=height,
                    jpeg=jpeg.tobytes()[:cut],
                )
            )
            for cut in (None, 200)
        ]
    return payloads


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(240)
def test_hostile_input_and_a_broker_that_goes_away(tmp_path: Path, broker: MosquittoBroker) -> None:
    address: BrokerAddress = broker.address
    with city_of(tmp_path / "data", address) as city:
        device = Device(address)
        for topic, payload, _ in HOSTILE:
            device.publish(topic, payload)
        for payload in _frames():
            device.publish("qn/qingdao/frame/camera-1", payload, qos=0)
        day_ns = 86_400 * NS_PER_S
        now_ns = time.time_ns()  # noqa: TID251
        _smoke(device, now_ns + day_ns, 0.01, 1, "smoke-0003")
        _smoke(device, now_ns - day_ns, 0.01, 2, "smoke-0003")
        device.wait()

        wanted: dict[str, int] = {}
        for _, _, reason in HOSTILE:
            if reason:
                wanted[reason] = wanted.get(reason, 0) + 1
        wait_until_equal(city.rejections, wanted)
        _alarm(city, device, "smoke-0001")

        # The broker goes away for a while; devices keep what it has not acknowledged.
        broker.stop()
        gone_s = time.monotonic()
        at_ns = time.time_ns()  # noqa: TID251
        for step in range(4):
            _smoke(device, at_ns + (5 * step - 20) * NS_PER_S, 0.6, step, "smoke-0004")
        assert city.get("/healthz")
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - gone_s)))  # the outage itself
        broker.start()
        device.wait(60)
        wait_for(
            "incident of what was sent during the outage",
            lambda: city.incidents(scenario="smoke-alarm", thing="smoke-0004"),
            60,
        )
        _alarm(city, device, "smoke-0005")
        assert city.rejections() == wanted
        metrics = _metrics(city)
        assert metrics['qingniao_ingest_clock_skew_total{reason="clock_ahead"}'] == 1
        assert metrics['qingniao_ingest_clock_skew_total{reason="clock_behind"}'] == 1
        assert city.process.poll() is None
        device.close()
        assert city.stop() == 0


def _metrics(city: City) -> dict[str, float]:
    import httpx

    lines = httpx.get(f"{city.url}/metrics", timeout=10).text.splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line and not line.startswith("#")
    }
