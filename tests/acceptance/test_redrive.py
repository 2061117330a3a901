"""``qingniao redrive`` on a running city: once decoder and rule are mended, each counts once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from running_city import ROOT, City, Device, wait_for, wait_until_equal

from core.units import NS_PER_S, ns_to_rfc3339
from ingest.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

MENDED = """\
from core.errors import DecodeError
from core.observations import Observation

FILTERS = [("acme/+/up", 1)]


def decode(message):
    try:
        level_m = float(message.payload)
    except ValueError as exc:
        raise DecodeError("bad_level", "a number was wanted") from exc
    if level_m >= MOST:
        raise DecodeError("bad_level", f"{level_m} m is too much")
    return [Observation(source="x", thing_id=message.topic.split("/")[1], kind="water_level",
                        measures={"water_level_m": level_m}, has_device_time=False,
                        observed_ns=message.received_ns, received_ns=0)]
"""
#: Refuses what is good, and brings a fault of the rules with it: a connector runs inside ingest.
BROKEN = """\
from scenarios.engine import RuleEngine

_process = RuleEngine.process_rounds


def _with_a_fault(self, batch, tags):
    found = _process(self, batch, tags)
    if "poison" in batch.thing_ids:
        raise ZeroDivisionError("a fault in a rule")
    return found


RuleEngine.process_rounds = _with_a_fault
"""
SAMPLES = """\
{"name": "read", "topic": "acme/7/up", "payload": "0.5", "gives": [{"kind": "water_level"}]}
{"name": "refused", "topic": "acme/7/up", "payload": "deep", "rejected": "bad_level"}
"""


def redrive(city: City, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "redrive", "--url", city.url, *options],
        cwd=ROOT,
        env=os.environ | {"QINGNIAO_DATA_DIR": str(city.data_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    return output


def in_quarantine(city: City) -> Counter[str]:
    return Counter(one["reason"] for one in city.get("/quarantine", limit=100)["rejections"])


def books(city: City) -> dict[str, dict[str, Any]]:
    return {one["source"]: one for one in city.get("/ledger")["totals"]}


def is_settled(city: City) -> bool:
    return all(one["in_flight"] == 0 for one in books(city).values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_was_mended_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connectors = tmp_path / "connectors"
    connectors.mkdir()
    code = connectors / "acme.py"
    (connectors / "acme.samples.jsonl").write_text(SAMPLES, encoding="utf-8")
    code.write_text(f"{BROKEN}\n\n{MENDED}\n\nMOST = 1.0\n", encoding="utf-8")
    monkeypatch.setenv("QINGNIAO_CONNECTORS", str(connectors))
    (tmp_path / "broker").mkdir()
    broker = (MosquittoBroker if find_mosquitto() else EmbeddedBroker)(tmp_path / "broker")
    broker.start()
    city = City(tmp_path / "data", broker.address)
    try:
        device = Device(broker.address)
        began_ns = time.time_ns()  # noqa: TID251 (a device's own clock)
        for thing, level_m in (("a", "0.2"), ("b", "3.5"), ("c", "4.5"), ("d", "deep")):
            device.publish(f"acme/{thing}/up", level_m.encode())
        for number, thing in enumerate(("fine", "poison", "also-fine")):
            device.publish(
                f"qn/qingdao/sensor/{thing}",
                {
                    "kind": "water_level",
                    "time": ns_to_rfc3339(began_ns - NS_PER_S),
                    "seq": number,
                    "measures": {"water_level_m": 0.1},
                },
            )
        device.wait()
        wait_until_equal(
            lambda: in_quarantine(city), Counter({"bad_level": 3, "agent_failed": 1}), 60
        )
        received = {
            one["topic"]: one["received_at"] for one in city.get("/quarantine")["rejections"]
        }
        output = told(redrive(city))
        assert "dry run" in output
        assert in_quarantine(city) == Counter({"bad_level": 3, "agent_failed": 1})
        # Nothing has been mended yet: it stays, and the rules set it aside again.
        told(redrive(city, "--apply"))
        wait_until_equal(
            lambda: in_quarantine(city), Counter({"bad_level": 3, "agent_failed_again": 1}), 60
        )
        assert city.stop(30) == 0

        code.write_text(f"{MENDED}\n\nMOST = 10.0\n", encoding="utf-8")
        city = City(tmp_path / "data", broker.address)
        # Two people at once.
        both = [redrive(city, "--apply"), redrive(city, "--apply")]
        for one in both:
            told(one)
        wait_until_equal(lambda: in_quarantine(city), Counter({"bad_level": 1}), 60)
        assert "still there" in told(redrive(city, "--apply", "--reason", "bad_level"))

        wait_for("settled ledger", lambda: is_settled(city) and "poison" in _archived(city), 60)
        assert _archived(city) == Counter(["a", "b", "c", "fine", "poison", "also-fine"])
        (late,) = city.get("/observations", thing="b")["observations"]
        assert late["received_at"] == received["acme/b/up"]
        ledger = city.get("/ledger")
        assert ledger["differences"] == [], repr(ledger)
        found = books(city)
        assert (found["acme"]["accepted"], found["plain"]["accepted"]) == (3, 3)
        assert not any(one["missing"] or one["unarchived"] for one in found.values())
        device.close()
        assert city.stop(30) == 0
    finally:
        if city.process.poll() is None:
            city.kill()
        broker.stop()


def _archived(city: City) -> Counter[str]:
    rows = city.get("/observations", kind="water_level", limit=1000)["observations"]
    return Counter(one["thing_id"] for one in rows)
