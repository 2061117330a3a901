from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from ingest.mqtt_client import READ_BYTES, BufferedClient, Published


def wire() -> tuple[BufferedClient, socket.socket]:
    """A client on one end of a pair of sockets, the broker's end beside it."""
    ours, brokers = socket.socketpair()
    ours.setblocking(False)
    client = BufferedClient(CallbackAPIVersion.VERSION2, manual_ack=True)
    client.on_socket_register_write = lambda *_: None
    client._sock = ours
    return client, brokers


@pytest.fixture
def wired() -> Iterator[tuple[BufferedClient, socket.socket]]:
    client, brokers = wire()
    yield client, brokers
    client._sock_close()
    brokers.close()


def publish_packet(mid: int) -> bytes:
    body = b"\x00\x01t" + mid.to_bytes(2, "big") + b"payload"
    return bytes([0x32, len(body)]) + body


def test_packets_of_one_read_are_told_to_wait(
    wired: tuple[BufferedClient, socket.socket],
) -> None:
    client, broker = wired
    got: list[int] = []

    def on_message(_client: object, _data: object, message: MQTTMessage) -> None:
        got.append(message.mid)

    client.on_message = on_message
    whole = b"".join(publish_packet(mid) for mid in (1, 2, 3))
    broker.sendall(whole[:-4])  # the third is cut
    client.loop_read()
    assert got == [1]
    assert client.has_unread
    client.loop_read()
    client.loop_read()
    assert got == [1, 2]
    assert not client.has_unread
    broker.sendall(whole[-4:])
    client.loop_read()
    assert got == [1, 2, 3]


def test_bytes_of_a_closed_connection_are_forgotten(
    wired: tuple[BufferedClient, socket.socket],
) -> None:
    client, broker = wired
    broker.sendall(publish_packet(1) + publish_packet(2))
    client.loop_read()
    assert client.has_unread
    client._sock_close()
    assert not client.has_unread


def test_acknowledgements_are_one_write(wired: tuple[BufferedClient, socket.socket]) -> None:
    client, broker = wired
    client.acknowledge([])
    assert not client.want_write()
    client.acknowledge([1, 65_535])
    client.loop_write()
    assert broker.recv(READ_BYTES) == b"\x40\x02\x00\x01\x40\x02\xff\xff"


def a_packet(head: int, body: bytes) -> bytes:
    """A packet with its remaining length as MQTT writes it (3.1.1, 2.2.3)."""
    length, digits = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        digits += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([head]) + digits + body


PUBLISHES = st.builds(
    lambda topic, payload, qos, dup, retain, mid: a_packet(
        0x30 | dup << 3 | qos << 1 | retain,
        len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"") + payload,
    ),
    topic=st.one_of(st.binary(min_size=1, max_size=12), st.just(b"qn/" + 300 * b"t")),
    payload=st.one_of(st.binary(max_size=200), st.sampled_from([bytes(16_300), bytes(17_000)])),
    qos=st.sampled_from([0, 1, 1]),
    dup=st.booleans(),
    retain=st.booleans(),
    mid=st.integers(1, 65_535),
)
PING_RESPONSE = a_packet(0xD0, b"")


def read_all(sent: bytes, ends: list[int], rounds: int, limit: int | None) -> list[Published]:
    """What a client makes of bytes that come in pieces; by paho alone without a limit."""
    client, broker = wire()
    got: list[Published] = []

    def on_message(_client: object, _data: object, one: MQTTMessage) -> None:
        about = (one.qos, one.dup, one.retain, one.mid)
        got.append(Published(bytes(one._topic), bytes(one.payload), *about))

    client.on_message = on_message
    for start, end in pairwise([0, *ends]):
        broker.sendall(sent[start:end])
        for _ in range(rounds):
            while limit and (some := client.take_published(limit)):
                assert len(some) <= limit
                got += some
            client.loop_read()
    client._sock_close()
    broker.close()
    return got


@given(
    packets=st.lists(st.one_of(PUBLISHES, st.just(PING_RESPONSE)), max_size=12),
    cuts=st.lists(st.integers(0, 40_000), max_size=4),
    limit=st.integers(1, 5),
)
def test_what_is_taken_is_what_paho_would_have_told(
    packets: list[bytes], cuts: list[int], limit: int
) -> None:
    sent = b"".join(packets)
    ends = [*sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    rounds = len(packets) + 2  # a read is of one packet at most; one more finds nothing left
    told = read_all(sent, ends, rounds, None)
    assert read_all(sent, ends, rounds, limit) == told
    assert len(told) == sum(packet != PING_RESPONSE for packet in packets)


@pytest.mark.parametrize(
    "packet",
    [
        a_packet(0x34, b"\x00\x01t\x00\x07payload"),
        a_packet(0x32, b"\x00\x00\x00\x07payload"),
        a_packet(0x32, b"\x00\x01t\x00\x00payload"),
        a_packet(0x32, b"\x00\x20t\x00\x07payload"),
        a_packet(0x32, b"\x00\x01t\x07"),
        a_packet(0x30, b"\x00"),
        bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
    ],
    ids=["qos_2", "no_topic", "no_mid", "long_topic", "half_a_mid", "no_length", "endless"],
)
def test_what_is_not_plain_is_left_to_paho(
    wired: tuple[BufferedClient, socket.socket], packet: bytes
) -> None:
    client, broker = wired
    got: list[int] = []
    client.on_message = lambda _client, _data, message: got.append(message.mid)
    broker.sendall(publish_packet(1) + publish_packet(2) + packet + publish_packet(3))
    client.loop_read()
    assert [one.mid for one in client.take_published(9)] == [2]
    assert client.take_published(9) == []
    assert got == [1]
