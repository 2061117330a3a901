"""City profiles: the file ``city.yaml`` that names a city's layers, CRS, units and workers.

The schema is strict: an unknown key, a key given twice or a value of another type is refused
with file, line and what is accepted.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import shapely

from core.city import Camera, Device, Dock, LayerRole, Unit, Worker
from core.errors import GeometryError, LayerError
from core.incidents import Text
from core.strict_yaml import read_struct
from geo.code_changes import check_old_codes
from geo.crs import MetricFrame, normal_crs
from geo.generator import District, Street, generate_inside
from geo.layers import FIELD_NAMES, Layer, build_layer, read_layer
from geo.model import City, register_layers

#: What a folder's own profile is called.
PROFILE_NAME = "city.yaml"

_BUILT_IN = Path(__file__).parent / "profiles"


class CodeList(msgspec.Struct, frozen=True, kw_only=True):
    """A CSV table of area codes, for a layer that lacks some; columns by name.

    ``parent`` is the column with the code of the area above, which tells apart areas of one
    name; matched against the district that the feature lies in.
    """

    path: str
    code: str = "code"
    name: str = "name"
    parent: str | None = None


class LayerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a profile; see :func:`geo.layers.read_layer` for what the keys do."""

    id: str
    role: LayerRole
    path: str
    crs: str | int | None = None
    title: Text | None = None
    layer: str | None = None
    fields: dict[str, str] = {}
    constants: dict[str, str | float] = {}
    replace_codes: dict[str, str] = {}
    codes_from: CodeList | None = None


class GenerateSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Generate a district inside the street that contains this point."""

    lon_deg: float
    lat_deg: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A city profile as it is written."""

    name: str
    crs: str | int
    title: Text | None = None
    layers: tuple[LayerSpec, ...] = ()
    devices: tuple[Device, ...] = ()
    cameras: tuple[Camera, ...] = ()
    docks: tuple[Dock, ...] = ()
    units: tuple[Unit, ...] = ()
    workers: tuple[Worker, ...] = ()
    generate: GenerateSpec | None = None
    old_codes: dict[str, str] = {}


def parse_profile(text: str, where: str) -> Profile:
    """Read a profile.

    Args:
        text: YAML.
        where: What to call it in messages, e.g. its path.

    Raises:
        LayerError: It is no YAML, or breaks the schema; names the line and what is accepted.

    Example:
        >>> parse_profile("name: x\\ncrs: 3067\\n", "city.yaml").crs
        3067
        >>> parse_profile("name: x\\ncrs: 3067\\nlayer: []\\n", "city.yaml")
        Traceback (most recent call last):
        ...
        core.errors.LayerError: city.yaml line 3: unknown key 'layer'; accepted: name, crs, \
title, layers, devices, cameras, docks, units, workers, generate, old_codes
    """
    profile = read_struct(text, Profile, where, what="a city profile", error=LayerError)
    _check_profile(profile, where)
    return profile


def find_profile(folder: Path) -> Path:
    """The profile of a folder: its own, or the built-in one whose files the folder has.

    Raises:
        LayerError: There is neither; says what is missing.
    """
    own = folder / PROFILE_NAME
    if own.is_file():
        return own
    misses = []
    for path in sorted(_BUILT_IN.glob("*.yaml")):
        profile = parse_profile(path.read_text(encoding="utf-8"), str(path))
        missing = [name for name in _files_of(profile) if not (folder / name).is_file()]
        if not missing:
            return path
        misses.append(f"the built-in profile {path.stem} wants {missing[0]}")
    raise LayerError(
        f"city {folder}: {PROFILE_NAME} was wanted, there is none; and {'; '.join(misses)}"
    )


def load_profiled_city(folder: Path, *, seed: int = 7) -> City:
    """Load the city that a folder describes.

    Args:
        folder: With a profile or the files of a built-in one; paths are relative to it.
        seed: For what the profile asks to generate.

    Raises:
        LayerError: The profile or one of its layers is refused.
    """
    path = find_profile(folder)
    profile = parse_profile(path.read_text(encoding="utf-8"), str(path))
    frame = MetricFrame(_epsg(profile, str(path)))
    layers: dict[str, Layer] = {}
    for spec in profile.layers:
        layer = read_layer(
            folder / spec.path,
            id=spec.id,
            role=spec.role,
            crs=spec.crs,
            title=spec.title,
            fields=spec.fields,
            constants=spec.constants,
            replace_codes=profile.old_codes | spec.replace_codes,
            layer_name=spec.layer,
        )
        if spec.codes_from is not None:
            layer = _with_codes(layer, folder, spec.codes_from, layers)
        layers[layer.id] = layer
    made = _generate(profile, frame, layers, seed, str(path))
    devices = {one.thing_id: one for one in profile.devices}
    cameras = {one.camera_id: one for one in profile.cameras}
    docks = {one.dock_sn: one for one in profile.docks}
    registers = register_layers(devices, cameras, docks, generated=False)
    for more in (registers, made.layers if made else {}):
        for name, layer in more.items():
            if name in layers:
                raise LayerError(
                    f"{path}: layer id {name!r} comes twice, it is also a register's or the "
                    "generator's; call the file's layer otherwise"
                )
            layers[name] = layer
    if made is not None:
        devices |= made.devices
        cameras |= made.cameras
        docks |= made.docks
    return City(
        name=profile.name,
        title=profile.title or Text(profile.name, profile.name),
        crs_epsg=frame.epsg,
        layers=layers,
        devices=_devices_of_layers(layers) | devices,
        cameras=cameras,
        docks=docks,
        units=profile.units + (made.units if made else ()),
        workers=profile.workers + (made.workers if made else ()),
        survey_spots=made.survey_spots if made else {},
        old_codes=profile.old_codes,
    )


def _check_profile(profile: Profile, where: str) -> None:
    check_old_codes(profile.old_codes, where)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", profile.name):
        raise LayerError(
            f"{where}: name: lower case letters, digits, - and _ were wanted (it is a level of "
            f"MQTT topics), got {profile.name!r}"
        )
    ids = [spec.id for spec in profile.layers]
    for spec in profile.layers:
        if ids.count(spec.id) > 1:
            raise LayerError(f"{where}: layer id {spec.id!r} comes twice")
        for key, given in (("fields", spec.fields), ("constants", spec.constants)):
            unknown = [name for name in given if name not in FIELD_NAMES]
            if unknown:
                raise LayerError(
                    f"{where}: layer {spec.id}: {key}: unknown {unknown[0]!r}; accepted: "
                    f"{', '.join(FIELD_NAMES)}"
                )


def _epsg(profile: Profile, where: str) -> int:
    code = normal_crs(profile.crs)
    if not code.startswith("EPSG:"):
        raise LayerError(
            f"{where}: crs: the EPSG code of a projected CRS was wanted, got {profile.crs!r}; a "
            "shifted datum is declared per layer"
        )
    return int(code.removeprefix("EPSG:"))


def _files_of(profile: Profile) -> list[str]:
    names = [spec.path for spec in profile.layers]
    names += [spec.codes_from.path for spec in profile.layers if spec.codes_from is not None]
    return names


def _with_codes(layer: Layer, folder: Path, table: CodeList, layers: dict[str, Layer]) -> Layer:
    """Fill in the codes that a layer lacks, by name and by the district it lies in."""
    path = folder / table.path
    by_name: dict[str, list[dict[str, str]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                by_name.setdefault(row[table.name], []).append(row)
        parents = _district_codes(layer, layers) if table.parent else [""] * len(layer)
        codes = []
        for code, name, parent in zip(
            layer.column("code"), layer.column("name"), parents, strict=True
        ):
            fits = [
                row
                for row in by_name.get(name, [])
                if not parent or row[table.parent or ""] == parent
            ]
            codes.append(code or (fits[0][table.code] if len(fits) == 1 else ""))
    except (OSError, UnicodeDecodeError, KeyError) as exc:
        raise LayerError(
            f"layer {layer.id}: code list {path}: columns {table.code}, {table.name} and "
            f"{table.parent} were wanted: {exc!r}"
        ) from exc
    return build_layer(
        layer.id,
        layer.role,
        layer.geometries,
        title=layer.title,
        code=codes,
        name=layer.column("name"),
        kind=layer.column("kind"),
        crs=layer.crs,
        repaired_count=layer.repaired_count,
        dropped_count=layer.dropped_count,
    )


def _district_codes(layer: Layer, layers: dict[str, Layer]) -> list[str]:
    """Code of the district that each feature lies in, empty where there is none."""
    codes = [""] * len(layer)
    points = shapely.point_on_surface(layer.geometries)
    for district in (one for one in layers.values() if one.role is LayerRole.DISTRICT):
        rows, features = shapely.STRtree(district.geometries).query(points, predicate="intersects")
        names = district.column("code")
        for row, feature in zip(rows.tolist(), features.tolist(), strict=True):
            codes[row] = codes[row] or names[feature]
    return codes


def _generate(
    profile: Profile, frame: MetricFrame, layers: dict[str, Layer], seed: int, where: str
) -> District | None:
    spec = profile.generate
    if spec is None:
        return None
    point = shapely.Point(spec.lon_deg, spec.lat_deg)
    for layer in (one for one in layers.values() if one.role is LayerRole.STREET):
        inside = np.flatnonzero(shapely.intersects(layer.geometries, point))
        if not len(inside):
            continue
        number = int(inside[0])
        code, name = layer.column("code")[number], layer.column("name")[number]
        if not code:
            raise LayerError(f"{where}: generate: street {name!r} has no code to build codes on")
        street = Street(code, name, _name_of(code[:6], layers))
        try:
            return generate_inside(seed, frame, _largest(layer.geometries[number]), street)
        except GeometryError as exc:
            raise LayerError(f"{where}: generate: street {name}: {exc}") from exc
    raise LayerError(
        f"{where}: generate: no layer of role street has a feature at {spec.lon_deg}, "
        f"{spec.lat_deg}"
    )


def _largest(area: Any) -> Any:
    """The mainland of a street that has islands."""
    return max(shapely.get_parts(area), key=lambda part: float(part.area))


def _name_of(code: str, layers: dict[str, Layer]) -> str:
    for layer in layers.values():
        if layer.role is LayerRole.DISTRICT and code in layer.column("code"):
            return str(layer.column("name")[layer.column("code").index(code)])
    return ""


def _devices_of_layers(layers: dict[str, Layer]) -> dict[str, Device]:
    """Layers of role device that came as files register their features as devices."""
    devices: dict[str, Device] = {}
    for layer in layers.values():
        if layer.role is not LayerRole.DEVICE:
            continue
        for shape, thing_id, kind, name in zip(
            shapely.point_on_surface(layer.geometries),
            layer.column("feature_id"),
            layer.column("kind"),
            layer.column("name"),
            strict=True,
        ):
            devices[thing_id] = Device(
                thing_id=thing_id, kind=kind, lon_deg=shape.x, lat_deg=shape.y, name=name
            )
    return devices
