"""``qingniao run`` as one process with Kafka as its log and PostgreSQL as its store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import servers
from running_city import City, Device, wait_for
from sqlalchemy import create_engine, text

from core.units import NS_PER_S, ns_to_rfc3339
from ingest.broker import EmbeddedBroker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.broker, pytest.mark.slow]


@pytest.mark.usefixtures("admin")
def test_a_reading_becomes_an_incident_through_kafka_and_again_after_a_restart(
    tmp_path: Path,
    kafka_servers: str,
    postgres_server: servers.PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS one"))
        connection.execute(text("CREATE DATABASE one"))
    engine.dispose()
    monkeypatch.setenv("QINGNIAO_BROKER", f"kafka://{kafka_servers}")
    monkeypatch.setenv("QINGNIAO_STORE", postgres_server.url("one"))
    (tmp_path / "broker").mkdir()
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    try:
        for start in (1, 2):
            # The second start reads back from Kafka what ingest wrote last.
            city = City(tmp_path / "data", broker.address)
            device = Device(broker.address)
            begin_ns = time.time_ns() - 60 * NS_PER_S  # noqa: TID251 (a device's own clock)
            for step in range(6):
                body = {
                    "kind": "smoke",
                    "time": ns_to_rfc3339(begin_ns + 5 * step * NS_PER_S),
                    "lon": 120.38 + 0.01 * start,
                    "lat": 36.07,
                    "measures": {"smoke_db_per_m": 0.5},
                }
                device.publish(f"qn/qingdao/sensor/smoke-kafka-{start}", body)
            device.wait()

            def has_incidents(city: City = city, wanted: int = start) -> bool:
                return len(city.incidents(scenario="smoke-alarm")) == wanted

            wait_for("incident", has_incidents, 60)
            device.close()
            assert city.stop(30) == 0
    finally:
        broker.stop()
