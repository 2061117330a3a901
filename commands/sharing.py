"""What a parent tells its children: the city's clock, the broker, secrets in private files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.clock import Clock, HeldClock, ScaledClock
from core.errors import ServiceError, SettingsError
from core.settings import Settings
from ingest.broker import BrokerAddress


def clock_text(clock: Clock) -> str:
    """A city clock as text, so that a child shares it: epoch, factor, start or its file."""
    if isinstance(clock, HeldClock):
        return f"{clock.epoch_ns}:{clock.factor}:@{clock.start_path.resolve()}"
    if not isinstance(clock, ScaledClock):
        clock = ScaledClock(clock.now_ns(), 1.0)
    return f"{clock.epoch_ns}:{clock.factor}:{clock.started_ns}"


def parse_clock(text: str) -> ScaledClock:
    """Read what :func:`clock_text` wrote."""
    epoch, factor, started = text.split(":", 2)
    if started.startswith("@"):
        return HeldClock(int(epoch), float(factor), Path(started[1:]))
    return ScaledClock(int(epoch), float(factor), int(started))


def claim_data_dir(data_dir: Path) -> None:
    """Make the data folder and see that it can be written to.

    Raises:
        ServiceError: It cannot; nothing was started.
    """
    probe = data_dir / f".write-{os.getpid()}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"qingniao")
        probe.unlink()
    except OSError as exc:
        raise ServiceError(
            f"data folder {data_dir} cannot be written: {exc.strerror or exc}; name another with "
            "QINGNIAO_DATA_DIR, or make room and give this user the right to write there"
        ) from exc


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def broker_address(settings: Settings) -> BrokerAddress:
    """The address of a broker that somebody else runs.

    Raises:
        SettingsError: The settings ask for an embedded broker, which only a whole city has.
    """
    return address_of(settings.mqtt.url, settings)


def address_of(broker_url: str, settings: Settings) -> BrokerAddress:
    """The address in a URL; user and password are the settings' where it names none.

    Raises:
        SettingsError: It is no mqtt:// or mqtts:// URL with a host.
    """
    url = urlsplit(broker_url)
    if not url.hostname or url.scheme not in {"mqtt", "mqtts"}:
        raise SettingsError(
            f"mqtt.url is {broker_url!r}; a part that runs alone needs mqtt://host:port "
            "in QINGNIAO_MQTT__URL"
        )
    tls = url.scheme == "mqtts"
    return BrokerAddress(
        host=url.hostname,
        port=url.port or (8883 if tls else 1883),
        username=unquote(url.username or "") or settings.mqtt.username,
        password=unquote(url.password or "") or settings.mqtt.secret(),
        tls=tls,
    )
