"""A silence in a recording: the flood becomes a case when it ends, however it is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import START_NS, street_messages

from commands.playing import Played, play
from core.exclusions import Exclusion, ExclusionKind, encode_exclusion
from core.ports import RawMessage
from core.settings import load_settings
from core.topics import exclusion_topic
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City, load_city
from ingest.recording.rounds import Round


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


def a_silence(city: City, until_s: float) -> RawMessage:
    one = Exclusion(
        id="silence-1",
        kind=ExclusionKind.SILENCE,
        from_ns=START_NS,
        until_ns=START_NS + seconds_to_ns(until_s),
        at_ns=START_NS,
        reason="排水演练",
        actor="desk",
        scenarios=("road-flooding",),
    )
    return RawMessage(
        topic=exclusion_topic(city.name, one.id),
        payload=encode_exclusion(one),
        received_ns=START_NS,
        qos=1,
    )


async def played(
    folder: Path, city: City, messages: list[RawMessage], *, a_round: int, partitions: int
) -> Played:
    pieces = [messages[n : n + a_round] for n in range(0, len(messages), a_round)]
    rounds = [Round(piece[-1].received_ns, piece) for piece in pieces]
    rounds.append(Round(messages[-1].received_ns + 60 * NS_PER_S, []))
    return await play(load_settings(data_dir=folder, partitions=partitions), city, rounds)


async def test_it_becomes_a_case_when_the_silence_ends(tmp_path: Path, city: City) -> None:
    """Water from 120 s to 400 s, raised at 180 s; one silence until 300 s, one until 450 s."""
    messages = street_messages(city)
    found = {}
    for until_s in (0.001, 300.0, 450.0):
        folder = tmp_path / f"{until_s:g}"
        found[until_s] = await played(
            folder, city, [a_silence(city, until_s), *messages], a_round=3, partitions=1
        )
    [[plain, words]] = found[0.001].cases
    assert [(one.edge, (one.at_ns - START_NS) // NS_PER_S) for one in words] == [
        ("raise", 180),
        ("clear", 400),
    ]
    [[late, words]] = found[300.0].cases
    assert [(one.edge, (one.at_ns - START_NS) // NS_PER_S) for one in words] == [
        ("raise", 300),
        ("clear", 400),
    ]
    assert (late.began_ns, late.place) == (plain.began_ns, plain.place)
    assert found[450.0].cases == []


async def test_pieces_and_partitions_change_nothing(tmp_path: Path, city: City) -> None:
    messages = [a_silence(city, 300.0), *street_messages(city)]
    one = await played(tmp_path / "a", city, messages, a_round=3, partitions=1)
    again = await played(tmp_path / "b", city, messages, a_round=3, partitions=1)
    four = await played(tmp_path / "c", city, messages, a_round=3, partitions=4)
    assert one.canonical == again.canonical == four.canonical
    assert one.canonical.count(b"\n") == 1
