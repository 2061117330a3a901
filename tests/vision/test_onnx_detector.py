"""A model made here, which finds red and blue things, in each of the layouts that are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vision.camera_file import read_camera_file
from vision.detectors.onnx_model import OnnxError, OnnxModel
from vision.watch import CameraWatch

SIDE = 128
CELLS = 16 * 16 + 8 * 8 + 4 * 4
S = 1_000_000_000

#: A model's file with the names of its classes and an output as it is wanted.
Export = Callable[[str], Path]


def _cells() -> np.ndarray:
    """Middle and size of each cell, (N, 4): what a real head would answer for a thing there."""
    return np.array(
        [
            [(u + 0.5) * stride, (v + 0.5) * stride, stride, stride]
            for stride in (8, 16, 32)
            for v in range(SIDE // stride)
            for u in range(SIDE // stride)
        ],
        np.float32,
    )


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Class 0 is how red, class 1 how blue a cell of 16 pixels is on average."""

    def write(layout: str) -> Path:
        nodes, constants = [], {}

        def constant(name: str, value: np.ndarray) -> str:
            constants[name] = numpy_helper.from_array(value, name)
            return name

        # Red less the others, blue less the others: two channels, then means over the cells.
        weights = np.array([[[[1.0]], [[-1.0]], [[-1.0]]], [[[-1.0]], [[-1.0]], [[1.0]]]])
        constant("weights", weights.astype(np.float32))
        nodes.append(helper.make_node("Conv", ["images", "weights"], ["colour"]))
        nodes.append(helper.make_node("Clip", ["colour", "low", "high"], ["clipped"]))
        constant("low", np.array(0.0, np.float32))
        constant("high", np.array(1.0, np.float32))
        constant("flat", np.array([1, 2, -1], np.int64))
        for stride in (8, 16, 32):
            pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
            nodes.append(helper.make_node("AveragePool", ["clipped"], [f"p{stride}"], **pool))
            # Only the middle head answers: the others would see parts of a thing.
            constant(f"w{stride}", np.array(float(stride == 16), np.float32))
            nodes.append(helper.make_node("Mul", [f"p{stride}", f"w{stride}"], [f"q{stride}"]))
            nodes.append(helper.make_node("Reshape", [f"q{stride}", "flat"], [f"s{stride}"]))
        nodes.append(helper.make_node("Concat", ["s8", "s16", "s32"], ["scores"], axis=2))
        cells = constant("cells", _cells().T[None])
        if layout == "v8":
            nodes.append(helper.make_node("Concat", [cells, "scores"], ["out"], axis=1))
            shape = [1, 6, CELLS]
        elif layout == "v8-transposed":
            nodes.append(helper.make_node("Concat", [cells, "scores"], ["wide"], axis=1))
            nodes.append(helper.make_node("Transpose", ["wide"], ["out"], perm=[0, 2, 1]))
            shape = [1, CELLS, 6]
        elif layout == "v5":
            # Objectness 0.9; two of the three anchors of each cell see nothing.
            sure = constant("sure", np.full((1, 1, CELLS), 0.9, np.float32))
            none = constant("none", np.zeros((1, 2 * CELLS, 7), np.float32))
            nodes.append(helper.make_node("Concat", [cells, sure, "scores"], ["wide"], axis=1))
            nodes.append(helper.make_node("Transpose", ["wide"], ["rows"], perm=[0, 2, 1]))
            nodes.append(helper.make_node("Concat", ["rows", none], ["out"], axis=1))
            shape = [1, 3 * CELLS, 7]
        else:
            ends = [[16, 16, 48, 48, 0.9, 0], [80, 64, 112, 96, 0.8, 1], [0, 0, 9, 9, 0.1, 0]]
            fixed = constant("ends", np.array([ends], np.float32))
            # Adds nothing, but the picture is asked for.
            constant("axes", np.array([1, 2], np.int64))
            constant("zero", np.array(0.0, np.float32))
            nodes.append(helper.make_node("ReduceMax", ["scores", "axes"], ["m"], keepdims=1))
            nodes.append(helper.make_node("Mul", ["m", "zero"], ["nothing"]))
            nodes.append(helper.make_node("Add", [fixed, "nothing"], ["out"]))
            shape = [1, 3, 6]
        graph = helper.make_graph(
            nodes,
            "colours",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
            list(constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        names = model.metadata_props.add()
        names.key, names.value = "names", "{0: 'rose', 1: 'violet'}"
        onnx.checker.check_model(model)
        path = tmp_path / f"{layout}.onnx"
        onnx.save(model, path)
        return path

    return write


def picture(red_at: tuple[int, int] = (32, 32)) -> np.ndarray:
    """256 x 128, so half size and 32 pixels of grey above and below in the model's picture."""
    image = np.full((128, 256, 3), 90, np.uint8)
    u, v = red_at
    cv2.rectangle(image, (u, v), (u + 31, v + 31), (0, 0, 255), -1)
    cv2.rectangle(image, (160, 64), (191, 95), (255, 0, 0), -1)
    return image


@pytest.mark.parametrize("layout", ["v8", "v8-transposed", "v5"])
def test_each_layout_finds_both_things_where_they_are(export: Export, layout: str):
    found = OnnxModel(export(layout)).find(picture(), 0.8, 0.3)
    assert found.class_number.tolist() == [0, 1]
    assert found.score_ratio == pytest.approx([0.9 if layout == "v5" else 1.0] * 2, abs=0.01)
    assert found.xyxy_px.tolist() == [[32.0, 32.0, 64.0, 64.0], [160.0, 64.0, 192.0, 96.0]]


def test_an_end_to_end_model_is_taken_at_its_word(export: Export):
    found = OnnxModel(export("end-to-end")).find(picture(), 0.5, 0.5)
    assert found.class_number.tolist() == [0, 1]
    # (u, v - 32) twice as large: the border is undone, what lay in it is cut off.
    assert found.xyxy_px.tolist() == [[32.0, 0.0, 96.0, 32.0], [160.0, 64.0, 224.0, 128.0]]


def test_a_camera_names_a_model_and_our_words(export: Export, tmp_path: Path):
    export("v8")
    file = tmp_path / "camera.yaml"
    file.write_text(
        "id: gate\nzones:\n"
        "  - {id: left, kind: pavement, polygon_px: [[0, 0], [128, 0], [128, 127], [0, 127]]}\n"
        "detectors:\n  onnx:\n    model: v8.onnx\n    classes: {rose: flower, 1: other}\n"
        "    score_ratio: 0.3\n"
    )
    watch = CameraWatch(read_camera_file(file))
    told = []
    for number in range(75):
        image = picture((32 + number % 3, 32) if number < 30 else (-90, 32))
        noise = np.random.default_rng(number).integers(0, 4, image.shape, np.uint8)
        told += watch.look(cv2.add(image, noise), S + number * S // 10).observations
    # The blue thing is outside the zone; the red one trembles, and is one thing until it is gone.
    assert [(one.kind, one.labels["phase"], one.labels["object"]) for one in told] == [
        ("detection.camera_object", phase, "flower") for phase in ("new", "end")
    ]
    assert told[0].labels["zone_kind"] == "pavement"
    assert len({one.thing_id for one in told}) == 1


def test_what_cannot_be_used_is_refused_with_what_was_wanted(export: Export, tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(OnnxError, match=r"broken\.onnx: cannot be read as an ONNX model"):
        OnnxModel(broken)
    export("v8")
    file = tmp_path / "camera.yaml"
    file.write_text("detectors: {onnx: {model: v8.onnx, classes: {cat: animal}}}\n")
    with pytest.raises(OnnxError, match="names no class 'cat'; it names rose, violet"):
        CameraWatch(read_camera_file(file)).look(picture(), S)
