"""Names of evidence below the snapshot folder."""

from __future__ import annotations

import re

from core.units import NS_PER_MS

#: Names of pictures and clips end so; the media type of each.
MEDIA_TYPES = {".jpg": "image/jpeg", ".webm": "video/webm"}


#: A camera's live picture in its folder, written over and over: no evidence.
LIVE = "live.jpg"


_PICTURE = re.compile(r"[^/]+/([0-9]{1,15})-[0-9]+-[a-z]+\.jpg", re.ASCII)


def picture_name(camera_id: str, time_ns: int, number: int, phase: str) -> str:
    """The name of a thing's picture: camera, time of the frame, the thing's number, what it shows.

    Example:
        >>> picture_name("camera-1", 1_767_225_611_000_000_000, 3, "new")
        'camera-1/1767225611000-3-new.jpg'
    """
    return f"{camera_id}/{time_ns // NS_PER_MS}-{number}-{phase}.jpg"


def taken_ns(name: str) -> int | None:
    """The time of the frame that a picture is of; None for names of other kinds.

    Example:
        >>> taken_ns("camera-1/1767225611000-3-new.jpg")
        1767225611000000000
        >>> taken_ns("camera-1/live.jpg")
    """
    found = _PICTURE.fullmatch(name)
    return None if found is None else int(found[1]) * NS_PER_MS


def clip_of(thing_id: str) -> str:
    """The name of the clip of a thing that a camera told of, whether there is one or not.

    A clip is ready some seconds after its thing was told of and may be gone before its case
    is, so nothing in the log names it.

    Example:
        >>> clip_of("camera-1/1767225611")
        'camera-1/1767225611.webm'
    """
    return f"{thing_id}.webm"
