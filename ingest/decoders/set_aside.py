"""What the stream app has set aside, read again: a record of the log instead of a message.

Its topic is the place of the record, ``observations[0]@12``, and where one observation of it made
the rules fail, a blank and what names that. No broker delivers such a topic: it comes out of the
quarantine (:mod:`ingest.redrive`).
"""

from __future__ import annotations

import msgspec

from core.observations import Observation, decode_batch
from core.ports import RawMessage


def decode(message: RawMessage) -> list[Observation]:
    """The observations of the record, as they were.

    One that made the rules fail is marked; a whole record that could not be read then was nowhere.

    Raises:
        DecodeError: ``bad_batch``: it cannot be read now either.
    """
    failed_rules = " " in message.topic
    return [
        msgspec.structs.replace(one, set_aside=failed_rules)
        for one in decode_batch(message.payload)
    ]
