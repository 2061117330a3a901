"""Keeps the map in use current with its catalogue, while everything runs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from core.errors import InputError
from core.settings import Settings
from geo import native
from geo.catalogue import load_catalogue
from geo.live_map import LiveTagger
from geo.model import City
from geo.table_cache import TableCache

logger = logging.getLogger(__name__)

#: How often the catalogue is looked at; reading it takes longer than looking.
LOOK_S = 2.0


def open_map(settings: Settings, city: City) -> LiveTagger:
    """The map of a city with the layers that were imported, indexed once for each version.

    Raises:
        LayerError: The catalogue or one of its layers is refused.
    """
    native.allow(settings.geo_c)
    tables = TableCache(settings.table_dir)
    return LiveTagger(city, load_catalogue(settings.catalogue_path), tables)


async def watch_map(path: Path, tagger: LiveTagger, *, look_s: float = LOOK_S) -> None:
    """Take each new catalogue into use as soon as it is written, until cancelled.

    A catalogue that is refused is told once and leaves the map as it is.

    Args:
        path: Of ``layers.yaml``; it need not exist yet.
        tagger: The map in use.
        look_s: Seconds between looks.
    """
    # What was imported between the start's own reading and now is read at the first look.
    seen: tuple[int, int] | None = None
    while True:
        await asyncio.sleep(look_s)
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp == seen:
            continue
        seen = stamp
        try:
            catalogue = await asyncio.to_thread(load_catalogue, path)
            if not await asyncio.to_thread(tagger.swap, catalogue):
                continue
        except InputError as error:
            logger.error("the map stays as it is: %s", error)
            continue
        versions = {name: list_[-1].layer.version for name, list_ in catalogue.versions.items()}
        logger.warning("new map in use: %s", versions or "no imported layers")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
