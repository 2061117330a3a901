"""Evidence pictures: made from what was known when a frame was looked at, without anybody in them.

Looking for people takes a hundred times as long as looking at a frame, so it is not done while
the next frame waits: a camera's pipeline gives a negative, and the darkroom develops it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.ports import GroundProjector
from core.units import NS_PER_S
from vision.blur import blur, draw_object, draw_zones, encode_jpeg, private_mask
from vision.detections import Image, Mask
from vision.people import SURE, find_people, find_people_on_ground
from vision.plates import mark_plates
from vision.quality import decode_reduced

#: Those who stand still stay for a while; who came since the search differs from the street.
_PEOPLE_EVERY_S = 60.0

#: Cameras whose people are remembered; that of the oldest search is forgotten first.
_MAX_CAMERAS = 64

Box = tuple[int, int, int, int]
Person = tuple[Box, float]


class Shot(NamedTuple):
    """A picture that is wanted: its name, and the box of its object in the full picture."""

    name: str
    box: Box


class Shown(NamedTuple):
    """A thing that stays visible: its box; of a vehicle also pixels for a metre there, else 0.

    ``words`` say what it is, in ASCII, for drawing.
    """

    box: Box
    px_per_m: float = 0.0
    words: str = ""


class Negative(msgspec.Struct, frozen=True, kw_only=True):
    """A frame with what its pictures need.

    ``suspect_bits`` is, packed, what may be somebody who moves, of shape ``suspect_shape``, that
    of the model; what is blurred for it is wider by ``margin_px``. ``moving`` are the boxes of
    what moves, ``outlines_px`` those of the zones, all in pixels of ``pose``. ``street_ns`` is
    since when nothing became part of the street; of a camera that sways in the air it is the
    frame's own time. ``clips`` are the names of clips that are wanted of how this moment came
    about. It holds one JPEG and one mask of bits, some 300 kB at 1080p.
    """

    camera_id: str
    time_ns: int
    jpeg: bytes
    pose: CameraPose | None
    suspect_bits: bytes
    suspect_shape: tuple[int, int]
    shots: tuple[Shot, ...]
    shown: tuple[Shown, ...]
    moving: tuple[Box, ...]
    outlines_px: tuple[NDArray[np.int32], ...]
    street_ns: int
    clips: tuple[str, ...] = ()
    margin_px: int = 0

    @property
    def suspects(self) -> Mask:
        """What may be somebody who moves, shape (h, w), 255 where."""
        height, width = self.suspect_shape
        bits = np.unpackbits(np.frombuffer(self.suspect_bits, np.uint8), count=height * width)
        return bits.reshape(height, width) * np.uint8(255)

    def hidden(self) -> Mask:
        """What must be blurred, but for people who stand, shape (h, w), 255 where."""
        hide = private_mask(self.suspects)
        if self.margin_px:
            side = 2 * self.margin_px + 1
            hide = cv2.dilate(hide, np.ones((side, side), np.uint8)).astype(np.uint8, copy=False)
        return hide

    @property
    def byte_count(self) -> int:
        """What it holds, nearly."""
        return len(self.jpeg) + len(self.suspect_bits)


def pack_mask(mask: Mask) -> bytes:
    """A mask as bits, an eighth of its size."""
    return np.packbits(mask > 0).tobytes()


class _Search(NamedTuple):
    """Who was found in the whole picture, and when."""

    people: list[Person]
    time_ns: int


class Darkroom:
    """Develops negatives; the same ones in the same order give the same pictures.

    Args:
        projector: Pixel to ground.
    """

    def __init__(self, projector: GroundProjector) -> None:
        self._projector = projector
        self._searches: dict[str, _Search] = {}

    def develop(self, negative: Negative) -> list[tuple[str, bytes]]:
        """Make the pictures of a frame.

        Returns:
            (name, JPEG) of each shot; none where the frame cannot be decoded whole.
        """
        blurred = self.blurred(negative)
        if blurred is None:
            return []
        pictures = []
        for name, (left, top, right, bottom) in negative.shots:
            drawn = draw_object(
                blurred.copy(),
                (left - 2, top - 2, right + 2, bottom + 2),
                camera_id=negative.camera_id,
                time_ns=negative.time_ns,
            )
            pictures.append((name, encode_jpeg(drawn)))
        return pictures

    def blurred(self, negative: Negative) -> Image | None:
        """The whole frame with nobody in it and the zones drawn; None if it cannot be decoded."""
        image = decode_reduced(negative.jpeg, 1)
        if image is None:
            return None
        mask = self._with_people_and_plates(negative, image)
        return draw_zones(blur(image, mask), negative.outlines_px, mask)

    def _with_people_and_plates(self, negative: Negative, image: Image) -> Mask:
        height, width = image.shape[:2]
        mask = cv2.resize(negative.hidden(), (width, height), interpolation=cv2.INTER_NEAREST)
        for (left, top, right, bottom), weight in self._people(negative, image):
            middle = (left + right) / 2.0
            # A vehicle's own edges are often half a person: there it takes more to be blurred.
            on_vehicle = any(
                one.box[0] <= middle <= one.box[2] and one.box[1] < bottom <= one.box[3]
                for one in negative.shown
                if one.px_per_m
            )
            if on_vehicle and weight < SURE:
                continue
            mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 255
        for one in negative.shown:
            mask = cv2.bitwise_or(mask, mark_plates(image, one.box, one.px_per_m))
        return np.asarray(mask, np.uint8)

    def _people(self, negative: Negative, image: Image) -> list[Person]:
        """Who stands in the picture: part of the street, or at what is shown.

        The whole picture is searched now and then, for those who are part of the street:
        whoever came since then differs from it and is blurred for that. Only before what is
        shown does that not help, so people are looked for there every time.
        """
        last = self._searches.get(negative.camera_id)
        fresh_ns = max(negative.street_ns, negative.time_ns - round(_PEOPLE_EVERY_S * NS_PER_S))
        if last is not None and fresh_ns <= last.time_ns <= negative.time_ns:
            found = list(last.people)
            for one in negative.shown:
                found += self._search(image, negative.pose, one.box)
            return found
        found = self._search(image, negative.pose)
        if last is not None and last.time_ns > negative.time_ns:
            return found  # a picture of before: what was found later is worth more
        self._searches.pop(negative.camera_id, None)
        self._searches[negative.camera_id] = _Search(found, negative.time_ns)
        if len(self._searches) > _MAX_CAMERAS:
            del self._searches[next(iter(self._searches))]
        return found

    def _search(
        self, image: Image, pose: CameraPose | None, near: Box | None = None
    ) -> list[Person]:
        if pose is not None:
            return find_people_on_ground(image, self._projector, pose, near)
        return [(box, SURE) for box in find_people(image, near)]
