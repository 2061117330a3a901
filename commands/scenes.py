"""``qingniao scenes``: labelled pictures of a simulated street camera in any weather."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError
from core.units import rfc3339_to_ns, seconds_to_ns
from geo.city import generate_city
from simulators.labelled import labelled_frames, write_labelled
from simulators.scribe import BLOCK_S
from simulators.views import CONDITIONS
from simulators.world import World

#: The script's begin; what it says follows from the seed, not from the date.
_EPOCH_NS = rfc3339_to_ns("2026-03-10T00:00:00Z")


def write_scenes(
    folder: Path,
    *,
    camera: str,
    weather: str,
    frames: int,
    step_s: float,
    after_s: float,
    boxes: bool,
    seed: int,
) -> int:
    """Write the frames; gives their number.

    Raises:
        InputError: There is no such camera or weather, or the frames run past the script.
    """
    conditions = CONDITIONS.get(weather)
    if conditions is None:
        raise InputError(f"--weather: one of {', '.join(CONDITIONS)} was wanted, got {weather!r}")
    if after_s + frames * step_s > BLOCK_S:
        raise InputError(
            f"--after and --frames: the script is {BLOCK_S} s long, wanted until "
            f"{after_s + frames * step_s:.0f} s"
        )
    city = generate_city(seed)
    fixed = [name for name, one in city.cameras.items() if one.pose is not None]
    if camera not in fixed:
        raise InputError(f"--camera: one of {', '.join(fixed)} was wanted, got {camera!r}")
    made = labelled_frames(
        World(city, seed=seed, epoch_ns=_EPOCH_NS),
        camera,
        conditions,
        start_ns=_EPOCH_NS + seconds_to_ns(after_s),
        count=frames,
        step_s=step_s,
    )
    return write_labelled(folder, made, boxes=boxes)
