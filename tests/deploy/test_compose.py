"""docker-compose.yml: right by its schema, and every service's command known to us."""

from __future__ import annotations

import json
import re
from importlib.metadata import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from core.settings import ApiSettings, MqttSettings, Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())  # type: ignore[no-any-return]


def test_it_follows_the_compose_schema(compose: dict[str, Any]) -> None:
    # The package is there for the schema it carries; its own command needs a newer click.
    (schema,) = [
        path for path in files("check-jsonschema") or () if path.name == "compose-spec.json"
    ]
    found = json.loads(schema.read_text())
    validator = jsonschema.validators.validator_for(found)(found)
    assert [error.message for error in validator.iter_errors(compose)] == []
    broken = compose | {"services": {"api": {"imag": "x"}}}
    assert not validator.is_valid(broken)


def test_every_service_is_there_with_a_health_check(compose: dict[str, Any]) -> None:
    wanted = {"mosquitto", "kafka", "postgis", "ingest", "streams", "archive", "vision", "api"}
    assert wanted == set(compose["services"])
    assert all("healthcheck" in one for one in compose["services"].values())


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for one in compose["services"].values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_setting_it_gives_exists(compose: dict[str, Any]) -> None:
    known = {f"QINGNIAO_{name.upper()}" for name in Settings.model_fields}
    known |= {f"QINGNIAO_MQTT__{name.upper()}" for name in MqttSettings.model_fields}
    known |= {f"QINGNIAO_API__{name.upper()}" for name in ApiSettings.model_fields}
    given = {
        name
        for one in compose["services"].values()
        for name in one.get("environment", {})
        if name.startswith("QINGNIAO_")
    }
    assert given
    assert given <= known


def test_secrets_are_files_and_no_password_is_written_down(compose: dict[str, Any]) -> None:
    assert all("file" in secret for secret in compose["secrets"].values())
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"PASSWORD:\s", text)


def test_the_commands_are_ones_we_have(compose: dict[str, Any]) -> None:
    from commands.services import SERVICES

    ours = {
        name: one["command"] for name, one in compose["services"].items() if one.get("build") == "."
    }
    assert set(ours) == {"ingest", "streams", "archive", "vision", "api"}
    for name, command in ours.items():
        assert command == ["run", name]
        assert name in SERVICES


def test_the_broker_configuration_is_the_one_that_loses_nothing() -> None:
    from ingest.broker import mosquitto_config

    wanted = mosquitto_config(
        listener="1883", password_file="/tmp/passwd", persistence_location="/mosquitto/data/"
    )
    assert (ROOT / "deploy/mosquitto/mosquitto.conf").read_text().strip() == wanted.strip()
