"""People's own pictures of a case: before and after (核查结案 needs both to be believed)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated

import cv2
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from api.answers import JsonBytes, encoded
from api.guard import check_token, client_of
from api.schemas import PROBLEMS
from api.services import Services
from core.errors import InputError
from vision.quality import decode_reduced, read_jpeg_header

#: Longest side of a kept picture; larger ones are scaled down.
MAX_SIDE_PX = 1600

_QUALITY = 85


def build_router(services: Services) -> APIRouter:
    """The route of ``/incidents/{id}/photos``."""
    router = APIRouter(tags=["incidents"], responses=PROBLEMS)

    @router.post(
        "/incidents/{incident_id}/photos",
        summary="Bring a picture of a case, to be named in its next step",
        description="Needs the token. The body is a JPEG. It is decoded and encoded anew, so "
        "that neither the phone's position nor its owner travels with it; the same picture has "
        "the same name.",
        response_class=JsonBytes,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
        responses={201: {"description": "The name to give in `photos`"}},
        status_code=201,
    )
    async def add_photo(
        request: Request,
        incident_id: str,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        body = await request.body()
        incident = services.store.get(incident_id)
        name = keep_photo(services.snapshot_dir, incident.id, body)
        return encoded({"photo": name, "url": f"/snapshots/{name}"}, 201)

    return router


def keep_photo(folder: Path, incident_id: str, body: bytes) -> str:
    """Keep a picture under a name made of its content.

    Args:
        folder: Of the evidence pictures.
        incident_id: Whose picture it is.
        body: A JPEG as it was sent.

    Returns:
        The name below the folder.

    Raises:
        InputError: It is no JPEG, is broken, or has too many pixels.
    """
    header = read_jpeg_header(body)
    if isinstance(header, str):
        raise InputError(f"body: a whole JPEG was wanted, got {header} of {len(body)} bytes")
    image = decode_reduced(body, 1)
    if image is None:
        raise InputError(f"body: a JPEG that can be decoded was wanted, got {len(body)} bytes")
    scale = MAX_SIDE_PX / max(image.shape[:2])
    if scale < 1.0:
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    name = photo_name(incident_id, hashlib.blake2b(jpeg, digest_size=8).hexdigest())
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(jpeg)
    part.replace(file)
    return name


def photo_name(incident_id: str, digest: str) -> str:
    """Where a case's picture lies below the folder of evidence pictures.

    Example:
        >>> photo_name("abc", "0123")
        'cases/abc/0123.jpg'
    """
    return f"cases/{incident_id}/{digest}.jpg"


def check_photos(folder: Path, incident_id: str, names: list[str]) -> tuple[str, ...]:
    """The names, if all are pictures of this case that were brought before.

    Raises:
        InputError: One is not; says which.
    """
    own = photo_name(incident_id, "").removesuffix(".jpg")
    for name in names:
        leaf = name.removeprefix(own)
        if leaf == name or "/" in leaf or not (folder / name).is_file():
            raise InputError(
                f"body.photos: a name that POST /incidents/{incident_id}/photos gave was "
                f"wanted, got {name[:200]!r}"
            )
    return tuple(names)
