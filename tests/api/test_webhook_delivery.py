"""Webhooks at real HTTP servers: signatures, failures, slow receivers, kills, replay, safety."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from builders import a_batch
from prometheus_client import CollectorRegistry

from api.notify import endpoint as endpoint_module
from api.notify import notifier as notifier_module
from api.notify.notifier import Notifier
from api.notify.sender import parse_networks
from core.clock import SystemClock
from core.errors import ServiceError
from core.events import Edge
from core.ports import RawMessage
from ingest.pipeline import decode_messages
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from store.outbox import Subscriber
from streams.enrich import tag_batch

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0
KEY = b"a key of thirty-two bytes, maybe"


class Request(NamedTuple):
    """What a receiver got, and when."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]

    @property
    def signed(self) -> bool:
        """Whether the signature is right, by the words of Standard Webhooks."""
        head = self.headers
        text = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + self.body
        right = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
        return f"v1,{right}" in head["webhook-signature"].split(" ")


class Receiver:
    """An HTTP server that answers as it is told to; 204 unless told."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.answer: Callable[[Request], tuple[int, dict[str, str], bytes]] = lambda _request: (
            204, {}, b"",
        )  # fmt: skip
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if len(body) < int(self.headers["content-length"]):
                    return  # the sender was killed
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body, time.monotonic())
                receiver.requests.append(request)
                status, more, answer = receiver.answer(request)
                if 200 <= status < 300:
                    receiver.taken.append(request)
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in more.items():
                        self.send_header(name, value)
                    if status != 204:
                        self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A killed sender leaves a broken connection."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


async def until(what: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline_s, "not within 30 s"
        await asyncio.sleep(0.02)


@pytest.fixture
def receiver() -> Iterator[Callable[[], Receiver]]:
    opened: list[Receiver] = []

    def build() -> Receiver:
        opened.append(Receiver())
        return opened[-1]

    yield build
    for one in opened:
        one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries a hundred times as fast; everything else as it is."""
    real = endpoint_module.backoff_s
    monkeypatch.setattr(endpoint_module, "backoff_s", lambda *given: real(*given) / 100)
    monkeypatch.setattr(notifier_module, "SAVE_S", 0.1)
    monkeypatch.setattr(notifier_module, "LOOK_S", 0.2)


class Delivery:
    """A notifier that runs in this test."""

    def __init__(self, site: Any, allowed: tuple[str, ...] = ()) -> None:
        self.site = site
        self.path = site.folder / "webhooks.yaml"
        self.parts: dict[str, tuple[bool, str]] = {}
        self.published: list[RawMessage] = []
        self.broker_is_up = True
        self._allowed = parse_networks(allowed)

    def write(self, **webhooks: dict[str, Any]) -> None:
        secret = "whsec_" + base64.b64encode(KEY).decode()
        (self.path.parent / "secret").write_text(secret)
        listed = [{"name": name, "secret_file": "secret"} | more for name, more in webhooks.items()]
        self.path.write_text(yaml.safe_dump({"webhooks": listed}))

    def subscribe(self, *names: str) -> None:
        """From now on, whatever happens before delivery begins."""
        for name in names:
            self.site.store.outbox.subscribe(f"webhook/{name}", SystemClock().now_ns())

    def state(self, name: str) -> Subscriber:
        states = {one.name: one for one in self.site.store.outbox.subscribers()}
        return states[f"webhook/{name}"]

    def reached(self, name: str) -> bool:
        return self.state(name).sequence == self.site.store.latest_sequence()

    async def _publish(self, topic: str, payload: bytes) -> None:
        if not self.broker_is_up:
            raise ServiceError("no connection to the broker")
        now_ns = SystemClock().now_ns()
        self.published.append(RawMessage(topic=topic, payload=payload, received_ns=now_ns, qos=1))

    def metric(self, name: str, webhook: str) -> float | None:
        return self.registry.get_sample_value(name, {"subscriber": f"webhook/{webhook}"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.registry = CollectorRegistry()
        notifier = Notifier(
            self.site.store,
            self.site.city.name,
            login=None,
            webhooks_path=self.path,
            allowed=self._allowed,
            clock=SystemClock(),
            wall=SystemClock(),
            registry=self.registry,
            alerts=self.site.app.state.alerts,
            told=lambda name, ok, detail: self.parts.update({name: (ok, detail)}),
            publish=self._publish,
        )
        task = asyncio.create_task(notifier.run())
        try:
            await until(lambda: "webhooks" in self.parts or task.done())
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def change(site: Any, number: int, things: int = 3) -> None:
    """One line of the outbox for each of a few incidents."""
    edge = Edge.RAISE if number == 0 else Edge.STILL
    for n in range(things):
        site.apply(site.event(10.0 * number, edge, thing=f"manhole-{n}", north_m=100.0 * n))


def check_order(requests: list[Request], store: Any, *, first: int = 1) -> None:
    """Each line at least once, the same id and body at every repeat, in order per incident."""
    bodies: dict[str, dict[str, Any]] = {}
    seen: dict[str, list[int]] = {}
    for one in requests:
        assert one.signed
        event = one.event
        assert event["id"] == one.headers["webhook-id"]
        assert bodies.setdefault(event["id"], event) == event
        mine = seen.setdefault(event["subject"], [])
        if int(event["sequence"]) not in mine:
            mine.append(int(event["sequence"]))
    assert all(mine == sorted(mine) for mine in seen.values())
    told = sorted(number for mine in seen.values() for number in mine)
    assert told == list(range(first, store.latest_sequence() + 1))


async def test_an_event_is_told_signed_and_whole(site: Any, receiver: Any) -> None:
    structured, binary, public, other = (receiver() for _ in range(4))
    delivery = Delivery(site)
    delivery.write(
        structured={"url": structured.url},
        binary={"url": binary.url, "format": "cloudevents-binary", "grade": "sensitive"},
        public={"url": public.url, "grade": "public"},
        other={"url": other.url, "scenarios": ["gas-leak"]},
    )
    delivery.subscribe("structured", "binary", "public", "other")
    async with delivery.running():
        site.apply(site.event())
        await until(lambda: structured.taken and binary.taken and public.taken)
        await until(lambda: delivery.reached("other"))
    one = structured.taken[0]
    assert one.signed
    assert one.headers["content-type"].startswith("application/cloudevents+json")
    event = one.event
    assert event["type"] == "qingniao.incident.opened"
    assert event["data"]["evidence"]["thing_id"] == "manhole-1"
    assert "worker_name" not in event["data"]["incident"]
    plain = binary.taken[0]
    assert plain.signed
    assert plain.headers["ce-id"] == event["id"]
    assert plain.headers["ce-type"] == event["type"]
    assert {"change", "at", "incident", "evidence"} == plain.event.keys()
    assert plain.event["incident"]["worker_name"]
    shown = public.taken[0].event["data"]
    assert shown["evidence"] is None
    assert shown["incident"]["place"]["district_code"]
    assert {"lon_deg", "grid_code"}.isdisjoint(shown["incident"]["place"])
    assert other.requests == []
    assert delivery.state("other").delivered == 0
    assert delivery.metric("qingniao_notify_delivered_total", "structured") == 1


async def test_public_alerts_are_told_as_cap(site: Any, receiver: Any) -> None:
    one = receiver()
    delivery = Delivery(site)
    delivery.write(one={"url": one.url, "format": "cap"})
    delivery.subscribe("one")
    leak = {"scenario": "gas-leak", "rule": "gas-leak/concentration", "thing": "gas-1"}
    async with delivery.running():
        site.apply(site.event(scenario="exposed-waste", rule="exposed-waste/pile", thing="c/1"))
        site.apply(site.event(**leak))
        site.apply(site.event(30.0, Edge.STILL, **leak))
        site.apply(site.event(60.0, Edge.CLEAR, **leak))
        await until(lambda: delivery.reached("one"))
    assert [request.headers["content-type"] for request in one.taken] == ["application/cap+xml"] * 2
    assert all(request.signed for request in one.taken)
    alert, update = (request.body.decode() for request in one.taken)
    assert "<msgType>Alert</msgType>" in alert
    assert "<msgType>Update</msgType>" in update
    [identifier] = re.findall("<identifier>(.*)</identifier>", alert)
    assert f",{identifier}," in update


async def test_failures_are_retried_and_the_order_is_kept(site: Any, receiver: Any) -> None:
    flaky = receiver()
    flaky.answer = lambda _request: (500 if len(flaky.requests) % 3 else 200, {}, b"no")
    delivery = Delivery(site)
    delivery.write(flaky={"url": flaky.url})
    delivery.subscribe("flaky")
    async with delivery.running():
        for number in range(20):
            change(site, number)
        await until(lambda: delivery.reached("flaky"))
    check_order(flaky.taken, site.store)
    state = delivery.state("flaky")
    assert state.delivered + state.dead == 60
    assert delivery.metric("qingniao_notify_failed_total", "flaky") == len(flaky.requests) - len(
        flaky.taken
    )


async def test_a_slow_receiver_holds_up_no_other(site: Any, receiver: Any) -> None:
    slow, quick_one, gone = (receiver() for _ in range(3))
    let_go = threading.Event()
    slow.answer = lambda _request: ((let_go.wait(WAIT_S) and 204) or 204, {}, b"")
    gone.close()
    delivery = Delivery(site)
    delivery.write(
        slow={"url": slow.url, "timeout": "30s"},
        quick={"url": quick_one.url},
        gone={"url": gone.url},
    )
    delivery.subscribe("slow", "quick", "gone")
    async with delivery.running():
        for number in range(30):
            change(site, number)
        await until(lambda: delivery.reached("quick"))
        assert len(slow.requests) <= 4
        assert delivery.state("slow").delivered == 0
        let_go.set()
        await until(lambda: delivery.reached("slow"))
        await until(lambda: "gone failing" in delivery.parts["webhooks"][1])
    check_order(quick_one.taken, site.store)
    check_order(slow.taken, site.store)
    state = delivery.state("gone")
    assert (state.sequence, state.delivered, state.dead) == (0, 0, 0)
    assert state.failing_since_ns is not None


async def test_a_receiver_that_takes_no_answer_in_time(site: Any, receiver: Any) -> None:
    asleep = receiver()
    asleep.answer = lambda _request: (time.sleep(0.5) or 204, {}, b"")
    delivery = Delivery(site)
    delivery.write(asleep={"url": asleep.url, "timeout": "100ms"})
    delivery.subscribe("asleep")
    async with delivery.running():
        change(site, 0)
        await until(lambda: "no answer within 0.1 s" in delivery.state("asleep").last_error)


async def test_a_bad_line_becomes_a_dead_letter(
    site: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "MAX_ATTEMPTS", 6)
    picky = receiver()

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        if int(request.event["sequence"]) == 1:
            return 422, {}, b"I do not like it"
        return 204, {}, b""

    picky.answer = answer
    delivery = Delivery(site)
    delivery.write(picky={"url": picky.url})
    delivery.subscribe("picky")
    async with delivery.running():
        for number in range(5):
            change(site, number)
        await until(lambda: len(picky.taken) >= 5)
        deadline_s = time.monotonic() + WAIT_S
        number = 5
        while delivery.state("picky").dead == 0:
            assert time.monotonic() < deadline_s
            change(site, number)
            number += 1
            await asyncio.sleep(0.05)
        await until(lambda: delivery.reached("picky"))
    [letter] = site.store.outbox.dead_letters("webhook/picky")
    assert (letter.sequence, letter.attempts) == (1, 6)
    assert letter.error == "HTTP 422 I do not like it"
    # Its incident's later lines were told, and those of the others meanwhile.
    check_order(picky.taken, site.store, first=2)


async def test_gone_disables_and_resume_goes_on(site: Any, receiver: Any) -> None:
    leaving = receiver()
    leaving.answer = lambda _request: (410, {}, b"")
    delivery = Delivery(site)
    delivery.write(leaving={"url": leaving.url})
    delivery.subscribe("leaving")
    async with delivery.running():
        change(site, 0)
        await until(lambda: delivery.state("leaving").disabled_ns is not None)
        await until(lambda: "leaving disabled" in delivery.parts["webhooks"][1])
        tried = len(leaving.requests)
        leaving.answer = lambda _request: (204, {}, b"")
        change(site, 1)
        await asyncio.sleep(0.5)
        assert len(leaving.requests) <= tried + 3  # what was on its way
    async with delivery.running():
        await asyncio.sleep(0.5)
        assert leaving.taken == []
        site.store.outbox.ask("webhook/leaving", delivery.state("leaving").sequence)
        await until(lambda: delivery.reached("leaving"))
    check_order(leaving.taken, site.store)


async def test_days_of_failing_disable(site: Any, receiver: Any) -> None:
    broken = receiver()
    broken.answer = lambda _request: (500, {}, b"")
    delivery = Delivery(site)
    delivery.write(broken={"url": broken.url, "disable_after": "1s"})
    delivery.subscribe("broken")
    async with delivery.running():
        change(site, 0)
        await until(lambda: delivery.state("broken").disabled_ns is not None)
    assert delivery.state("broken").dead == 0


async def test_a_receiver_that_is_disabled_becomes_a_case(site: Any, receiver: Any) -> None:
    """By the way of any device: decoder, rules; also when the broker was away meanwhile."""
    broken, fine = receiver(), receiver()
    broken.answer = lambda _request: (410, {}, b"")
    delivery = Delivery(site)
    delivery.write(broken={"url": broken.url}, fine={"url": fine.url})
    delivery.subscribe("broken", "fine")

    def told() -> list[tuple[str, float]]:
        seen, rejections = decode_messages(delivery.published, city=site.city.name)
        assert rejections == []
        return [(one.thing_id, one.measures["disabled"]) for one in seen]

    def raised() -> list[tuple[str, Edge]]:
        seen, _ = decode_messages(delivery.published, city=site.city.name)
        engine = RuleEngine(load_packs(), frozenset())
        batches = [a_batch(one, sequence=n) for n, one in enumerate(seen, 1)]
        events = [
            event
            for batch in batches
            for event in engine.process(batch, tag_batch(batch, site.tagger))
        ]
        return [(event.scenario, event.edge) for event in events]

    async with delivery.running():
        await until(lambda: told() == [("webhook-broken", 0), ("webhook-fine", 0)])
        assert raised() == []
        delivery.broker_is_up = False
        change(site, 0)
        await until(lambda: delivery.state("broken").disabled_ns is not None)
        await asyncio.sleep(3 * notifier_module.LOOK_S)
        delivery.broker_is_up = True
        await until(lambda: len(delivery.published) == 3)
        assert told()[2:] == [("webhook-broken", 1)]
        assert raised() == [("receiver-disabled", Edge.RAISE)]
        delivery.write(fine={"url": fine.url})  # nobody wants it any more
        await until(lambda: told()[3:] == [("webhook-broken", 0)])
        assert raised()[-1] == ("receiver-disabled", Edge.CLEAR)


async def test_replay_tells_the_same_again(site: Any, receiver: Any) -> None:
    one = receiver()
    delivery = Delivery(site)
    delivery.write(one={"url": one.url})
    delivery.subscribe("one")
    async with delivery.running():
        for number in range(5):
            change(site, number)
        await until(lambda: delivery.reached("one"))
        before = list(one.taken)
        assert len(before) == 15
        site.store.outbox.ask("webhook/one", 6)
        await until(lambda: len(one.taken) == 24)
        await until(lambda: delivery.reached("one"))
    check_order(one.taken[15:], site.store, first=7)
    check_order(before + one.taken[15:], site.store)


async def test_replays_are_never_overtaken(
    site: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for while lines are being told, again and again: each begins where it was asked."""
    monkeypatch.setattr(notifier_module, "SAVE_S", 0.02)
    one = receiver()
    delivery = Delivery(site)
    delivery.write(one={"url": one.url})
    delivery.subscribe("one")

    def count() -> int:
        return sum(int(request.event["sequence"]) == 3 for request in one.taken)

    async with delivery.running():
        for number in range(20):
            change(site, number)
            if number == 0:
                # Who was not told of the first lines yet would never be, if asked to go on after.
                await until(lambda: count() > 0)
            if number % 4 == 3:
                before = count()
                site.store.outbox.ask("webhook/one", 2)
                await until(lambda before=before: count() > before)
        await until(lambda: delivery.reached("one"))
    told = {int(request.event["sequence"]) for request in one.taken}
    assert told == set(range(1, site.store.latest_sequence() + 1))
    assert delivery.state("one").lost == 0


async def test_kills_lose_nothing(site: Any, receiver: Any) -> None:
    """``kill -9`` of what delivers, again and again, while cases change and answers fail."""
    one = receiver()
    one.answer = lambda _request: (503 if len(one.requests) % 7 == 0 else 204, {}, b"")
    delivery = Delivery(site)
    delivery.write(one={"url": one.url})
    delivery.subscribe("one")
    how = {"store": f"sqlite:///{site.folder / 'store.sqlite3'}", "webhooks": str(delivery.path)}
    number = 0
    for _ in range(3):
        child = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, str(ROOT / "tests" / "notify_process.py"), json.dumps(how)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        before = len(one.requests)
        deadline_s = time.monotonic() + WAIT_S
        while len(one.requests) < before + 10:
            assert time.monotonic() < deadline_s
            change(site, number)
            number += 1
            await asyncio.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
    async with delivery.running():
        await until(lambda: delivery.reached("one"))
    check_order(one.taken, site.store)


async def test_the_file_may_change_while_it_runs(site: Any, receiver: Any) -> None:
    first, second = receiver(), receiver()
    delivery = Delivery(site)
    delivery.write(a={"url": first.url})
    delivery.subscribe("a")
    async with delivery.running():
        change(site, 0)
        await until(lambda: len(first.taken) == 3)
        await until(lambda: delivery.reached("a"))
        delivery.path.write_text("webhooks: 7")
        await until(lambda: not delivery.parts["webhooks"][0])
        change(site, 1)
        await until(lambda: len(first.taken) == 6)
        delivery.write(a={"url": second.url}, b={"url": second.url})
        await until(lambda: delivery.parts["webhooks"][1].startswith("2 receivers"))
        await until(lambda: len(site.store.outbox.subscribers()) == 2)
        change(site, 2)
        await until(lambda: len(second.taken) == 6)
        delivery.write(b={"url": second.url})
        await until(lambda: delivery.metric("qingniao_notify_works", "a") is None)
    assert len(first.taken) == 6


@pytest.mark.parametrize(
    ("url", "allowed", "complaint"),
    [
        ("http://192.0.2.1/hook", (), "which may not be called without TLS"),
        ("https://10.255.255.1/hook", (), "10.255.255.1, which may not be called"),
        ("https://169.254.169.254/latest", (), "169.254.169.254, which may not be called"),
        ("https://[::ffff:10.0.0.1]/hook", (), "which may not be called"),
        ("https://nowhere.invalid/hook", (), "nowhere.invalid"),
        (f"https://{'a' * 70}.example/hook", (), "label"),
    ],
)
async def test_only_what_may_be_called_is_called(
    site: Any, url: str, allowed: tuple[str, ...], complaint: str
) -> None:
    delivery = Delivery(site, allowed)
    delivery.write(one={"url": url, "timeout": "5s"})
    delivery.subscribe("one")
    async with delivery.running():
        change(site, 0, things=1)
        await until(lambda: complaint in delivery.state("one").last_error)


async def test_a_redirect_is_not_followed_and_an_endless_answer_not_read(
    site: Any, receiver: Any
) -> None:
    target, first, endless = (receiver() for _ in range(3))
    first.answer = lambda _request: (302, {"location": target.url}, b"")
    endless.answer = lambda _request: (200, {}, b"x" * 50_000_000)
    delivery = Delivery(site)
    delivery.write(first={"url": first.url}, endless={"url": endless.url})
    delivery.subscribe("first", "endless")
    async with delivery.running():
        change(site, 0, things=1)
        await until(lambda: delivery.state("first").last_error.startswith("HTTP 302"))
        await until(lambda: delivery.state("endless").delivered == 1)
    assert target.requests == []
