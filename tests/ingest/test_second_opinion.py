"""A second opinion: asked of a real socket, and never in anybody's way."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.observations import Observation
from core.settings import OpinionSettings, load_settings
from ingest.opinion_desk import OpinionDesk
from ingest.second_opinion import SecondOpinion
from vision.opinion import MAX_ANSWER_BYTES, Opinion

sys.path.insert(0, str(Path(__file__).parent))

from fake_vision_endpoint import GOOD, FakeEndpoint, completion, fake_endpoint

S = 1_000_000_000
ASKED = "Does the red box hold a vehicle?"


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with fake_endpoint() as one:
        yield one


def an_asker(endpoint: FakeEndpoint, **more: object) -> SecondOpinion:
    given = {"url": endpoint.url, "model": "m", "timeout_s": 5.0} | more
    return SecondOpinion(OpinionSettings(**given))  # type: ignore[arg-type]


def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "nothing came"
        time.sleep(0.005)


def asked_and_done(asker: SecondOpinion, jpeg: bytes = b"picture") -> dict[str, int]:
    before = sum(asker.counts.values())
    asker.ask("camera-1/7", ASKED, jpeg)
    until(lambda: sum(asker.counts.values()) > before)
    return asker.counts


def test_the_blurred_picture_goes_as_a_data_uri_and_the_answer_comes_back(
    endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    asker = an_asker(endpoint, key_file=tmp_path / "key")
    assert asked_and_done(asker) == {"opinion": 1}
    assert list(asker.answers) == [("camera-1/7", Opinion(0.9, "a red car at the kerb", "m"))]
    ((path, headers, body),) = endpoint.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer s3cret"
    assert body["model"] == "m"
    text, image = body["messages"][1]["content"]
    assert text["text"] == ASKED
    prefix, _, encoded = image["image_url"]["url"].partition(",")
    assert prefix == "data:image/jpeg;base64"
    assert base64.b64decode(encoded) == b"picture"


@pytest.mark.parametrize(
    ("reply", "status", "outcome"),
    [
        pytest.param(GOOD, 500, "http_500", id="server error"),
        pytest.param(GOOD, 307, "http_307", id="redirect is not followed"),
        pytest.param(b"<html>", 200, "bad_completion", id="no JSON"),
        pytest.param(b"", 200, "bad_completion", id="nothing"),
        pytest.param(b'{"choices": []}', 200, "bad_completion", id="no choice"),
        pytest.param(completion("Yes, a car."), 200, "bad_answer", id="prose"),
        pytest.param(completion('```json\n{"real": true}\n```'), 200, "bad_answer", id="fenced"),
        pytest.param(
            completion('{"real": true, "confidence": 7, "reason": ""}'),
            200,
            "bad_answer",
            id="confidence beyond 1",
        ),
        pytest.param(
            completion('{"real": "yes", "confidence": 0.9, "reason": ""}'),
            200,
            "bad_answer",
            id="another type",
        ),
        pytest.param(
            completion('{"real": true, "confidence": 0.9, "reason": "", "close": "all"}'),
            200,
            "bad_answer",
            id="more than asked",
        ),
        pytest.param(b" " * (MAX_ANSWER_BYTES + 1), 200, "too_large", id="huge"),
    ],
)
def test_what_is_no_answer_is_no_opinion_and_counted(
    endpoint: FakeEndpoint, reply: bytes, status: int, outcome: str
) -> None:
    endpoint.reply, endpoint.status = reply, status
    asker = an_asker(endpoint)
    assert asked_and_done(asker) == {outcome: 1}
    assert not asker.answers
    # It is asked anew another time: only opinions are remembered.
    endpoint.reply, endpoint.status = GOOD, 200
    assert asked_and_done(asker) == {outcome: 1, "opinion": 1}


def test_nobody_waits_for_a_server_that_hangs(endpoint: FakeEndpoint) -> None:
    endpoint.hold.clear()
    asker = an_asker(endpoint, timeout_s=0.5, concurrent=1)
    began_s = time.monotonic()
    asker.ask("a", ASKED, b"1")
    asker.ask("b", ASKED, b"2")  # the only hand is taken
    assert time.monotonic() - began_s < 0.3
    assert asker.counts == {"busy": 1}
    until(lambda: sum(asker.counts.values()) == 2)
    assert asker.counts == {"busy": 1, "timeout": 1}
    assert not asker.answers


def test_an_answer_that_drips_is_cut(endpoint: FakeEndpoint) -> None:
    endpoint.drip = True
    endpoint.hold.clear()
    asker = an_asker(endpoint, timeout_s=0.5)
    assert asked_and_done(asker) == {"timeout": 1}


def test_nobody_there_is_counted(endpoint: FakeEndpoint) -> None:
    asker = an_asker(endpoint)
    endpoint.stop()
    assert asked_and_done(asker) == {"failed": 1}


def test_a_picture_is_asked_about_once(endpoint: FakeEndpoint) -> None:
    asker = an_asker(endpoint)
    asked_and_done(asker, b"1")
    asked_and_done(asker, b"1")
    assert asked_and_done(asker, b"2") == {"opinion": 2, "cached": 1}
    assert len(endpoint.asked) == 2
    assert len(asker.answers) == 3


def test_the_budget_is_that_of_the_last_hour(endpoint: FakeEndpoint) -> None:
    now_s = [0.0]
    settings = OpinionSettings(url=endpoint.url, model="m", per_hour=2)
    asker = SecondOpinion(settings, lambda: now_s[0])
    for number, at_s in enumerate((0.0, 1800.0, 3599.0, 3601.0)):
        now_s[0] = at_s
        asked_and_done(asker, b"%d" % number)
    assert asker.counts == {"opinion": 3, "over_budget": 1}


def test_after_the_end_nothing_is_asked(endpoint: FakeEndpoint) -> None:
    asker = an_asker(endpoint)
    asker.stop()
    assert asked_and_done(asker) == {"busy": 1}
    assert not endpoint.asked


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"url": "ftp://h", "model": "m"}, r"opinion\.url: .*http://host:port/v1.*got 'ftp://h'"),
        ({"url": "http://h/v1"}, r"opinion\.model: the name of a model is wanted"),
        ({"url": "http://h/v1", "model": "m", "per_hour": 0}, r"opinion\.per_hour"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, object], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        load_settings(opinion=given)


def test_it_is_off_by_default_and_the_key_is_not_printed() -> None:
    assert not load_settings().opinion.url
    shown = repr(load_settings(opinion={"url": "http://h/v1", "model": "m", "key": "hush"}))
    assert "hush" not in shown


def a_detection(at_s: float, phase: str, *, sure: float = 0.6, thing: str = "camera-1/7"):
    return Observation(
        source="vision",
        thing_id=thing,
        kind="detection.static_object",
        observed_ns=round(at_s * S),
        received_ns=round(at_s * S),
        measures={"dwell_s": at_s, "confidence_ratio": sure},
        labels={"phase": phase, "object": "vehicle", "camera_id": "camera-1"},
        snapshots=(f"{thing}-{phase}.jpg",),
    )


def test_an_opinion_is_told_at_once_and_stays_with_its_thing(endpoint: FakeEndpoint) -> None:
    desk = OpinionDesk(asker := an_asker(endpoint), 0.85)
    new = a_detection(20.0, "new")
    assert desk.told(new) is new
    assert desk.follow_ups({"camera-1": 20 * S}) == []
    desk.pictured("camera-1/7-new.jpg", b"picture")
    until(lambda: bool(asker.answers))
    (told,) = desk.follow_ups({"camera-1": 23 * S})
    assert (told.observed_ns, told.thing_id, told.kind) == (23 * S, new.thing_id, new.kind)
    assert told.measures == {"dwell_s": 23.0, "confidence_ratio": 0.6, "opinion_ratio": 0.9}
    assert told.labels["phase"] == "update"
    assert told.labels["opinion"] == "a red car at the kerb"
    assert told.labels["opinion_model"] == "m"
    assert told.id != new.id
    for phase in ("update", "end"):
        assert desk.told(a_detection(30.0, phase)).measures["opinion_ratio"] == 0.9
    # Its number given to another thing later means nothing.
    assert "opinion_ratio" not in desk.told(a_detection(99.0, "new")).measures


def test_only_unsure_events_with_a_picture_are_asked_about(endpoint: FakeEndpoint) -> None:
    desk = OpinionDesk(asker := an_asker(endpoint), 0.85)
    desk.told(a_detection(20.0, "new", sure=0.85))
    desk.pictured("camera-1/7-new.jpg", b"1")
    desk.told(a_detection(20.0, "update", thing="camera-1/8"))
    desk.pictured("camera-1/8-update.jpg", b"2")
    assert asker.counts == {}


def test_an_answer_for_what_has_ended_is_dropped(endpoint: FakeEndpoint) -> None:
    desk = OpinionDesk(asker := an_asker(endpoint), 0.85)
    desk.told(a_detection(20.0, "new"))
    desk.pictured("camera-1/7-new.jpg", b"picture")
    until(lambda: bool(asker.answers))
    desk.told(a_detection(22.0, "end"))
    assert desk.follow_ups({"camera-1": 23 * S}) == []
