"""Publishes readings at a steady rate, each with the instant at which it was sent.

Run as ``python -m benchmarks.stream_pacer HOST PORT USER PASSWORD RATE SECONDS RAISES``; prints
how many messages were sent and how long that took. It writes packets itself, all that are due in
one write, so that it takes little from the machine it measures. The instant, of
the machine's monotonic clock in nanoseconds, is the device sequence of a message and in the name
of a citizen's report, of which there are ``RAISES`` in a second.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time

from core.clock import SystemClock
from core.units import ns_to_rfc3339
from geo.city import load_city

#: Things that take turns.
THINGS = 1_000
REPORT = "report/bench-"

_PUBLISH_QOS_1 = 0x32


def main() -> None:
    """Publish, and say how it went."""
    host, port, user, password, rate, seconds, raises = sys.argv[1:]
    with socket.create_connection((host, int(port))) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(_connect(user, password))
        if link.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refused the publisher")
        threading.Thread(target=_drop_answers, args=(link,), daemon=True).start()
        count, taken_s = _publish(link, float(rate), float(seconds), int(raises))
    print(json.dumps({"messages": count, "seconds": taken_s}))


def _publish(link: socket.socket, rate: float, seconds: float, raises: int) -> tuple[int, float]:
    west, south, east, north = load_city("generated", seed=7).bounds
    chance = random.Random(7)  # noqa: S311 (places of reports)
    clock = SystemClock()
    every = round(rate / raises) if raises else 0
    total = round(rate * seconds)
    began, sent = time.perf_counter(), 0
    while sent < total:
        due = min(total, int((time.perf_counter() - began) * rate) + 1)
        packets, now_ns = [], clock.now_ns()
        for number in range(sent, due):
            at_ns, mid = time.monotonic_ns(), 1 + number % 65_535
            if every and number % every == 0:
                place = chance.uniform(west, east), chance.uniform(south, north)
                packets.append(_report(now_ns, at_ns, mid, *place))
            else:
                packets.append(_reading(now_ns, at_ns, mid, number % THINGS))
        if packets:
            link.sendall(b"".join(packets))
        sent = max(sent, due)
        time.sleep(0.001)
    taken_s = time.perf_counter() - began
    time.sleep(0.5)  # the broker reads the rest before the connection goes
    return sent, taken_s


def _reading(now_ns: int, at_ns: int, mid: int, thing: int) -> bytes:
    body = (
        b'{"seq":%d,"thing":"water-%07d","kind":"water_level","time":%d,"lon":120.38%04d,'
        b'"lat":36.0612,"error_m":1.5,"measures":{"water_level_m":0.02,"battery_v":3.61,'
        b'"temperature_c":18.4,"rssi_dbm":-97.0},"labels":{"firmware":"2.11.4-lts",'
        b'"site":"Yan\'an Road underpass, inlet 4"}}'
    ) % (at_ns, thing, now_ns // 1_000_000, thing)
    return _packet(b"qn/qingdao/sensor/water-%07d" % thing, mid, body)


def _report(now_ns: int, at_ns: int, mid: int, lon: float, lat: float) -> bytes:
    body = {
        "seq": at_ns,
        "thing": f"{REPORT}{at_ns:019d}",
        "time": ns_to_rfc3339(now_ns),
        "lon": lon,
        "lat": lat,
        "error_m": 5.0,
        "labels": {"scenario": "road-flooding"},
    }
    return _packet(b"qn/qingdao/report/bench-%d" % at_ns, mid, json.dumps(body).encode())


def _packet(topic: bytes, mid: int, body: bytes) -> bytes:
    whole = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + body
    return bytes([_PUBLISH_QOS_1, len(whole) & 0x7F | 0x80, len(whole) >> 7]) + whole


def _connect(user: str, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1 with a clean session, user name and password."""
    texts = [one.encode() for one in ("bench-pacer", user, password)]
    whole = b"\x00\x04MQTT\x04\xc2\x00\x00"
    whole += b"".join(len(one).to_bytes(2, "big") + one for one in texts)
    return bytes([0x10, len(whole)]) + whole


def _drop_answers(link: socket.socket) -> None:
    try:
        while link.recv(65_536):
            pass
    except OSError:
        pass


if __name__ == "__main__":
    main()
