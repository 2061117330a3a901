"""A connector in use: somebody's ``decode`` behind the checks that ours go through."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders.common import check_size, checked

#: Observations of one message, at most.
MAX_OBSERVATIONS = 1024

#: Reasons that one connector may reject messages for; metrics are counted under them.
MAX_REASONS = 32

_REASON = re.compile(r"[a-z][a-z0-9_]{0,47}")


class Connector:
    """One format of others.

    Args:
        name: What its observations name as their source.
        path: The decoder file, for messages.
        filters: MQTT filters that it reads, with their quality of service.
        function: The file's ``decode``.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        filters: tuple[tuple[str, int], ...],
        function: Callable[[RawMessage], Any],
    ) -> None:
        self.name = name
        self.path = path
        self.filters = filters
        self._function = function
        self._reasons: set[str] = set()

    def decode(self, message: RawMessage) -> list[Observation]:
        """Read a message; whatever the file does wrong becomes a rejection that says where.

        Source, topic, time of receipt and the repeat flag are ours to set, not the file's.

        Raises:
            DecodeError: The file's own reasons; ``decoder_failed`` where it raised anything
                else or gave something else; and those of
                :func:`ingest.decoders.common.checked`.
        """
        check_size(message)
        try:
            given = self._function(message)
        except DecodeError as exc:
            raise DecodeError(self._counted(exc.reason), exc.detail) from exc
        except Exception as exc:
            where = line_in(exc, self.path)
            raise DecodeError(
                "decoder_failed", f"{where}: {type(exc).__name__}: {exc} on {message.topic}"
            ) from exc
        if not isinstance(given, list) or not all(isinstance(one, Observation) for one in given):
            raise self._failed(f"a list of Observation was wanted, got {_shown(given)}")
        if len(given) > MAX_OBSERVATIONS:
            raise self._failed(f"{len(given)} observations; at most {MAX_OBSERVATIONS}")
        return [self._ours(one, message) for one in given]

    def _ours(self, one: Observation, message: RawMessage) -> Observation:
        given = msgspec.structs.replace(
            one,
            source=self.name,
            topic=message.topic,
            received_ns=message.received_ns,
            repeated=message.duplicate,
        )
        try:
            # The file is not type-checked: a text for a number would stop a later stage.
            return checked(msgspec.convert(msgspec.structs.asdict(given), Observation))
        except msgspec.ValidationError as exc:
            raise self._failed(f"an observation has {exc}") from exc

    def _counted(self, reason: str) -> str:
        if reason not in self._reasons:
            if not _REASON.fullmatch(reason) or len(self._reasons) >= MAX_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason

    def _failed(self, what: str) -> DecodeError:
        return DecodeError("decoder_failed", f"{self.path}: decode: {what}")


def line_in(error: BaseException, path: Path) -> str:
    """``file:line`` of the innermost place in a file that an error went through."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path) and frame.lineno]
    return f"{path}:{lines[-1] if lines else 1}"


def _shown(given: object) -> str:
    if isinstance(given, list):
        odd = next(one for one in given if not isinstance(one, Observation))
        return f"a list with {type(odd).__name__}"
    return type(given).__name__
