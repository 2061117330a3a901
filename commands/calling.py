"""Commands that speak to a running platform, through its API."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer

from commands.parts import api_token
from core.errors import InputError, ServiceError
from core.settings import load_settings

_TIMEOUT_S = 15.0

UrlOption = Annotated[str, typer.Option("--url", help="Of the page and API.")]
HERE = "http://127.0.0.1:8000"


def call_api(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer to a request; with the token for writing.

    Raises:
        ServiceError: Nobody answers.
        InputError: The platform refused; says why.
    """
    token = api_token(load_settings())
    try:
        answer = httpx.request(
            method,
            f"{url}{path}",
            json=body,
            timeout=_TIMEOUT_S,
            headers={"Authorization": f"Bearer {token}"},
        )
    except httpx.HTTPError as exc:
        raise ServiceError(f"{url}: no answer ({exc}); is the platform running there?") from exc
    if answer.is_error:
        problem = answer.json()
        raise InputError(f"{method} {path}: {problem['status']} {problem['detail']}")
    return answer.json()
