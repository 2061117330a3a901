"""Loads a city by a word or a folder; the door to this package for the edges."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError, LayerError
from geo.generator import generate_city
from geo.instruments import equip, parse_size
from geo.model import City
from geo.profile import load_profiled_city

#: Word for the city that our generator makes.
GENERATED = "generated"


def load_city(spec: str, *, seed: int = 7) -> City:
    """Load a city.

    Args:
        spec: ``generated``; ``generated:street``, ``generated:district`` or
            ``generated:city``, with as many devices as those have or as numbers say
            (``generated:city,devices=3000,cameras=40``); a folder with a profile
            (``city.yaml``); or a folder with the files that a built-in profile names.
        seed: Of the generator, for what is generated.

    Raises:
        LayerError: The folder, the profile or a layer is refused; says which file and why.

    Example:
        >>> load_city("generated").crs_epsg
        4549
        >>> load_city("/nowhere")
        Traceback (most recent call last):
        ...
        core.errors.LayerError: city: `generated` or a folder was wanted, got '/nowhere'
    """
    if spec == GENERATED:
        return generate_city(seed)
    word, _, size_name = spec.partition(":")
    if word == GENERATED:
        try:
            size = parse_size(size_name)
        except InputError as exc:
            raise LayerError(f"city: {exc}") from exc
        return equip(generate_city(seed, size_m=size.size_m), seed=seed, size=size)
    folder = Path(spec)
    if not folder.is_dir():
        raise LayerError(f"city: `generated` or a folder was wanted, got {spec!r}")
    return load_profiled_city(folder, seed=seed)


__all__ = ["GENERATED", "City", "generate_city", "load_city"]
