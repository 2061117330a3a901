"""Writes a checked layer and its entry in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import LayerError
from geo.catalogue import (
    CatalogueFile,
    VersionSpec,
    catalogue_text,
    parse_catalogue,
    with_version,
)
from geo.crs import WGS84, crs_title
from geo.layers import AIRSPACE_COLUMNS, Layer

#: Folder of the layers' files, beside the catalogue.
FOLDER = "layers"


@dataclass(frozen=True)
class ImportPlan:
    """What an import would write.

    Attributes:
        catalogue: The whole catalogue afterwards.
        spec: The new version's entry.
        file: The layer's own file.
        before: The version that counted until now, if there was one.
    """

    catalogue: CatalogueFile
    spec: VersionSpec
    file: Path
    before: str | None


def plan_import(layer: Layer, catalogue_path: Path, source: Path, valid_from: str) -> ImportPlan:
    """What taking a layer in would change; changes nothing.

    Args:
        layer: As the check made it.
        catalogue_path: Of ``layers.yaml``; need not exist.
        source: Where it came from, for the record.
        valid_from: RFC 3339, from when it counts.

    Raises:
        LayerError: The catalogue is broken, or does not take the version.
    """
    written = CatalogueFile()
    if catalogue_path.is_file():
        written = parse_catalogue(catalogue_path.read_text(encoding="utf-8"), str(catalogue_path))
    name = f"{FOLDER}/{layer.id}-{layer.version}.gpkg"
    fields = {"id": "feature_id"}
    spec = VersionSpec(
        path=name,
        crs=WGS84,
        fields=fields,
        valid_from=valid_from,
        version=layer.version,
        source=f"{source.name}, {crs_title(layer.crs)}",
    )
    before = next((one for one in written.layers if one.id == layer.id), None)
    return ImportPlan(
        with_version(written, layer, spec, str(catalogue_path)),
        spec,
        catalogue_path.parent / name,
        None if before is None else before.versions[-1].version,
    )


def write_import(layer: Layer, plan: ImportPlan, catalogue_path: Path) -> None:
    """Write the layer's file, then the catalogue, each whole or not at all.

    Raises:
        LayerError: They cannot be written.
    """
    frame = layer.frame.drop(columns="generated")
    if layer.role.value == "airspace":
        frame = frame.astype({"floor_m": str, "ceiling_m": str})  # a file knows no infinity
    else:
        frame = frame[[name for name in frame.columns if name not in AIRSPACE_COLUMNS]]
    try:
        plan.file.parent.mkdir(parents=True, exist_ok=True)
        new_file = plan.file.with_name(f".new-{plan.file.name}")
        new_file.unlink(missing_ok=True)
        frame.to_file(new_file, layer=layer.id, driver="GPKG")
        new_file.replace(plan.file)
        new = catalogue_path.with_suffix(".new")
        new.write_text(catalogue_text(plan.catalogue), encoding="utf-8")
        new.replace(catalogue_path)
    except (OSError, RuntimeError) as exc:
        raise LayerError(f"{plan.file}: cannot be written: {exc}") from exc
