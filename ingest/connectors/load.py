"""Loads a folder of connectors: what is wrong with one is told and stops none of the others.

A connector is ``NAME.py`` with ``FILTERS`` (pairs of MQTT filter and quality of service) and
``decode(message) -> list[Observation]``, and ``NAME.samples.jsonl`` beside it. Before it is
taken into use it must give on each sample what the sample says. It runs inside ingest with all
rights of ingest: put nothing there that you would not run yourself.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

from core.errors import ConnectorError, DecodeError
from core.observations import Observation
from core.settings import Settings
from core.topics import FRAME_FILTERS, INGEST_FILTERS, filters_overlap
from ingest import metrics
from ingest.connectors.connector import Connector, line_in
from ingest.connectors.samples import Sample, difference, read_samples
from ingest.decoders import MAX_TOPIC_CHARS, SOURCES, AddedDecoder, use_added

logger = logging.getLogger(__name__)

#: MQTT filters with their quality of service.
Filters = tuple[tuple[str, int], ...]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

#: What we publish or read ourselves, and no connector may.
_OURS = tuple(name for name, _ in (*INGEST_FILTERS, *FRAME_FILTERS, ("qn/+/quality/#", 1)))


class Refused(NamedTuple):
    """A connector that is not in use, and why."""

    name: str
    why: str


class Connectors(NamedTuple):
    """What a folder came to."""

    loaded: tuple[Connector, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def filters(self) -> Filters:
        """What ingest must subscribe to for them."""
        return tuple(pair for one in self.loaded for pair in one.filters)


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be a connector's name.

    Raises:
        ConnectorError: It is none, or a shipped decoder's.
    """
    if not _NAME.fullmatch(name) or name in SOURCES or name.startswith("test_"):
        raise ConnectorError(
            f"{where}: name: found {name!r}; up to 32 small letters, digits and _ are accepted, "
            f"not test_… and none of {', '.join(sorted(SOURCES))}"
        )


def samples_path(path: Path) -> Path:
    """The table of samples of a decoder file."""
    return path.with_suffix(".samples.jsonl")


def load_connector(path: Path) -> Connector:
    """Load one decoder file, without running its samples.

    Raises:
        ConnectorError: Says file, line, what was found and what is accepted.
    """
    name = path.stem
    check_name(name, f"{path}:1")
    module = types.ModuleType(f"connectors.{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # annotations of its structs are resolved there
    try:
        text = path.read_text(encoding="utf-8")
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102
    except (Exception, SystemExit) as exc:
        raise ConnectorError(f"{line_in(exc, path)}: {type(exc).__name__}: {exc}") from exc
    function = getattr(module, "decode", None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        found = "nothing" if function is None else repr(function)
        raise ConnectorError(
            f"{path}:{_line_of(text, 'decode')}: decode: found {found}; "
            "def decode(message) -> list[Observation] is accepted"
        )
    filters = _filters(getattr(module, "FILTERS", None), f"{path}:{_line_of(text, 'FILTERS')}")
    return Connector(name, path, filters, function)


def load_connectors(folder: Path | None) -> Connectors:
    """Load every decoder file of a folder, and run each on its samples.

    Files whose names begin with ``_`` or ``test_`` are none. The first of two connectors that
    read the same topics is taken.

    Raises:
        ConnectorError: There is no such folder.
    """
    if folder is None:
        return Connectors()
    if not folder.is_dir():
        raise ConnectorError(f"{folder}: a folder of connectors was wanted; there is none")
    loaded: list[Connector] = []
    refused: list[Refused] = []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith(("_", "test_")):
            continue
        try:
            connector = load_connector(path)
            _apart(connector, loaded)
            for sample in read_samples(samples_path(path)):
                if (wrong := run_sample(connector, sample)) is not None:
                    raise ConnectorError(f"{sample.where}: {sample.name}: {wrong}")
        except ConnectorError as exc:
            refused.append(Refused(path.stem, str(exc)))
        else:
            loaded.append(connector)
    return Connectors(tuple(loaded), tuple(refused))


def open_connectors(settings: Settings) -> Connectors:
    """Load the connectors of the settings, and let ingest decode with them.

    Those that are refused are logged and counted; ingest goes on without them.
    """
    try:
        connectors = load_connectors(settings.connectors)
    except ConnectorError as exc:
        connectors = Connectors(refused=(Refused("folder", str(exc)),))
    for one in connectors.refused:
        logger.error("connector %s is not in use: %s", one.name, one.why)
    metrics.CONNECTORS.labels("in_use").set(len(connectors.loaded))
    metrics.CONNECTORS.labels("refused").set(len(connectors.refused))
    use_added(
        [
            AddedDecoder(one.name, tuple(name for name, _ in one.filters), one.decode)
            for one in connectors.loaded
        ]
    )
    return connectors


def run_sample(connector: Connector, sample: Sample) -> str | None:
    """Decode a sample; what it wanted and did not get, None where all is as it says."""
    outcome: list[Observation] | DecodeError
    try:
        outcome = connector.decode(sample.message)
    except DecodeError as exc:
        outcome = exc
    return difference(sample, outcome)


def _filters(given: object, where: str) -> Filters:
    accepted = 'pairs such as [("acme/+/up", 1)] are accepted'
    if not isinstance(given, list | tuple) or not given:
        raise ConnectorError(f"{where}: FILTERS: found {given!r}; {accepted}")
    pairs: list[tuple[str, int]] = []
    for one in given:
        match one:
            case (str() as name, 0 | 1 | 2 as qos) if _is_filter(name):
                pairs.append((name, qos))
            case _:
                raise ConnectorError(f"{where}: FILTERS: found {one!r}; {accepted}")
        if (ours := next((own for own in _OURS if filters_overlap(own, name)), None)) is not None:
            raise ConnectorError(
                f"{where}: FILTERS: {name!r} takes in topics of {ours!r}, which is read already; "
                "a filter apart from it is accepted"
            )
    return tuple(pairs)


def _is_filter(name: str) -> bool:
    levels = name.split("/")
    return (
        0 < len(name) <= MAX_TOPIC_CHARS
        and name.isprintable()
        and not name.startswith("$")
        and "#" not in "".join(levels[:-1])
        and all(level in {"+", "#"} or not set(level) & {"+", "#"} for level in levels)
    )


def _apart(connector: Connector, others: list[Connector]) -> None:
    for other in others:
        for name, _ in connector.filters:
            for taken, _ in other.filters:
                if filters_overlap(name, taken):
                    raise ConnectorError(
                        f"{connector.path}:1: FILTERS: {name!r} takes in topics of {taken!r}, "
                        f"which connector {other.name} reads; a filter apart from it is accepted"
                    )


def _line_of(text: str, name: str) -> int:
    """The line of a module on which a name is first set."""
    for node in ast.parse(text).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if getattr(node, "name", None) == name or any(
            isinstance(one, ast.Name) and one.id == name for one in targets
        ):
            return int(getattr(node, "lineno", 1))
    return 1
