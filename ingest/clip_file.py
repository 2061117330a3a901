"""Writes a short clip that browsers play: VP8 in WebM, which OpenCV's own FFmpeg can write.

It cannot write H.264: its wheels have no encoder for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import cv2

from core.errors import ServiceError
from vision.detections import Image


def encode_clip(images: Iterable[Image], fps: float) -> bytes:
    """Encode pictures of one size as a clip.

    Args:
        images: Shape (h, w, 3) each, at least one.
        fps: Pictures a second when it is played.

    Raises:
        ServiceError: There is no picture, or the encoder is missing.
    """
    writer: cv2.VideoWriter | None = None
    with tempfile.TemporaryDirectory(prefix="qingniao-clip-") as folder:
        path = Path(folder) / "clip.webm"
        for image in images:
            if writer is None:
                size = (image.shape[1], image.shape[0])
                code = cv2.VideoWriter.fourcc(*"VP80")
                writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
                if not writer.isOpened():
                    raise ServiceError("clip: this OpenCV cannot write VP8 in WebM")
            writer.write(image)
        if writer is None:
            raise ServiceError("clip: at least one picture was wanted")
        writer.release()
        return path.read_bytes()
