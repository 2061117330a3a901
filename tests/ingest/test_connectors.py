"""Connectors: the example, and what is told of broken ones while the others go on."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from commands.city_process import CityProcess
from core.clock import ManualClock, SystemClock
from core.errors import ConnectorError
from core.ports import RawMessage
from core.settings import load_settings
from core.topics import INGEST_FILTERS
from geo.city import load_city
from ingest.broker import EmbeddedBroker
from ingest.connectors.load import load_connector, load_connectors, open_connectors, samples_path
from ingest.connectors.samples import read_samples
from ingest.connectors.suite import Check, checks
from ingest.decoders import source_of, use_added
from ingest.mqtt_source import MqttSource
from ingest.pipeline import decode_messages
from streams.partition import Processed

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "connectors"
NOW_NS = 1_782_867_600_000_000_000
WIND = b"$WIMWV,214.8,R,2.6,M,A*2B\r\n"

GOOD = """\
from core.observations import Observation

FILTERS = [("acme/+/up", 1)]


def decode(message):
    value = float(message.payload)
    return [Observation(source="x", thing_id="a", kind="acme", measures={"v": value},
                        observed_ns=message.received_ns, received_ns=0)]
"""
SAMPLE = '{"name": "s", "topic": "acme/7/up", "payload": "3", "gives": [{"measures": {"v": 3}}]}\n'


@pytest.fixture(autouse=True)
def _none_added_after() -> Iterator[None]:
    yield
    use_added([])


def write(folder: Path, name: str, code: str = GOOD, samples: str = SAMPLE) -> Path:
    path = folder / f"{name}.py"
    path.write_text(code, encoding="utf-8")
    samples_path(path).write_text(samples, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "check", checks(EXAMPLES / "nmea_wind.py"), ids=lambda check: str(check.name)
)
def test_the_example_keeps_the_rules(check: Check) -> None:
    assert check.run() == []


def test_the_example_is_short() -> None:
    lines = [file.read_text().splitlines() for file in EXAMPLES.iterdir() if file.is_file()]
    assert sum(map(len, lines)) < 100


@pytest.mark.parametrize(
    ("code", "samples", "told"),
    [
        ("def decode(:\n", SAMPLE, r"bad\.py:1: SyntaxError"),
        ("\nimport not_there\n", SAMPLE, r"bad\.py:2: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", SAMPLE, r"bad\.py:2: SystemExit"),
        ("FILTERS = [('acme/+/up', 1)]\n", SAMPLE, r"bad\.py:1: decode: found nothing; def decode"),
        (GOOD.replace("def", "async def"), SAMPLE, r"bad\.py:6: decode: found <function"),
        (GOOD.replace("acme/+/up", "#"), SAMPLE, r"bad\.py:3: FILTERS: '#' takes in topics of"),
        (GOOD.replace("acme/+/up", "qn/+/frame/#"), SAMPLE, r"bad\.py:3: .*'qn/\+/frame/\+'"),
        (GOOD.replace("acme/+/up", "acme/x+"), SAMPLE, r"bad\.py:3: FILTERS: found \('acme/x\+'"),
        (GOOD.replace(", 1)", ", 7)"), SAMPLE, r"bad\.py:3: FILTERS: found \('acme/\+/up', 7\)"),
        (GOOD, "\n{\n", r"bad\.samples\.jsonl:2: not a sample"),
        (GOOD, "", r"bad\.samples\.jsonl:1: no sample was found"),
        (GOOD, SAMPLE.replace("measures", "measure"), r"jsonl:1: gives: \['measure'\] is no field"),
        (GOOD, SAMPLE.replace('{"v": 3}', '{"v": 4}'), r"jsonl:1: s: observation 0: measures: \{"),
        (
            GOOD,
            SAMPLE.replace('"3"', '"?"'),
            r"jsonl:1: s: .*decoder_failed: .*bad\.py:7: ValueErr",
        ),
        (GOOD.replace('acme"', "acme\", lon_deg='1'"), SAMPLE, r"an observation has Expected"),
        (
            GOOD.replace("return [", "return 5 or ["),
            SAMPLE,
            r"list of Observation was wanted, got int",
        ),
    ],
)
def test_a_broken_one_is_told_and_the_others_are_in_use(
    tmp_path: Path, code: str, samples: str, told: str
) -> None:
    write(tmp_path, "bad", code, samples)
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    found = load_connectors(tmp_path)
    assert [one.name for one in found.loaded] == ["nmea_wind"]
    [refused] = found.refused
    assert re.search(told, refused.why), refused.why


def test_the_second_reader_of_a_topic_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    write(tmp_path, "two", GOOD.replace("acme/+/up", "acme/#"))
    found = load_connectors(tmp_path)
    assert [one.name for one in found.loaded] == ["one"]
    assert "which connector one reads" in found.refused[0].why


def test_names_of_shipped_decoders_are_taken(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"plain\.py:1: name: found 'plain'"):
        load_connector(write(tmp_path, "plain"))


def test_the_suite_says_what_fails_and_why(tmp_path: Path) -> None:
    code = (
        GOOD.replace("FILTERS = [", "COUNT = [0]\nFILTERS = [('acme/state', 0), ")
        .replace("    value", "    COUNT[0] += 1\n    value")
        .replace('thing_id="a"', 'thing_id=f"a{COUNT[0]}"')
    )
    found = {one.name: one.run() for one in checks(write(tmp_path, "odd", code))}
    assert found["loads"] == found["sample s"] == found["is quick"] == []
    assert "no sample gives observations on filter 'acme/state'" in found["covers its topics"][0]
    assert "no sample is rejected" in found["covers its topics"][1]
    assert "odd.py:9: ValueError" in found["refuses what is damaged"][0]
    assert "decode may only depend on its message" in found["gives the same again"][0]


async def test_a_broker_s_messages_reach_it(tmp_path: Path) -> None:
    write(tmp_path, "bad", "def decode(:\n")
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    connectors = open_connectors(load_settings(connectors=tmp_path))
    broker = EmbeddedBroker(tmp_path / "broker")
    address = await asyncio.to_thread(broker.start)
    filters = (*INGEST_FILTERS, *connectors.filters)
    source = MqttSource(address, SystemClock(), client_id="kit", filters=filters)
    client = Client(CallbackAPIVersion.VERSION2, client_id="mast")
    client.username_pw_set(address.username, address.password)
    taken: list[RawMessage] = []
    try:
        await source.start()
        client.connect(address.host, address.port)
        client.loop_start()
        client.publish("nmea/wind/pier-3", WIND, 1)
        client.publish("nmea/wind/pier-3", b"$WIMWV", 1)
        client.publish("qn/c/sensor/w-1", b'{"measures": {"water_level_m": 0.3}}', 1)
        async with asyncio.timeout(20):
            async for batch in source.batches():
                taken += batch
                source.acknowledge(batch)
                if len(taken) == 3:
                    break
    finally:
        client.disconnect()
        client.loop_stop()
        await source.stop()
        await asyncio.to_thread(broker.stop)
    observations, rejections = decode_messages(taken, city="c")
    assert [(one.source, one.thing_id) for one in observations] == [
        ("nmea_wind", "mast/pier-3"),
        ("plain", "w-1"),
    ]
    assert observations[0].measures["wind_speed_mps"] == 2.6
    assert [(one.source, one.reason) for one in rejections] == [("nmea_wind", "bad_sentence")]


class Mast:
    """A recording of one sentence."""

    live = True

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        yield [RawMessage(topic="nmea/wind/pier-3", payload=WIND, received_ns=NOW_NS, qos=1)]

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


async def test_the_setting_brings_it_into_a_city(tmp_path: Path) -> None:
    folder = tmp_path / "connectors"
    shutil.copytree(EXAMPLES, folder)
    write(folder, "bad", "def decode(:\n")
    settings = load_settings(data_dir=tmp_path / "data", connectors=folder)
    clock, city = ManualClock(NOW_NS), load_city("generated", seed=7)
    seen: list[str] = []

    def see(processed: Processed) -> None:
        seen.extend(one.source for one in processed.batch)

    async with CityProcess(settings, clock=clock, city=city, source=Mast()) as process:
        process.parts.listeners.append(see)
        await process.settle()
        assert not process.failure.done()
    assert seen == ["nmea_wind"]
    assert source_of("nmea/wind/pier-3") == "nmea_wind"


def test_samples_have_bytes_and_their_own_time_of_receipt() -> None:
    [*_, last] = read_samples(samples_path(EXAMPLES / "nmea_wind.py"))
    assert last.message.payload.startswith(b"$WIMWV")
