"""Names of evidence below the snapshot folder."""

from __future__ import annotations

#: Names of pictures and clips end so; the media type of each.
MEDIA_TYPES = {".jpg": "image/jpeg", ".webm": "video/webm"}


#: A camera's live picture in its folder, written over and over: no evidence.
LIVE = "live.jpg"


def clip_of(thing_id: str) -> str:
    """The name of the clip of a thing that a camera told of, whether there is one or not.

    A clip is ready some seconds after its thing was told of and may be gone before its case
    is, so nothing in the log names it.

    Example:
        >>> clip_of("camera-1/1767225611")
        'camera-1/1767225611.webm'
    """
    return f"{thing_id}.webm"
