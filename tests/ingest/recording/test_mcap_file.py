"""MCAP files are the library's, byte for byte."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import Writer

from ingest.recording.mcap_file import McapFile

TOPICS = ["a/b", "qn/青岛/sensor/井-1", "", "t" * 300]

_MESSAGE = st.tuples(
    st.just("message"),
    st.integers(0, 5),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=60),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)
_CHANNEL = st.tuples(st.just("channel"), st.sampled_from(TOPICS), st.integers(0, 2))
_OTHER = st.sampled_from([("flush",), ("schema",), ("metadata",), ("attachment",)])


@given(steps=st.lists(_MESSAGE | _CHANNEL | _OTHER, max_size=60), chunk_bytes=st.integers(1, 400))
def test_a_file_is_what_the_library_writes(steps: list[tuple], chunk_bytes: int) -> None:
    wanted, got = BytesIO(), BytesIO()
    theirs = Writer(wanted, chunk_size=chunk_bytes)
    theirs.start("p", "l")
    ours = McapFile(got, profile="p", library="l", chunk_bytes=chunk_bytes)
    channels = 0
    for what, *told in steps:
        if what == "message" and channels:
            number, log_ns, data, publish_ns, sequence = told
            channel = number % channels + 1
            theirs.add_message(channel, log_ns, data, publish_ns, sequence)
            ours.add_message(channel, log_ns, data, publish_ns, sequence)
        elif what == "channel":
            topic, schema = told
            metadata = {"qos": "1", "wo": topic}
            channels = theirs.register_channel(topic, "json", schema, metadata)
            assert ours.add_channel(topic, "json", schema, metadata) == channels
        elif what == "schema":
            number = theirs.register_schema("s", "jsonschema", b"{}")
            assert ours.add_schema("s", "jsonschema", b"{}") == number
        elif what == "metadata":
            theirs.add_metadata("m", {"a": "b"})
            ours.add_metadata("m", {"a": "b"})
        elif what == "attachment":
            theirs.add_attachment(5, 5, "n", "text/plain", b"x")
            ours.add_attachment("n", "text/plain", b"x", 5)
        elif what == "flush":
            theirs.flush()
            ours.flush()
    theirs.finish()
    ours.finish()
    assert got.getvalue() == wanted.getvalue()
