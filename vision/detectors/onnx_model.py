"""Things that a trained model recognises: any YOLO-like ONNX file, chosen in the camera's file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from core.errors import InputError
from core.units import NS_PER_S
from vision.boxes import Floats, cxcywh_to_xyxy, merge_overlapping
from vision.camera_file import OnnxSpec
from vision.detections import Image
from vision.detectors.protocol import Notes, Scene, Sighting, area_of
from vision.tracking.tracker import Tracker, TrackingParameters

CAMERA_OBJECT = "detection.camera_object"

#: Grey that models of this family were trained with around the picture.
_PAD = 114

#: The side of the model's picture where the file leaves it open.
_USUAL_SIDE_PX = 640

#: Strides of the heads of this family: the usual three, one more for large things, for small ones.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))

#: The surest boxes before overlaps are merged; a crowd has fewer.
_MOST_BOXES = 1000

#: Further apart than any box is wide: boxes of two classes never overlap.
_CLASS_APART_PX = 1e5


class OnnxError(InputError):
    """A model that cannot be used."""


class Letterbox(NamedTuple):
    """How a picture was put into a model's: scaled by ``ratio``, then moved by pads in pixels."""

    ratio: float
    left_px: float
    top_px: float

    def undo(self, xyxy_px: Floats) -> Floats:
        """Boxes (n, 4) of the model's picture as boxes of the picture that was put in.

        Example:
            >>> Letterbox(0.5, 0.0, 140.0).undo(np.array([[10.0, 150.0, 20.0, 160.0]])).tolist()
            [[20.0, 20.0, 40.0, 40.0]]
        """
        pads = np.array([self.left_px, self.top_px, self.left_px, self.top_px])
        return np.asarray((xyxy_px - pads) / self.ratio)


class Boxes(NamedTuple):
    """What a model found: boxes (n, 4) in pixels, scores (n,) 0 to 1, class numbers (n,)."""

    xyxy_px: Floats
    score_ratio: Floats
    class_number: NDArray[np.intp]


class OnnxModel:
    """A detection model of one picture in, one array out.

    Args:
        path: The file; it is read here.

    Raises:
        OnnxError: It cannot be read, or its input is not [1, 3, h, w].
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # A worker has many cameras and shares its machine.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's errors have no common base of their own
            raise OnnxError(f"{path}: cannot be read as an ONNX model: {exc}") from exc
        wanted = self._session.get_inputs()
        shape = wanted[0].shape
        if len(wanted) != 1 or len(shape) != 4 or shape[1] not in (3, "3"):
            raise OnnxError(
                f"{path}: one input of shape [1, 3, height, width] was wanted, got "
                f"{[one.shape for one in wanted]}"
            )
        self._input = str(wanted[0].name)
        self._half = wanted[0].type == "tensor(float16)"
        height, width = (
            side if isinstance(side, int) else _USUAL_SIDE_PX for side in (shape[2], shape[3])
        )
        self.path = path
        #: Width and height of the model's picture.
        self.size_px = (width, height)
        #: Class names by number, where the file says them.
        self.names = class_names(self._session.get_modelmeta().custom_metadata_map)

    def find(self, image: Image, least_ratio: float, most_iou: float) -> Boxes:
        """Run the model on a picture (h, w, 3); boxes in its pixels, surest first.

        Raises:
            OnnxError: The shape of the output is of no known layout.
        """
        tensor, placed = letterbox(image, self.size_px)
        output = self._session.run(
            None, {self._input: tensor.astype(np.float16 if self._half else np.float32)}
        )[0]
        try:
            found = decode(np.asarray(output, np.float32), self.size_px, least_ratio)
        except OnnxError as exc:
            raise OnnxError(f"{self.path}: {exc}") from exc
        found = suppress(found, most_iou)
        height, width = image.shape[:2]
        xyxy = placed.undo(found.xyxy_px)
        xyxy = np.clip(xyxy, 0.0, np.array([width, height, width, height], np.float64))
        real = (xyxy[:, 2] - xyxy[:, 0] > 1.0) & (xyxy[:, 3] - xyxy[:, 1] > 1.0)
        return Boxes(xyxy[real], found.score_ratio[real], found.class_number[real])


class OnnxDetector:
    """Objects that a model knows, tracked, in the words of the camera's file.

    Good for: vehicles, people, bags at the sizes the model was trained for. Fails on: what it
    was not trained for, things below about 12 pixels of the model's picture, most models of
    street scenes when they look straight down.

    Source:
        J. Redmon et al., "You only look once", CVPR 2016, and its successors' output layouts.

    Args:
        spec: Its settings.
        model: What :class:`OnnxModel` read.

    Raises:
        OnnxError: A class is named that the model does not name.
    """

    def __init__(self, spec: OnnxSpec, model: OnnxModel) -> None:
        self._spec = spec
        self._model = model
        self._words = words_by_number(spec.classes, model.names)
        self._tracker = Tracker(
            TrackingParameters(
                sure_ratio=spec.score_ratio,
                unsure_ratio=spec.score_ratio / 2.0,
                tentative_s=2.0 * spec.every_s,
                coast_s=1.2 * spec.every_s,
            )
        )
        self._due_ns: int | None = None
        self._last: list[Sighting] = []

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        if self._due_ns is not None and scene.time_ns < self._due_ns:
            # Between two runs things are where they were: the keeper counts every picture.
            return Notes(self._last)
        self._due_ns = scene.time_ns + round(self._spec.every_s * NS_PER_S)
        found = self._model.find(scene.full, self._spec.score_ratio / 2.0, self._spec.iou_ratio)
        known = np.array([int(one) in self._words for one in found.class_number], np.bool_)
        xyxy = found.xyxy_px[known] / scene.factor
        tracks = self._tracker.update(
            xyxy,
            at_s=scene.time_ns / NS_PER_S,
            score_ratio=found.score_ratio[known],
            labels=[self._words[int(one)] for one in found.class_number[known]],
        )
        scores = found.score_ratio[known]
        self._last = []
        for number, box, word, row in zip(
            tracks.number.tolist(), tracks.xyxy_px.tolist(), tracks.labels, tracks.row, strict=True
        ):
            score = float(scores[row]) if row >= 0 else 0.0
            one = _sight(scene, number, (box[0], box[1], box[2], box[3]), word, score)
            if one is not None:
                self._last.append(one)
        return Notes(self._last)


def letterbox(image: Image, size_px: tuple[int, int]) -> tuple[NDArray[np.float32], Letterbox]:
    """Put a picture into a model's, keeping its proportions, with grey around it.

    Args:
        image: Shape (h, w, 3), blue green red.
        size_px: Width and height of the model's picture.

    Returns:
        Shape (1, 3, height, width), red green blue, 0 to 1; and how it lies there.

    Example:
        >>> tensor, placed = letterbox(np.zeros((360, 640, 3), np.uint8), (320, 320))
        >>> tensor.shape, placed
        ((1, 3, 320, 320), Letterbox(ratio=0.5, left_px=0.0, top_px=70.0))
        >>> round(float(tensor[0, 0, 0, 0] * 255))
        114
    """
    height, width = image.shape[:2]
    ratio = min(size_px[0] / width, size_px[1] / height)
    inner = (round(width * ratio), round(height * ratio))
    left, top = (size_px[0] - inner[0]) // 2, (size_px[1] - inner[1]) // 2
    canvas = np.full((size_px[1], size_px[0], 3), _PAD, np.uint8)
    how = cv2.INTER_AREA if ratio < 1.0 else cv2.INTER_LINEAR
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=how
    )
    tensor = cv2.dnn.blobFromImage(canvas, 1.0 / 255.0, swapRB=True)
    return np.asarray(tensor, np.float32), Letterbox(ratio, float(left), float(top))


def decode(output: NDArray[np.float32], size_px: tuple[int, int], least_ratio: float) -> Boxes:
    """Boxes from the output of a model, by its shape.

    With N the number of cells of the model's heads: [1, 4+C, N] (v8, v9, v11, v12) and its
    transpose hold centre, size and a score of each class; [1, 3N, 5+C] (v5, v7) has objectness
    before the classes; [1, K, 6] (v10, end to end) corners, score and class, finished.

    Args:
        output: The first output.
        size_px: Width and height of the model's picture, which gives N.
        least_ratio: Boxes below are left out.

    Raises:
        OnnxError: The shape is none of these.

    Example:
        >>> ends = np.array([[[8, 8, 24, 24, 0.9, 2], [0, 0, 4, 4, 0.1, 0]]], np.float32)
        >>> found = decode(ends, (64, 64), 0.5)
        >>> found.xyxy_px.tolist(), found.class_number.tolist()
        ([[8.0, 8.0, 24.0, 24.0]], [2])
        >>> decode(np.zeros((1, 7, 7), np.float32), (64, 64), 0.5)
        Traceback (most recent call last):
        ...
        vision.detectors.onnx_model.OnnxError: output of shape [1, 7, 7] is of no known layout; \
wanted [1, 4+C, 84], [1, 252, 5+C] or [1, N, 6]
    """
    cells = [
        sum(-(-size_px[0] // stride) * -(-size_px[1] // stride) for stride in strides)
        for strides in _STRIDES
    ]
    shape = output.shape
    if len(shape) == 3 and shape[0] == 1:
        rows = output[0].astype(np.float64)
        if shape[1] >= 5 and shape[2] in cells:
            return _by_class(rows.T, rows[4:].T, least_ratio)
        if shape[2] >= 6 and shape[1] in [3 * count for count in cells]:
            return _by_class(rows, rows[:, 5:] * rows[:, 4:5], least_ratio)
        if shape[2] == 6 and shape[1] not in cells:
            sure = rows[rows[:, 4] >= least_ratio]
            return Boxes(sure[:, :4], sure[:, 4], sure[:, 5].astype(np.intp))
        if shape[2] >= 5 and shape[1] in cells and (rows[:, 2:4] > 0.0).all():
            return _by_class(rows, rows[:, 4:], least_ratio)
    raise OnnxError(
        f"output of shape {list(shape)} is of no known layout; wanted [1, 4+C, {cells[0]}], "
        f"[1, {3 * cells[0]}, 5+C] or [1, N, 6]"
    )


def suppress(found: Boxes, most_iou: float) -> Boxes:
    """Of boxes of one class over one thing keep the surest; surest first.

    Example:
        >>> boxes = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [0, 0, 10, 10]])
        >>> found = Boxes(boxes, np.array([0.6, 0.9, 0.5]), np.array([0, 0, 1]))
        >>> suppress(found, 0.5).score_ratio.tolist()
        [0.9, 0.5]
    """
    best = np.argsort(-found.score_ratio, kind="stable")[:_MOST_BOXES]
    xyxy, score = found.xyxy_px[best], found.score_ratio[best]
    number = found.class_number[best]
    kept = merge_overlapping(xyxy + _CLASS_APART_PX * number[:, None], score, most_iou=most_iou)
    return Boxes(xyxy[kept], score[kept], number[kept])


def words_by_number(classes: Mapping[int | str, str], names: Mapping[int, str]) -> dict[int, str]:
    """Our words by the model's class numbers.

    Raises:
        OnnxError: A name is not the model's.

    Example:
        >>> words_by_number({"car": "vehicle", 0: "person"}, {0: "person", 2: "car"})
        {2: 'vehicle', 0: 'person'}
        >>> words_by_number({"cat": "animal"}, {0: "person"})
        Traceback (most recent call last):
        ...
        vision.detectors.onnx_model.OnnxError: detectors.onnx.classes: the model names no class \
'cat'; it names person
    """
    numbers = {name: number for number, name in names.items()}
    words: dict[int, str] = {}
    for one, word in classes.items():
        if isinstance(one, str) and one not in numbers:
            told = ", ".join(names.values()) or "none, so give numbers"
            raise OnnxError(
                f"detectors.onnx.classes: the model names no class {one!r}; it names {told}"
            )
        words[numbers[one] if isinstance(one, str) else one] = word
    return words


def class_names(metadata: Mapping[str, str]) -> dict[int, str]:
    """Class names that exporters write into the file, as a Python dictionary or list.

    Example:
        >>> class_names({"names": "{0: 'person', 2: 'car'}"})
        {0: 'person', 2: 'car'}
        >>> class_names({"names": "not one"}), class_names({})
        ({}, {})
    """
    try:
        names = ast.literal_eval(metadata.get("names", "{}"))
    except (ValueError, SyntaxError):
        return {}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    return {one: str(name) for one, name in names.items() if isinstance(one, int)}


def _by_class(rows: Floats, scores: Floats, least_ratio: float) -> Boxes:
    """From rows of centre and size, and a score for each class (n, C)."""
    number = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), number]
    sure = score >= least_ratio
    return Boxes(cxcywh_to_xyxy(rows[sure, :4]), score[sure], number[sure])


def _sight(
    scene: Scene, number: int, xyxy: tuple[float, float, float, float], word: str, score: float
) -> Sighting | None:
    """A track as a sighting; None in a mask or, where there are zones, outside all of them."""
    height, width = scene.allowed.shape
    column = min(max(round((xyxy[0] + xyxy[2]) / 2.0), 0), width - 1)
    row = min(max(round((xyxy[1] + xyxy[3]) / 2.0), 0), height - 1)
    if not scene.allowed[row, column]:
        return None
    area = area_of(xyxy, scene.areas, scene.ground)
    if scene.areas and area is None:
        return None
    labels = {} if area is None else {"zone": area.id, "zone_kind": area.kind}
    return Sighting(f"object-{number}", CAMERA_OBJECT, word, xyxy, score, {}, labels)
