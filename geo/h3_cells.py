"""H3 cells for arrays; the library itself takes one position at a time."""

from __future__ import annotations

from typing import cast

import h3.api.basic_int as h3
import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import GeometryError, InputError

MAX_RESOLUTION = 15

#: What stands for an unknown position; H3 itself keeps 0 for no cell.
NO_CELL = 0


def h3_cells(lon_deg: ArrayLike, lat_deg: ArrayLike, resolution: int) -> NDArray[np.uint64]:
    """The cells that positions lie in.

    Args:
        lon_deg: Degrees, shape (n,) or one number; what is not finite has no cell.
        lat_deg: Likewise, -90 to 90.
        resolution: 0 (edges of 1,281 km) to 15 (0.6 m).

    Returns:
        Cell numbers, shape (n,); 0 where there is no position.

    Raises:
        GeometryError: The arrays do not fit each other, a latitude is not on Earth, or there
            is no such resolution.

    Example:
        >>> [f"{cell:x}" for cell in h3_cells([120.3846, np.nan], [36.0614, 36.0], 9).tolist()]
        ['8930ac534a7ffff', '0']
    """
    lon = np.atleast_1d(np.asarray(lon_deg, dtype=np.float64))
    lat = np.atleast_1d(np.asarray(lat_deg, dtype=np.float64))
    if lon.ndim != 1 or lon.shape != lat.shape:
        raise GeometryError(
            f"lon_deg and lat_deg must have one shape (n,), got {lon.shape} and {lat.shape}"
        )
    if not 0 <= resolution <= MAX_RESOLUTION:
        raise GeometryError(f"h3 resolution: 0 to {MAX_RESOLUTION} was wanted, got {resolution}")
    known = np.isfinite(lon) & np.isfinite(lat)
    off = known & (np.abs(lat) > 90.0)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise GeometryError(f"h3 cell: |lat_deg| <= 90 was wanted, got {lat[row]} in row {row}")
    cells = np.full(len(lon), NO_CELL, dtype=np.uint64)
    cells[known] = np.fromiter(
        (
            h3.latlng_to_cell(y, x, resolution)
            for x, y in zip(lon[known].tolist(), lat[known].tolist(), strict=True)
        ),
        dtype=np.uint64,
        count=int(known.sum()),
    )
    return cells


def h3_centres(cells: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of cells.

    Args:
        cells: Cell numbers, shape (n,).

    Returns:
        Longitudes and latitudes in degrees, shape (n,); NaN where the cell is 0.

    Raises:
        InputError: A number is no cell.

    Example:
        >>> lon, lat = h3_centres([0x8930ac534a7ffff, 0])
        >>> lon.round(3).tolist(), lat.round(3).tolist()
        ([120.385, nan], [36.06, nan])
    """
    numbers = _numbers(cells)
    lon = np.full(len(numbers), np.nan)
    lat = np.full(len(numbers), np.nan)
    for row, cell in enumerate(numbers):
        if cell != NO_CELL:
            lat[row], lon[row] = h3.cell_to_latlng(cell)
    return lon, lat


def h3_parents(cells: ArrayLike, resolution: int) -> NDArray[np.uint64]:
    """The coarser cells that cells belong to; 0 stays 0.

    Args:
        cells: Cell numbers, shape (n,).
        resolution: Of the coarser cells, 0 to that of each cell.

    Returns:
        Cell numbers, shape (n,).

    Raises:
        InputError: A number is no cell, or a cell is coarser than the resolution.

    Example:
        >>> f"{h3_parents([0x8930ac534a7ffff], 7).tolist()[0]:x}"
        '8730ac534ffffff'
    """
    numbers = _numbers(cells)
    parents = np.full(len(numbers), NO_CELL, dtype=np.uint64)
    for row, cell in enumerate(numbers):
        if cell != NO_CELL:
            if not 0 <= resolution <= h3.get_resolution(cell):
                raise InputError(
                    f"h3 cell {cell:x} (row {row}): a resolution of 0 to "
                    f"{h3.get_resolution(cell)} was wanted, got {resolution}"
                )
            parents[row] = h3.cell_to_parent(cell, resolution)
    return parents


def _numbers(cells: ArrayLike) -> list[int]:
    numbers = cast("list[int]", np.atleast_1d(np.asarray(cells, dtype=np.uint64)).tolist())
    for row, cell in enumerate(numbers):
        if cell != NO_CELL and not h3.is_valid_cell(cell):
            raise InputError(f"h3 cell {cell:#x} (row {row}): a cell number was wanted")
    return numbers
