"""Every error of the API, on one page: RFC 9457 problem details, one table class to status.

No route raises an HTTPException; it raises an error of :mod:`core.errors` or one of the few
below, and the table says what becomes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from core import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class UnauthorizedError(errors.QingniaoError):
    """The token is missing or wrong."""


class TooLargeError(errors.QingniaoError):
    """The body is larger than is accepted."""


class ParameterError(errors.InputError):
    """A parameter of a request that a standard wants answered with 400."""


class TooManyError(errors.QingniaoError):
    """More requests than are accepted; ``retry_after_s`` says when to come back."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotYetError(errors.QingniaoError):
    """What was asked for is on its way; ``retry_after_s`` says when to come back."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Problem(NamedTuple):
    """How one kind of error is answered."""

    status: HTTPStatus
    word: str
    title: str
    title_zh: str


#: Most special first; the first class an error is an instance of decides.
TABLE: tuple[tuple[type[Exception], Problem], ...] = (
    (
        UnauthorizedError,
        Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", "A token is needed", "需要令牌"),
    ),
    (
        TooLargeError,
        Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", "The body is too large", "请求体过大"
        ),
    ),
    (
        TooManyError,
        Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many", "Too many requests", "请求过于频繁"),
    ),
    (
        NotYetError,
        Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-yet", "It is on its way", "尚未就绪"),
    ),
    (
        errors.NotFoundError,
        Problem(HTTPStatus.NOT_FOUND, "not-found", "There is no such thing", "未找到"),
    ),
    (
        errors.TransitionError,
        Problem(
            HTTPStatus.CONFLICT,
            "transition",
            "The case does not allow this step now",
            "案件当前状态不允许该操作",
        ),
    ),
    (
        errors.ConflictError,
        Problem(HTTPStatus.CONFLICT, "conflict", "Somebody else changed it first", "已被他人更新"),
    ),
    (
        errors.StateError,
        Problem(HTTPStatus.CONFLICT, "state", "Not in the present state", "当前状态不允许"),
    ),
    (
        ParameterError,
        Problem(HTTPStatus.BAD_REQUEST, "parameter", "A parameter is wrong", "请求参数有误"),
    ),
    (
        errors.InputError,
        Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "input", "The request cannot be used", "请求内容有误"
        ),
    ),
    (
        errors.ServiceError,
        Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "service", "A part of the platform failed", "服务不可用"
        ),
    ),
)

_INTERNAL = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "An error of the platform", "平台内部错误"
)
_BY_STATUS = {
    404: Problem(HTTPStatus.NOT_FOUND, "not-found", "There is no such address", "地址不存在"),
    405: Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method",
        "The address does not take this method",
        "方法不支持",
    ),
}


def problem_of(error: Exception) -> Problem:
    """The row of the table for an error.

    Example:
        >>> problem_of(errors.ConflictError("x")).status.value, problem_of(KeyError()).word
        (409, 'internal')
    """
    return next((problem for kind, problem in TABLE if isinstance(error, kind)), _INTERNAL)


def problem_response(
    problem: Problem,
    detail: str,
    instance: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """A problem document; texts that are no Unicode are shown with replacement marks."""
    document = {
        "type": f"urn:qingniao:problem:{problem.word}",
        "title": problem.title,
        "title_zh": problem.title_zh,
        "status": problem.status.value,
        "detail": _clean(detail),
        "instance": _clean(instance),
        **members,
    }
    return Response(
        msgspec.json.encode(document),
        status_code=problem.status.value,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def error_response(error: Exception, instance: str) -> Response:
    """What an error is answered with."""
    problem = problem_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="qingniao"'
    if isinstance(error, TooManyError | NotYetError):
        headers["Retry-After"] = str(error.retry_after_s)
    failed = problem.status.value >= HTTPStatus.INTERNAL_SERVER_ERROR
    if failed and not isinstance(error, NotYetError):
        logger.error("%s: %s", instance, error, exc_info=error)
    else:
        logger.info("%s: %s: %s", instance, problem.word, error)
    detail = str(error) if problem is not _INTERNAL else "see the log of the platform"
    return problem_response(problem, detail, instance, headers=headers)


def install_handlers(app: FastAPI) -> None:
    """Make the app answer every error with a problem document."""

    async def by_table(request: Request, error: Exception) -> Response:
        return error_response(error, request.url.path)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # repr, because the input may hold what JSON cannot say, such as NaN.
        faults = [
            {
                "where": _clean(".".join(map(str, fault["loc"]))),
                "message": _clean(fault["msg"]),
                "got": _clean(repr(fault.get("input")))[:200],
            }
            for fault in error.errors()[:20]
        ]
        detail = "; ".join(f"{f['where']}: {f['message']}, got {f['got']}" for f in faults)
        return problem_response(
            problem_of(errors.InputError()), detail, request.url.path, errors=faults
        )

    async def by_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's word for a body that is no UTF-8.
            wrong = errors.InputError(f"body: JSON in UTF-8 was wanted: {error.detail}")
            return error_response(wrong, request.url.path)
        problem = _BY_STATUS.get(
            error.status_code,
            Problem(HTTPStatus(error.status_code), "http", "The request was refused", "请求被拒绝"),
        )
        headers = dict(error.headers or {})
        where = f"{request.method} {request.url.path}"
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{where}: {headers.get('Allow', headers.get('allow', 'GET'))} is accepted"
        elif error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"{where}: no such address; /openapi.json lists those there are"
        else:
            detail = f"{where}: {error.detail}"
        return problem_response(problem, detail, request.url.path, headers=headers)

    handlers: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        errors.QingniaoError: by_table,
        RequestValidationError: invalid,
        HTTPException: by_status,
        Exception: by_table,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _clean(text: str) -> str:
    """The text with lone surrogates replaced, which UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode("utf-8")
