"""``qingniao outbox`` on a data folder with a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.outbox import app
from core.errors import InputError, NotFoundError
from core.events import Edge, Event, EventBatch, Place, event_id
from core.observations import Stamp
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate
from store.outbox import DeadLetter, Subscriber


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    migrate(url)
    with CaseStore(url, load_packs(None), (), (), "QD") as store:
        for at_ns in (10**9, 2 * 10**9, 3 * 10**9):
            raised = Event(
                id=event_id(rule="r", thing_id=str(at_ns), began_ns=0, edge=Edge.RAISE, at_ns=0),
                scenario="manhole-cover", rule="manhole-cover/tilt", edge=Edge.RAISE,
                source="plain", thing_id=str(at_ns), kind="manhole", began_ns=0, at_ns=at_ns,
                place=Place(unplaced="no_position"),
            )  # fmt: skip
            stamp = Stamp(
                ingest_id="i", sequence=at_ns, partition=0, watermark_ns=at_ns, logged_ns=at_ns
            )
            store.apply([EventBatch(stamp=stamp, events=(raised,))], at_ns)
        store.outbox.subscribe("mqtt", 0)
        state = Subscriber(
            name="mqtt", sequence=2, delivered=2, dead=1, disabled_ns=1, last_error="broker away"
        )
        letter = DeadLetter(
            subscriber="mqtt", sequence=1, event_id="a-1", attempts=4, error="HTTP 500", at_ns=1
        )
        store.outbox.save([state], [letter])
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*arguments: str, folder: Path) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data", str(folder)], catch_exceptions=False)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.output


def asked(folder: Path) -> dict[str, int]:
    with CaseStore(f"sqlite:///{folder / 'store.sqlite3'}", (), (), (), "QD") as store:
        return store.outbox.asked()


def test_list_tells_who_is_told(folder: Path) -> None:
    document = json.loads(run("list", "--json", folder=folder))
    assert (document["oldest"], document["latest"]) == (1, 3)
    assert document["subscribers"][0]["last_error"] == "broker away"
    assert "disabled" in run("list", folder=folder)
    assert "HTTP 500" in run("dead", folder=folder)


@pytest.mark.parametrize(
    ("how", "after"),
    [
        (("--from-sequence", "2"), 1),
        (("--since", "1970-01-01T00:00:03Z"), 2),
        (("--since", "1960-01-01T00:00:00Z"), 0),
    ],
)
def test_replay_is_a_dry_run_first(folder: Path, how: tuple[str, str], after: int) -> None:
    told = run("replay", "mqtt", *how, folder=folder)
    assert "Dry run" in told
    assert asked(folder) == {}
    run("replay", "mqtt", *how, "--apply", folder=folder)
    assert asked(folder) == {"mqtt": after}


def test_resume_goes_on_where_it_stopped(folder: Path) -> None:
    run("resume", "mqtt", folder=folder)
    assert asked(folder) == {"mqtt": 2}


def test_what_is_wrong_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match="--from-sequence and --since"):
        run("replay", "mqtt", folder=folder)
    with pytest.raises(NotFoundError, match="there is mqtt"):
        run("resume", "webhook/x", folder=folder)
