"""Settings: flag, then environment (``QINGNIAO_API__PORT``), then ``.env``, then default.

Read once, at the edge, by :func:`load_settings`; the frozen object is passed down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import SettingsError


class MqttSettings(BaseModel):
    """The broker that devices publish to."""

    model_config = {"frozen": True}

    url: str = Field(
        "embedded",
        description="`embedded` (a broker in a child process), `mosquitto` (the same with "
        "Mosquitto, where it is installed), or `mqtt://host:port`, `mqtts://host:port`",
    )
    port: int = Field(
        0, ge=0, le=65535, description="Port of the embedded broker; 0 takes a free one"
    )
    username: str = Field("", description="User name at a broker of your own")
    password: SecretStr = Field(SecretStr(""), description="Password at a broker of your own")
    password_file: Path | None = Field(None, description="File that holds the password instead")
    inflight: int = Field(
        4096,
        ge=1,
        le=32767,
        description="QoS 1 and 2 messages taken before the first is acknowledged",
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if url not in {"embedded", "mosquitto"} and urlsplit(url).scheme not in {"mqtt", "mqtts"}:
            msg = f"embedded, mosquitto, mqtt:// or mqtts://host:port was wanted, got {url!r}"
            raise ValueError(msg)
        return url

    def secret(self) -> str:
        """The password, from the file where one is named."""
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").strip()
        return self.password.get_secret_value()


class ApiSettings(BaseModel):
    """The HTTP interface and the page."""

    model_config = {"frozen": True}

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    token: SecretStr = Field(
        SecretStr(""), description="Token that writing needs; made and printed at start if empty"
    )
    token_file: Path | None = Field(None, description="File that holds the token instead")

    def secret(self) -> str:
        """The token, from the file where one is named; empty when none is set."""
        if self.token_file is not None:
            return self.token_file.read_text(encoding="utf-8").strip()
        return self.token.get_secret_value()


class ArchiveSettings(BaseModel):
    """The archive of all observations."""

    model_config = {"frozen": True}

    enabled: bool = Field(True, description="Whether observations are archived as Parquet files")
    dir: Path | None = Field(
        None, description="Folder of the archive; `archive` in the data folder unless given"
    )
    flush_s: float = Field(
        10.0, gt=0, le=3600, description="Seconds until an observation is in a file, at most"
    )
    retain_days: float = Field(
        180.0, ge=0, description="Days after which observations are deleted; 0 keeps them"
    )
    retain_gib: float = Field(
        0.0, ge=0, description="Size at which the oldest hours are deleted, in GiB; 0 for none"
    )


class CaseSettings(BaseModel):
    """Cases and their events in the case store."""

    model_config = {"frozen": True}

    retain_days: float = Field(
        180.0,
        ge=0,
        description="Days after which a closed or cancelled case is deleted, since anything last "
        "happened to it, and events that no case took; 0 keeps them, else at least 31",
    )

    @field_validator("retain_days")
    @classmethod
    def _not_what_is_needed(cls, days: float) -> float:
        # By its events the store knows a repeat (the log keeps seven days) and what still waits
        # for a second source (30 days).
        if 0 < days < 31:
            msg = f"0, or at least 31 days were wanted, got {days:g}"
            raise ValueError(msg)
        return days


class EvidenceSettings(BaseModel):
    """Pictures and clips of cameras."""

    model_config = {"frozen": True}

    max_gib: float = Field(
        4.0, gt=0, description="Size at which the oldest pictures and clips are deleted, in GiB"
    )
    retain_days: float = Field(
        90.0, ge=0, description="Days after which pictures and clips are deleted; 0 keeps them"
    )


class OpinionSettings(BaseModel):
    """A second opinion on low-confidence events of cameras (docs/second-opinion.md)."""

    model_config = {"frozen": True}

    url: str = Field(
        "",
        description="Base of an OpenAI-compatible API with vision, such as "
        "`http://127.0.0.1:8080/v1`; nothing is asked where it is empty",
    )
    model: str = Field("", description="Name of the model at that API")
    key: SecretStr = Field(SecretStr(""), description="Key of that API, where it wants one")
    key_file: Path | None = Field(None, description="File that holds the key instead")
    below_ratio: float = Field(
        0.85, gt=0, le=1, description="Confidence below which an event is asked about"
    )
    timeout_s: float = Field(20.0, gt=0, le=300, description="Seconds to wait for an answer")
    concurrent: int = Field(2, ge=1, le=32, description="Most questions on their way at once")
    per_hour: int = Field(60, ge=1, le=100_000, description="Most questions in an hour")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc):
            msg = f"http://host:port/v1 or https://… was wanted, got {url!r}"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _model_is_named(self) -> OpinionSettings:
        if self.url and not self.model:
            msg = "opinion.model: the name of a model is wanted where opinion.url is set"
            raise ValueError(msg)
        return self

    def secret(self) -> str:
        """The key, from the file where one is named; empty when none is set."""
        if self.key_file is not None:
            return self.key_file.read_text(encoding="utf-8").strip()
        return self.key.get_secret_value()


class NotifySettings(BaseModel):
    """Telling others what happens to incidents."""

    model_config = {"frozen": True}

    mqtt: bool = Field(
        True, description="Whether incidents are told on `incidents/{area}/{id}` at the broker"
    )
    webhooks: Path | None = Field(
        None,
        description="File of webhooks (docs/notifications.md); `webhooks.yaml` in the city's "
        "folder or the data folder unless given",
    )
    allow_networks: tuple[str, ...] = Field(
        (),
        description="Private networks that webhooks may lead to, also without TLS, such as "
        '`["10.0.0.0/8"]`; else only public addresses over TLS, and loopback',
    )
    cap_sender: str = Field(
        "",
        description="Sender of public alerts (CAP), unique in the world, such as the domain of "
        "the city's emergency office; `qingniao.` and the city's name unless given",
    )
    cap_status: Literal["actual", "exercise", "test"] = Field(
        "exercise",
        description="Whether public alerts are to be acted on: `actual` only where a real city "
        "is watched and somebody answers for it",
    )

    @field_validator("cap_sender")
    @classmethod
    def _cap_words(cls, sender: str) -> str:
        if any(mark in sender for mark in " ,<&\t\n"):
            msg = f"a text without spaces, commas, < and & was wanted, got {sender!r}"
            raise ValueError(msg)
        return sender


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(
        env_prefix="QINGNIAO_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
    )

    data_dir: Path = Field(Path(".qingniao"), description="Folder of the log, store and pictures")
    city: str = Field(
        "generated",
        description="`generated` (also with the devices of a `generated:street`, `:district` or "
        "`:city`, or `generated:district,devices=3000,cameras=40`), or a folder "
        "with a city profile (`city.yaml`) or data",
    )
    city_seed: int = Field(7, description="Seed of what is generated in the city")
    layers: Path | None = Field(
        None,
        description="Catalogue of imported layers; `layers.yaml` of the city's folder, or of the "
        "data folder, unless given",
    )
    layer_check: Literal["refuse", "warn", "off"] = Field(
        "refuse",
        description="What an error in a layer of the city's profile does at the start: `refuse` "
        "it, or only `warn`; `off` checks none",
    )
    geo_c: bool = Field(
        True,
        description="Whether a C kernel is built for points to areas, where a compiler is found; "
        "numba gives the same answers",
    )
    broker: str = Field(
        "embedded://", description="The log: `embedded://[/path]` or `kafka://host:9092`"
    )
    store: str = Field(
        "sqlite://",
        description="The case store: `sqlite://[/path]` or `postgresql+psycopg://user@host/db`",
    )
    store_password_file: Path | None = Field(
        None, description="File that holds the password of the PostgreSQL user"
    )
    partitions: int = Field(
        1, ge=1, le=64, description="Partitions of `observations`: 1 embedded, 8 on Kafka"
    )
    packs: Path | None = Field(None, description="Folder of scenario files instead of the shipped")
    calendar: Path | None = Field(
        None, description="File with the city's own days off and days worked (YAML)"
    )
    connectors: Path | None = Field(
        None, description="Folder of connectors: decoders of your own, run inside ingest"
    )
    cameras: Path | None = Field(
        None,
        description="Folder of camera files: `CAMERA_ID.yaml` says what is looked for in that "
        "camera's pictures (`docs/vision.md`); the others are watched for what stands in zones",
    )
    record: Path | None = Field(
        None, description="Folder that takes a recording of all that ingest carries"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is written to standard error"
    )
    mqtt: MqttSettings = MqttSettings()
    api: ApiSettings = ApiSettings()
    archive: ArchiveSettings = ArchiveSettings()
    cases: CaseSettings = CaseSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    opinion: OpinionSettings = OpinionSettings()
    notify: NotifySettings = NotifySettings()

    @field_validator("broker")
    @classmethod
    def _broker_scheme(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"embedded", "kafka"}:
            msg = f"embedded://… or kafka://host:9092 was wanted, got {url!r}"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _store_fits(self) -> Settings:
        scheme = urlsplit(self.store).scheme
        if scheme not in {"sqlite", "postgresql+psycopg"}:
            msg = f"store: sqlite://… or postgresql+psycopg://… was wanted, got {scheme!r}"
            raise ValueError(msg)
        if self.on_kafka and scheme == "sqlite":
            msg = (
                "store: with broker=kafka:// more than one process writes, and SQLite has one "
                "writer; set store=postgresql+psycopg://…"
            )
            raise ValueError(msg)
        return self

    @property
    def on_kafka(self) -> bool:
        """Whether the log is Kafka."""
        return self.broker.startswith("kafka:")

    @property
    def log_url(self) -> str:
        """The broker URL with the embedded log's path filled in."""
        if self.broker.rstrip("/") == "embedded:":
            return f"embedded://{(self.data_dir / 'log').resolve()}"
        return self.broker

    @property
    def store_url(self) -> str:
        """The store URL with path or password filled in: not to be shown."""
        if self.store.rstrip("/") == "sqlite:":
            return f"sqlite:///{(self.data_dir / 'store.sqlite3').resolve()}"
        if self.store_password_file is None:
            return self.store
        password = quote(self.store_password_file.read_text(encoding="utf-8").strip(), safe="")
        return self.store.replace("@", f":{password}@", 1)

    @property
    def catalogue_path(self) -> Path:
        """The catalogue of imported layers: the city folder's, or the data folder's."""
        return self.layers or self._beside_the_city("layers.yaml")

    @property
    def webhooks_path(self) -> Path:
        """The file of webhooks: the city folder's, or the data folder's."""
        return self.notify.webhooks or self._beside_the_city("webhooks.yaml")

    def _beside_the_city(self, name: str) -> Path:
        folder = Path(self.city)
        return (folder if folder.is_dir() else self.data_dir) / name

    @property
    def table_dir(self) -> Path:
        """Folder of the map's indexes, kept for the next start; it may be deleted at any time."""
        return self.data_dir / "tables"

    @property
    def archive_dir(self) -> Path:
        """Folder of the archive."""
        return self.archive.dir or self.data_dir / "archive"

    @property
    def snapshot_dir(self) -> Path:
        """Folder of evidence pictures."""
        return self.data_dir / "snapshots"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings once; overrides are what flags said (None means not given).

    Raises:
        SettingsError: A setting is wrong; says which, what was got and what is accepted.

    Example:
        >>> load_settings(broker="kafka://h:1", store="postgresql+psycopg://h/d").log_url
        'kafka://h:1'
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as exc:
        lines = [
            f"setting {'.'.join(map(str, error['loc'])) or 'combination'}: {error['msg']}"
            for error in exc.errors()
        ]
        raise SettingsError("; ".join(lines)) from exc
