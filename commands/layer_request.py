"""A layer as somebody asks for it at a terminal: where it is, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.city import LayerRole
from core.errors import InputError
from geo.checks.report import LayerReport, check_layer, guess_role
from geo.city import City
from geo.layers import Layer, layer_of_source
from geo.sources.reader import read_source
from geo.sources.table import guess_fields
from store.layer_tables import is_database, read_layer_table


@dataclass(frozen=True, kw_only=True)
class LayerRequest:
    """A source, what it is said to be, and what it is compared with.

    Attributes:
        location: A file, or ``postgresql://user@host/database``.
        layer_name: Which layer of a file that has several; which table of a database.
        role: What it is; guessed by geometry, codes and names where it is None.
        crs: What its coordinates are in, where it does not say itself.
        fields: Which column is what.
        constants: Values for all features.
        against: A layer that is known to lie right; None for the city's own.
        against_crs: CRS of that layer; what it says itself, else WGS 84, unless given.
    """

    location: str
    layer_name: str | None = None
    role: LayerRole | None = None
    crs: str | None = None
    fields: Mapping[str, str]
    constants: Mapping[str, str]
    against: Path | None = None
    against_crs: str | None = None

    def check(self, city: City, layer_id: str | None = None) -> LayerReport:
        """Read the source and check it against a city.

        Args:
            city: That it is to belong to.
            layer_id: What it is to be called there; as its file or table unless given.

        Raises:
            LayerError: The source, or the one to compare it with, cannot be read.
        """
        if is_database(self.location):
            source = read_layer_table(self.location, self.layer_name)
        else:
            source = read_source(Path(self.location), layer_name=self.layer_name)
        own_name = self.layer_name if is_database(self.location) else None
        return check_layer(
            source,
            id=layer_id or own_name or Path(self.location).stem,
            role=self.role or guess_role(source),
            replace_codes=city.old_codes,
            frame=city.frame,
            known=self._known(city),
            crs=self.crs,
            fields=self.fields,
            constants=self.constants,
        )

    def _known(self, city: City) -> list[Layer]:
        if self.against is None:
            return list(city.layers.values())
        source = read_source(self.against)
        declared = self.against_crs or (None if source.declared is not None else "EPSG:4326")
        return [
            layer_of_source(
                source,
                id=self.against.stem,
                role=self.role or guess_role(source),
                crs=declared,
                fields=guess_fields(source, {}),
            )
        ]


def parse_pairs(pairs: list[str] | None, option: str) -> dict[str, str]:
    """``code=adcode`` and the like as a mapping.

    Raises:
        InputError: A pair has no ``=``.

    Example:
        >>> parse_pairs(["code=adcode"], "--field"), parse_pairs(None, "--field")
        ({'code': 'adcode'}, {})
    """
    found = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name or not value:
            raise InputError(f"{option}: name=value was wanted, e.g. code=adcode, got {pair!r}")
        found[name] = value
    return found
