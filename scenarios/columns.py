"""A batch as the rules ask for it: measures and answers to their tests, each made once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.events import Place
from core.observations import ObservationBatch
from core.units import CHINA_OFFSET_S, NS_PER_S
from scenarios.calendar import fall_on
from scenarios.model import DayKind, TagsView, TimeOfDay
from scenarios.rule_table import Test

#: Answers to a test.
NO, YES, UNKNOWN = 0, 1, -1

_MISSING = -1


class RuleColumns:
    """A batch and what the map says of it.

    Args:
        batch: Its rows.
        tags: What the map says of them.
        registered: Rows whose thing is registered, shape (n,).
    """

    def __init__(
        self, batch: ObservationBatch, tags: TagsView, registered: NDArray[np.bool_]
    ) -> None:
        self.batch = batch
        self._tags = tags
        self._registered = registered
        place = batch.place
        self._placed = ~(np.isnan(place[:, 0]) | np.isnan(place[:, 1]))
        self._labels: dict[str, tuple[NDArray[np.int32], dict[str, int]]] = {}
        self._zones: dict[str, NDArray[np.bool_]] = {}
        self._places: dict[int, Place] = {}

    def place(self, row: int) -> Place:
        """Where a row is, with its error ellipse; made once, however many rules ask."""
        found = self._places.get(row)
        if found is None:
            major, minor, azimuth = self.batch.place[row, 2:].tolist()
            found = self._places[row] = self._tags.place(
                row, error_major_m=major, error_minor_m=minor, error_azimuth_deg=azimuth
            )
        return found

    def measures(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Measures of every row, shape (n, names), NaN where a row has none."""
        values = np.full((len(self.batch), len(names)), np.nan)
        for column, name in enumerate(names):
            if name in self.batch.measures:
                rows, some = self.batch.measure(name)
                values[rows, column] = some
        return values

    def answers(self, tests: Sequence[Test]) -> NDArray[np.int8]:
        """Answers to tests, shape (n, tests)."""
        answers = np.empty((len(self.batch), len(tests)), np.int8)
        for column, test in enumerate(tests):
            answers[:, column] = self._answer(test)
        return answers

    def text_hashes(self, names: Sequence[str]) -> NDArray[np.float64]:
        """A number for the text of each label and row, shape (n, names); NaN without one.

        53 bits of a hash, because it is kept among floats and must be the same on every machine.
        """
        hashes = np.full((len(self.batch), len(names)), np.nan)
        for column, name in enumerate(names):
            codes, texts = self._label(name)
            numbers = np.array([_hash(text) for text in texts] + [np.nan])
            hashes[:, column] = numbers[codes]
        return hashes

    def _answer(self, test: Test) -> NDArray[np.int8] | NDArray[np.bool_]:
        arguments = test.argument
        if test.what == "label":
            said, holds = self._said(arguments)
            return np.where(said, holds, UNKNOWN)
        if test.what == "unless_label":
            return ~self._said(arguments)[1]
        if test.what in {"zone", "unless_zone"}:
            inside, known = self._in_zone(arguments[0])
            for kind in arguments[1:]:
                inside = inside | self._in_zone(kind)[0]
            return np.where(known, inside == (test.what == "zone"), UNKNOWN)
        if test.what == "airspace":
            inside = self._tags.in_airspace(arguments[0])
            known = self._placed & ~(self._tags.airspace_unsure(arguments[0]) & ~inside)
            return np.where(known, inside, UNKNOWN)
        if test.what == "registered":
            return self._registered
        if test.what == "unregistered":
            return ~self._registered
        if test.what == "time_of_day":
            span = TimeOfDay(from_s=int(arguments[0]), until_s=int(arguments[1]))
            return span.holds((self.batch.observed_ns // NS_PER_S + CHINA_OFFSET_S) % 86400)
        return fall_on(self.batch.observed_ns, [DayKind(one) for one in arguments])

    def _said(self, arguments: tuple[str, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows that have a label, and those whose text is one of the given."""
        codes, texts = self._label(arguments[0])
        said = codes != _MISSING
        wanted = [texts[text] for text in arguments[1:] if text in texts]
        if not wanted:
            return said, np.zeros(len(codes), np.bool_)
        return said, codes == wanted[0] if len(wanted) == 1 else np.isin(codes, wanted)

    def _label(self, name: str) -> tuple[NDArray[np.int32], dict[str, int]]:
        """Codes of a label's texts by row, and the texts."""
        found = self._labels.get(name)
        if found is None:
            texts: dict[str, int] = {}
            codes = np.full(len(self.batch), _MISSING, np.int32)
            if name in self.batch.labels:
                for row, text in self.batch.label(name).items():
                    codes[row] = texts.setdefault(text, len(texts))
            found = self._labels[name] = (codes, texts)
        return found

    def _in_zone(self, kind: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows in a zone, and rows of which that is known.

        A camera that names the zone itself is believed: it saw the ground, not a position.
        """
        codes, texts = self._label("zone_kind")
        named = codes != _MISSING
        if "" in texts:
            named &= codes != texts[""]
        inside = self._zones.get(kind)
        if inside is None:
            code = texts.get(kind, _MISSING - 1)
            inside = self._zones[kind] = np.where(named, codes == code, self._tags.in_zone(kind))
        return inside, self._placed | named


def _hash(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "little") >> 11)
