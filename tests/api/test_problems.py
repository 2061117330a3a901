"""Every error is a problem document that says what was wrong, where, what is accepted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import TABLE, problem_of
from core import errors

PLACE = {"lon": 120.3846, "lat": 36.0614}


def check(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert set(problem) >= {"type", "title", "title_zh", "detail", "instance"}
    for word in words:
        assert word in problem["detail"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/incidents?limit=0", ["limit", "1 to 1000", "got 0"]),
        ("/incidents?limit=nan", ["limit", "'nan'"]),
        ("/incidents?limit=99999999999999", ["limit"]),
        ("/incidents?bbox=1,2,nan,4", ["bbox", "finite"]),
        ("/incidents?bbox=1,2,inf,4", ["bbox", "finite"]),
        ("/incidents?bbox=1,2,3", ["bbox", "west,south,east,north"]),
        ("/incidents?bbox=0,90,1,-90", ["south <= north"]),
        ("/incidents?area=abc", ["area", "digits"]),
        ("/incidents?from=yesterday", ["from", "2026-01-01T08:00:00Z"]),
        ("/incidents?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", ["to", "not before"]),
        ("/incidents?from=0001-01-01T00:00:00Z", ["1678"]),
        ("/incidents?datetime=..", ["datetime"]),
        ("/incidents?datetime=../..&from=2026-01-01T00:00:00Z", ["either"]),
        ("/incidents?severity=bad", ["severity", "minor", "extreme", "'bad'"]),
        ("/incidents?status=lost", ["status", "dispatched"]),
        ("/incidents?cursor=nonsense", ["cursor", "next"]),
        ("/incidents?senario=x", ["unknown parameter 'senario'", "scenario"]),
        ("/incidents?limit=1&limit=2", ["limit", "twice"]),
        ("/incidents?thing=%00", ["thing", "NUL"]),
        ("/incidents?format=xml", ["format", "geojson"]),
        ("/events?edge=up", ["edge", "raise"]),
        ("/things?sort=x", ["unknown parameter", "kind"]),
        ("/layers?x=1", ["accepted: none"]),
        ("/stream?last_event_id=-1", ["Last-Event-ID", "'-1'"]),
    ],
)
async def test_bad_queries(client: httpx.AsyncClient, path: str, words: list[str]) -> None:
    check(await client.get(path), 422, *words)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, ["/openapi.json"]),
        ("GET", "/incidents/none", 404, ["'none'"]),
        ("GET", "/incidents/%00", 404, []),
        ("GET", "/layers/none", 404, ["communities"]),
        ("GET", "/reports/none", 404, ["'none'"]),
        ("DELETE", "/incidents", 405, ["GET is accepted"]),
        ("GET", "/reports", 405, ["POST is accepted"]),
        ("POST", "/nothing", 404, []),
        ("POST", "/stream", 405, []),
    ],
)
async def test_bad_addresses(
    client: httpx.AsyncClient, method: str, path: str, status: int, words: list[str]
) -> None:
    check(await client.request(method, path), status, *words)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/reports", b"", ["body"]),
        ("/reports", b"{", ["body"]),
        ("/reports", b"\xff", ["body"]),
        ("/reports", b'{"scenario":"x","lon":NaN,"lat":36}', ["body.lon", "finite", "nan"]),
        ("/reports", b'{"scenario":"x","lon":1e999,"lat":36}', ["body.lon", "inf"]),
        ("/reports", b'{"scenario":"x","lon":120,"lat":91}', ["body.lat", "90"]),
        ("/reports", b'{"scenario":"x","lon":120,"lat":36,"foto":1}', ["body.foto"]),
        ("/reports", b'{"scenario":"x","lon":120,"lat":36}', ["body.scenario", "illegal-parking"]),
        (
            "/reports",
            b'{"scenario":"illegal-parking","lon":0,"lat":0}',
            ["a place in", "got 0.0, 0.0"],
        ),
        (
            "/reports",
            b'{"scenario":"illegal-parking","lon":120.38,"lat":36.06,"text":"\\u0000"}',
            ["body.text", "NUL"],
        ),
        (
            "/reports",
            b'{"scenario":"illegal-parking","lon":120.38,"lat":36.06,"text":"\\ud800"}',
            ["body.text"],
        ),
        ("/incidents/x/transitions", b'{"action":"fly"}', ["body.action", "accept"]),
        ("/incidents/x/transitions", b'{"action":"accept","version":0}', ["body.version"]),
        ("/incidents/x/transitions", b'{"action":"accept","role":"system"}', ["body.role"]),
        ("/geo/tag", b"", ["points"]),
        ("/geo/tag", b'{"points":[[NaN,1]]}', ["malformed"]),
        ("/geo/tag", b'{"points":[[1]]}', ["points"]),
        ("/geo/tag", b'{"points":[[1,2],[181,0]]}', ["points[1]", "181"]),
        ("/geo/tag", b'{"points":[["1","2"]]}', ["float"]),
        ("/geo/tag", b'{"points":[],"x":1}', ["unknown field"]),
        ("/geo/tag", json.dumps({"points": [[1, 2]] * 10_001}).encode(), ["10000", "10001"]),
    ],
)
async def test_bad_bodies(
    client: httpx.AsyncClient, auth: dict[str, str], path: str, body: bytes, words: list[str]
) -> None:
    headers = auth | {"Content-Type": "application/json"}
    check(await client.post(path, content=body, headers=headers), 422, *words)


@pytest.mark.parametrize("path", ["/reports", "/incidents/x/transitions"])
@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer ", "Basic a-token-for-tests", "a-token-for-tests"]
)
async def test_writing_needs_the_token(
    client: httpx.AsyncClient, path: str, header: str | None
) -> None:
    body = {"scenario": "x", **PLACE} if path == "/reports" else {"action": "accept"}
    headers = {} if header is None else {"Authorization": header}
    answer = await client.post(path, json=body, headers=headers)
    check(answer, 401, "Bearer <token>")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_no_token_set_means_nobody_writes(
    make_site: Callable[..., Any], connect: Callable[[Any], httpx.AsyncClient]
) -> None:
    async with connect(make_site(token="")) as client:
        answer = await client.post(
            "/incidents/x/transitions",
            json={"action": "accept"},
            headers={"Authorization": "Bearer "},
        )
        check(answer, 401)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 100_000


async def test_large_bodies(client: httpx.AsyncClient, auth: dict[str, str]) -> None:
    for path in ("/geo/tag", "/reports"):
        declared = await client.post(path, content=b" " * (1024 * 1024 + 1), headers=auth)
        check(declared, 413, "1048576")
        check(await client.post(path, content=pieces(11), headers=auth), 413, "1048576")
        check(await client.post(path, content=pieces(2), headers=auth), 422)


async def test_too_many_writes(
    make_site: Callable[..., Any],
    connect: Callable[[Any], httpx.AsyncClient],
    auth: dict[str, str],
) -> None:
    async with connect(make_site(writes_per_s=0.01, write_burst=3)) as client:
        url = "/incidents/x/transitions"
        for _ in range(3):
            check(await client.post(url, json={"action": "accept"}, headers=auth), 404)
        answer = await client.post(url, json={"action": "accept"}, headers=auth)
        check(answer, 429, "try again in")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_database_that_fails(site: Any, client: httpx.AsyncClient) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{site.folder / 'store.sqlite3'}")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE incidents"))
    engine.dispose()
    check(await client.get("/incidents"), 503, "listing incidents", "no such table")


async def test_what_nobody_foresaw(site: Any) -> None:
    def fails(*_args: Any, **_more: Any) -> None:
        raise KeyError("secret detail")

    site.store.list_incidents = fails
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/incidents")
    check(answer, 500)
    assert "secret" not in answer.text


def test_every_error_of_the_tree_has_its_status() -> None:
    tree = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.QingniaoError)
    ]
    made = [kind("a", "b") if kind is errors.DecodeError else kind("a") for kind in tree]
    statuses = {type(error).__name__: problem_of(error).status.value for error in made}
    assert statuses.pop("QingniaoError") == 500
    assert 500 not in statuses.values()
    assert len({problem.word for _, problem in TABLE}) == len(TABLE)


#: Words that tests of parsers live on.
_NASTY = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["nan", "inf", "-1", "0", "1e999", "%00", "\x00", "１", "..", "a,b", "[]", "null", "9" * 30]
    ),
    st.floats().map(str),
    st.integers().map(str),
)
_PATHS = st.sampled_from(
    [
        "/incidents",
        "/events",
        "/things",
        "/quarantine",
        "/layers",
        "/cameras",
        "/incidents/x",
        "/ogc/collections/zones/items",
    ]
)
_NAMES = st.sampled_from(
    [
        "limit",
        "cursor",
        "bbox",
        "area",
        "from",
        "to",
        "datetime",
        "scenario",
        "status",
        "severity",
        "thing",
        "format",
        "kind",
        "reason",
        "edge",
        "department",
        "unit",
        "x",
    ]
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(path=_PATHS, query=st.lists(st.tuples(_NAMES, _NASTY), max_size=3))
async def test_no_query_is_an_error_of_ours(
    client: httpx.AsyncClient, path: str, query: list[tuple[str, str]]
) -> None:
    answer = await client.get(path, params=query)
    assert answer.status_code in {200, 400, 404, 422}


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.dictionaries(st.text(max_size=8), parts, max_size=4)
    ),
    max_leaves=8,
)
_BODIES = st.one_of(
    st.binary(max_size=40),
    _JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("scenario", "lon", "lat", "text", "action", "points"), _JSON)
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(path=st.sampled_from(["/reports", "/incidents/x/transitions", "/geo/tag"]), body=_BODIES)
async def test_no_body_is_an_error_of_ours(
    client: httpx.AsyncClient, auth: dict[str, str], path: str, body: bytes
) -> None:
    headers = auth | {"Content-Type": "application/json"}
    answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code in {200, 202, 404, 422, 429}
