"""The catalogue ``layers.yaml``: layers that were imported, in versions with dates of validity.

Every version is a file beside the catalogue, in WGS 84 and with our column names, so that a
start reads what the import checked. The schema is strict, as a city profile's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml

from core.city import LayerRole
from core.errors import InputError, LayerError
from core.incidents import Text
from core.strict_yaml import read_struct
from core.units import rfc3339_to_ns
from geo.code_changes import check_old_codes
from geo.layers import FIELD_NAMES, Layer, read_layer

#: What the catalogue is called.
CATALOGUE_NAME = "layers.yaml"

#: Before any instant a clock can show.
ALWAYS_NS = -(2**63)


class VersionSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of a layer: a file, and from when it counts.

    It counts from ``valid_from`` (RFC 3339; always when left out) until the next version's, or
    until ``valid_to``. ``version`` is the hash of its content, which the file must still have.
    """

    path: str
    crs: str | int | None = None
    layer: str | None = None
    fields: dict[str, str] = {}
    constants: dict[str, str | float] = {}
    valid_from: str | None = None
    valid_to: str | None = None
    version: str | None = None
    source: str = ""


class CatalogueLayer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer and its versions."""

    id: str
    role: LayerRole
    versions: tuple[VersionSpec, ...]
    title: Text | None = None


class CatalogueFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The catalogue as it is written; ``old_codes`` as :mod:`geo.code_changes` has them."""

    layers: tuple[CatalogueLayer, ...] = ()
    old_codes: dict[str, str] = {}


@dataclass(frozen=True)
class Version:
    """A version that was read."""

    layer: Layer
    from_ns: int
    to_ns: int | None


@dataclass(frozen=True)
class Catalogue:
    """Layers by id, each with its versions by date."""

    versions: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    old_codes: Mapping[str, str] = field(default_factory=dict)

    def changes_ns(self) -> list[int]:
        """Instants at which another set of versions begins to count, in order."""
        found = {ALWAYS_NS}
        for versions in self.versions.values():
            for version in versions:
                found.add(version.from_ns)
                if version.to_ns is not None:
                    found.add(version.to_ns)
        return sorted(found)

    def at(self, time_ns: int) -> dict[str, Layer]:
        """The layers that count at an instant: of each the latest version that has begun."""
        valid: dict[str, Layer] = {}
        for name, versions in self.versions.items():
            for version in versions:
                if version.from_ns <= time_ns and (
                    version.to_ns is None or time_ns < version.to_ns
                ):
                    valid[name] = version.layer
        return valid


def parse_catalogue(text: str, where: str) -> CatalogueFile:
    """Read a catalogue's text.

    Args:
        text: YAML.
        where: What to call it in messages.

    Raises:
        LayerError: It is no YAML, breaks the schema, or its dates do not fit; names file, line
            or path, and what is accepted.

    Example:
        >>> parse_catalogue("layers: []", "layers.yaml").layers
        ()
        >>> parse_catalogue("layer: []", "layers.yaml")
        Traceback (most recent call last):
        ...
        core.errors.LayerError: layers.yaml line 1: unknown key 'layer'; accepted: layers, old_codes
    """
    made = read_struct(text, CatalogueFile, where, what="a catalogue of layers", error=LayerError)
    seen: set[str] = set()
    for number, layer in enumerate(made.layers):
        here = f"{where} layers[{number}] ({layer.id})"
        if layer.id in seen:
            raise LayerError(f"{here}: the id comes twice")
        seen.add(layer.id)
        if not layer.versions:
            raise LayerError(f"{here}.versions: at least one was wanted")
        begins = [_instant(one.valid_from, f"{here}.valid_from") for one in layer.versions]
        if begins != sorted(set(begins)):
            raise LayerError(f"{here}.versions: each must begin after the one before it")
        for one, begin in zip(layer.versions, begins, strict=True):
            if one.valid_to and _instant(one.valid_to, f"{here}.valid_to") <= begin:
                raise LayerError(f"{here}: valid_to {one.valid_to} is not after its beginning")
            unknown = set(one.fields) - set(FIELD_NAMES)
            if unknown:
                raise LayerError(
                    f"{here}.fields: {sorted(unknown)[0]!r} is unknown; accepted: "
                    f"{', '.join(FIELD_NAMES)}"
                )
    check_old_codes(made.old_codes, where)
    return made


def load_catalogue(path: Path) -> Catalogue:
    """Read a catalogue and all versions of its layers.

    Args:
        path: Of ``layers.yaml``; paths in it are relative to its folder.

    Returns:
        The catalogue; an empty one where there is no such file.

    Raises:
        LayerError: It or a layer is refused, or a file is no longer what was imported.
    """
    if not path.is_file():
        return Catalogue()
    written = parse_catalogue(path.read_text(encoding="utf-8"), str(path))
    versions: dict[str, tuple[Version, ...]] = {}
    for layer in written.layers:
        read = []
        for spec in layer.versions:
            made = read_layer(
                path.parent / spec.path,
                id=layer.id,
                role=layer.role,
                crs=spec.crs,
                title=layer.title,
                fields=spec.fields,
                constants=spec.constants,
                replace_codes=written.old_codes,
                layer_name=spec.layer,
            )
            if spec.version is not None and made.version != spec.version:
                raise LayerError(
                    f"{path}: layer {layer.id}: version {spec.version} was imported, {spec.path} "
                    f"now holds {made.version}; import it again"
                )
            begin = _instant(spec.valid_from, "valid_from")
            end = None if spec.valid_to is None else _instant(spec.valid_to, "valid_to")
            read.append(Version(made, begin, end))
        versions[layer.id] = tuple(read)
    return Catalogue(versions, written.old_codes)


def with_version(
    written: CatalogueFile, layer: Layer, spec: VersionSpec, where: str
) -> CatalogueFile:
    """A catalogue with one version more, in its place by date.

    A version that begins at the same instant is replaced.

    Raises:
        LayerError: The layer's role differs from before, or the dates do not fit.
    """
    others = [one for one in written.layers if one.id != layer.id]
    before = next((one for one in written.layers if one.id == layer.id), None)
    if before is not None and before.role is not layer.role:
        raise LayerError(
            f"{where}: layer {layer.id} has role {before.role.value}, not {layer.role.value}; "
            "give the new one another id"
        )
    versions = [one for one in (before.versions if before else ()) if not _same_start(one, spec)]
    versions.append(spec)
    versions.sort(key=lambda one: _instant(one.valid_from, where))
    made = CatalogueLayer(id=layer.id, role=layer.role, versions=tuple(versions), title=layer.title)
    catalogue = CatalogueFile(layers=(*others, made), old_codes=written.old_codes)
    parse_catalogue(catalogue_text(catalogue), where)
    return catalogue


def catalogue_text(catalogue: CatalogueFile) -> str:
    """A catalogue as YAML."""
    text: str = yaml.safe_dump(
        msgspec.to_builtins(catalogue), allow_unicode=True, sort_keys=False, width=100
    )
    return text


def _same_start(one: VersionSpec, other: VersionSpec) -> bool:
    return _instant(one.valid_from, "") == _instant(other.valid_from, "")


def _instant(text: str | None, where: str) -> int:
    if text is None:
        return ALWAYS_NS
    try:
        return rfc3339_to_ns(text)
    except InputError as exc:
        raise LayerError(f"{where}: {exc}") from exc
