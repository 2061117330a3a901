"""The folder of camera files: what is looked for in the pictures of which camera."""

from __future__ import annotations

from pathlib import Path

import msgspec

from geo.city import City
from vision.camera_file import CameraFile, CameraFileError, read_camera_file


def read_camera_folder(folder: Path | None, city: City) -> dict[str, CameraFile]:
    """Read ``CAMERA_ID.yaml`` of each camera that has one.

    Args:
        folder: Where they are; None is the same as an empty one.
        city: Whose cameras they are of.

    Raises:
        CameraFileError: The folder is absent, or a file is refused or is that of no camera.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise CameraFileError(f"cameras: {folder}: a folder of camera files was wanted")
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in city.cameras:
            known = ", ".join(sorted(city.cameras)[:12])
            raise CameraFileError(f"{path}: the city has no camera {path.stem!r}; it has {known}")
        found[path.stem] = msgspec.structs.replace(read_camera_file(path), id=path.stem)
    return found
