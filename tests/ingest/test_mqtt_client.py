from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from ingest.mqtt_client import READ_BYTES, BufferedClient


@pytest.fixture
def wired() -> Iterator[tuple[BufferedClient, socket.socket]]:
    """A client on one end of a pair of sockets, the broker's end beside it."""
    ours, brokers = socket.socketpair()
    ours.setblocking(False)
    client = BufferedClient(CallbackAPIVersion.VERSION2, manual_ack=True)
    client.on_socket_register_write = lambda *_: None
    client._sock = ours
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
