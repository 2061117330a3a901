"""Who is told over webhooks, and of what: one YAML file (docs/decisions/0023).

The file is the only source: there is no request that adds an address for the city to call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from api.notify.notices import Notice
from api.notify.signature import read_secrets
from core.errors import InputError
from core.grades import Grade
from core.incidents import Severity
from core.strict_yaml import read_struct
from core.units import parse_duration_s
from store.changes import ChangeKind

#: Most webhooks of a city; each has a few requests and up to 256 lines of the outbox in hand.
MAX_WEBHOOKS = 64

#: Begins the names of webhooks among the subscribers of the outbox.
WEBHOOK = "webhook/"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SEVERITIES = [severity.value for severity in Severity]


class Format(StrEnum):
    """How an event is written into a request."""

    STRUCTURED = "cloudevents"  #: all of it in the body
    BINARY = "cloudevents-binary"  #: attributes in headers, the data in the body
    CAP = "cap"  #: public alerts only, as CAP 1.2 messages


class _Webhook(msgspec.Struct, kw_only=True):
    name: str
    url: str
    secret_file: str | None = None
    secret_env: str | None = None
    areas: list[str] = []
    scenarios: list[str] = []
    departments: list[str] = []
    severity: Severity = Severity.MINOR
    changes: list[ChangeKind] = []
    format: Format = Format.STRUCTURED
    grade: str = "internal"
    timeout: str = "10s"
    concurrency: int = 4
    disable_after: str = "5d"


class _File(msgspec.Struct, kw_only=True):
    webhooks: list[_Webhook]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver: where, with which keys, of what it is told, and how patient we are.

    Empty lists mean all. ``areas`` are prefixes of area codes, ``severity`` is the least.
    """

    name: str
    url: str
    keys: tuple[bytes, ...]
    areas: tuple[str, ...]
    scenarios: frozenset[str]
    departments: frozenset[str]
    severity: Severity
    changes: frozenset[str]
    format: Format
    grade: Grade
    timeout_s: float
    concurrency: int
    disable_after_s: float

    def __repr__(self) -> str:
        """Without the keys."""
        return f"Webhook(name={self.name!r}, url={self.url!r})"

    @property
    def subscriber(self) -> str:
        """Its name among the subscribers of the outbox."""
        return f"{WEBHOOK}{self.name}"

    def wants(self, notice: Notice) -> bool:
        """Whether it is told of this line."""
        return (
            (not self.areas or notice.area_code.startswith(self.areas))
            and (not self.scenarios or notice.scenario in self.scenarios)
            and (not self.departments or not self.departments.isdisjoint(notice.departments))
            and (not self.changes or notice.change in self.changes)
            and _SEVERITIES.index(notice.severity) >= _SEVERITIES.index(self.severity.value)
        )


def load_webhooks(path: Path, environment: Mapping[str, str] | None = None) -> tuple[Webhook, ...]:
    """Read the file; none where there is no file.

    Args:
        path: Of ``webhooks.yaml``; secret files are found from its folder.
        environment: Instead of the process's own.

    Raises:
        InputError: It is refused; names the line or the webhook, what was got and is accepted.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: not readable: {exc}") from exc
    file = read_struct(text, _File, str(path), what="webhooks:")
    if len(file.webhooks) > MAX_WEBHOOKS:
        raise InputError(f"{path}: {len(file.webhooks)} webhooks, at most {MAX_WEBHOOKS} are taken")
    found: dict[str, Webhook] = {}
    for one in file.webhooks:
        if one.name in found:
            raise InputError(f"{path}: webhook {one.name!r} comes twice")
        found[one.name] = _checked(one, path, os.environ if environment is None else environment)
    return tuple(found.values())


def _checked(one: _Webhook, path: Path, environment: Mapping[str, str]) -> Webhook:
    where = f"{path}: webhook {one.name!r}"
    if not _NAME.fullmatch(one.name):
        raise InputError(f"{where}: name: up to 40 of a to z, 0 to 9 and - were wanted")
    if not _is_callable(one.url):
        raise InputError(
            f"{where}: url: https://host/path without user and fragment was wanted, got {one.url!r}"
        )
    grades = {grade.name.lower(): grade for grade in Grade}
    if one.grade not in grades:
        raise InputError(
            f"{where}: grade: one of {', '.join(grades)} was wanted, got {one.grade!r}"
        )
    if one.format is Format.CAP and grades[one.grade] < Grade.INTERNAL:
        raise InputError(
            f"{where}: grade: internal was wanted with format cap, got {one.grade!r}; a restricted "
            "alert holds internal data"
        )
    if not 1 <= one.concurrency <= 16:
        raise InputError(f"{where}: concurrency: 1 to 16 was wanted, got {one.concurrency}")
    return Webhook(
        name=one.name,
        url=one.url,
        keys=_keys(one, path.parent, where, environment),
        areas=tuple(one.areas),
        scenarios=frozenset(one.scenarios),
        departments=frozenset(one.departments),
        severity=one.severity,
        changes=frozenset(change.value for change in one.changes),
        format=one.format,
        grade=grades[one.grade],
        timeout_s=_seconds(one.timeout, f"{where}: timeout", 60.0),
        concurrency=one.concurrency,
        disable_after_s=_seconds(one.disable_after, f"{where}: disable_after", 90 * 86_400.0),
    )


def _is_callable(text: str) -> bool:
    """Whether it is an HTTP URL in ASCII that names a host, without user and fragment."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    wanted = url.scheme in {"http", "https"} and bool(url.hostname) and port != 0
    return wanted and text.isascii() and not (url.username or url.fragment)


def _seconds(text: str, where: str, longest_s: float) -> float:
    try:
        seconds = parse_duration_s(text)
    except (InputError, ValueError) as exc:
        raise InputError(f"{where}: a time such as 10s was wanted, got {text!r}") from exc
    if not 0 < seconds <= longest_s:
        raise InputError(f"{where}: at most {longest_s:g} s was wanted, got {text!r}")
    return seconds


def _keys(
    one: _Webhook, folder: Path, where: str, environment: Mapping[str, str]
) -> tuple[bytes, ...]:
    if (one.secret_file is None) == (one.secret_env is None):
        raise InputError(f"{where}: one of secret_file and secret_env was wanted")
    if one.secret_env is not None:
        return read_secrets(environment.get(one.secret_env, ""), f"{where}: ${one.secret_env}")
    path = folder / str(one.secret_file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{where}: secret_file {path}: not readable: {exc}") from exc
    return read_secrets(text, f"{where}: {path}")
