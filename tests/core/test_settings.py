from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import InputError, ServiceError, SettingsError
from core.heartbeat import check_heartbeat
from core.settings import load_settings
from core.topics import topic_matches
from core.units import parse_duration_s, rfc3339_to_ns


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"broker": "redis://h"}, "broker: .*embedded://.*got 'redis://h'"),
        ({"mqtt": {"url": "http://h"}}, r"mqtt\.url: .*got 'http://h'"),
        ({"store": "mysql://h"}, "store: sqlite"),
        ({"broker": "kafka://h:9"}, "SQLite has one writer"),
        ({"api": {"port": 70000}}, r"api\.port"),
        ({"cases": {"retain_days": 7}}, r"cases\.retain_days: .*at least 31 days .*got 7"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, object], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        load_settings(**given)


def test_environment_comes_before_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QINGNIAO_API__PORT", "8123")
    (tmp_path / "pw").write_text("s3cret\n")
    monkeypatch.setenv("QINGNIAO_MQTT__PASSWORD_FILE", str(tmp_path / "pw"))
    settings = load_settings()
    assert settings.api.port == 8123
    assert settings.mqtt.secret() == "s3cret"


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    (tmp_path / "pg").write_text("p@ss")
    settings = load_settings(
        api={"token": "hush"},
        store="postgresql+psycopg://u@h/d",
        store_password_file=tmp_path / "pg",
    )
    assert settings.store_url == "postgresql+psycopg://u:p%40ss@h/d"
    assert "hush" not in repr(settings)
    assert "p@ss" not in repr(settings)
    assert settings.api.secret() == "hush"


def test_paths_of_the_data_folder() -> None:
    settings = load_settings(data_dir=Path("/x"))
    assert settings.log_url == "embedded:///x/log"
    assert settings.store_url == "sqlite:////x/store.sqlite3"


@pytest.mark.parametrize("text", ["", "5", "5 s 3", "s", "-1s", "1y"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(InputError, match="a duration like"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "1767225600"]
)
def test_bad_times(text: str) -> None:
    with pytest.raises(InputError, match="a time such as"):
        rfc3339_to_ns(text)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "wanted"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("+/b", "$SYS/b", False),
        ("a/b", "a/b", True),
        ("a/b/c", "a/b", False),
    ],
)
def test_topic_filters(topic_filter: str, topic: str, wanted: bool) -> None:
    assert topic_matches(topic_filter, topic) is wanted


def test_heartbeat(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no heartbeat"):
        check_heartbeat(tmp_path, "streams", ManualClock(0))
    (tmp_path / "health").mkdir()
    (tmp_path / "health" / "streams").write_text("0")
    assert check_heartbeat(tmp_path, "streams", ManualClock(5_000_000_000)) == 5
    with pytest.raises(ServiceError, match="20 s ago"):
        check_heartbeat(tmp_path, "streams", ManualClock(20_000_000_000))
