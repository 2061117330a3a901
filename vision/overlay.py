"""Drawing what was seen into a picture, for a person to judge."""

from __future__ import annotations

import cv2
import numpy as np

from core.units import ns_to_rfc3339
from vision.camera_file import CameraFile
from vision.detections import Image
from vision.drawing import EVENT, MOVING, WHITE, ZONE, write_words
from vision.watch import Look

_LINE = (255, 200, 0)
_STILL = (160, 160, 160)


def draw_look(
    image: Image,
    look: Look,
    camera: CameraFile,
    time_ns: int,
    totals: dict[str, list[int]],
    notice: str = "",
) -> Image:
    """Boxes, tracks, zones, lines, events and the camera's state, drawn into the picture.

    Args:
        image: Shape (h, w, 3); drawn on in place.
        look: What was seen in it.
        camera: Its zones and lines.
        time_ns: Of the picture.
        totals: Crossings by line: in, out.
        notice: One more line of text.
    """
    height, width = image.shape[:2]
    given = camera.size_px or (width, height)
    scale = np.array([width / given[0], height / given[1]])
    size = max(0.4, height / 720.0 * 0.6)
    for zone in camera.zones:
        polygon = np.rint(np.array(zone.polygon_px) * scale).astype(np.int32)
        cv2.polylines(image, [polygon], True, ZONE, 1, cv2.LINE_AA)
        write_words(image, f"{zone.id} {zone.kind}", tuple(polygon[0].tolist()), ZONE, size * 0.8)
    for line in camera.lines:
        start, end = (
            np.rint(np.array(one) * scale).astype(int) for one in (line.from_px, line.to_px)
        )
        cv2.line(image, tuple(start.tolist()), tuple(end.tolist()), _LINE, 2, cv2.LINE_AA)
        came_in, came_out = totals.get(line.id, [0, 0])
        write_words(
            image, f"{line.id} in {came_in} out {came_out}", tuple(start.tolist()), _LINE, size
        )
    tracks = look.tracks
    for row, number in enumerate(tracks.number.tolist()):
        left, top, right, bottom = np.rint(tracks.xyxy_px[row]).astype(int).tolist()
        colour = MOVING if look.moving[row] else _STILL
        cv2.rectangle(image, (left, top), (right, bottom), colour, 1)
        speed = look.speed_mps[row]
        words = f"{number}" if speed != speed else f"{number} {speed:.1f} m/s"
        write_words(image, words, (left, top - 3), colour, size * 0.8)
    for _, sighting in look.open:
        left, top, right, bottom = np.rint(sighting.xyxy).astype(int).tolist()
        cv2.rectangle(image, (left - 2, top - 2), (right + 2, bottom + 2), EVENT, 2)
        where = sighting.labels.get("zone", "")
        write_words(image, f"{sighting.what} {where}".strip(), (left, bottom + 14), EVENT, size)
    state = f"{look.state.words} ({look.state})" + (" learning" if look.learning else "")
    write_words(
        image, f"{camera.id}  {ns_to_rfc3339(time_ns)}  {state}", (6, height - 8), WHITE, size
    )
    if notice:
        write_words(image, notice, (6, round(24 * size) + 4), EVENT, size)
    return image
