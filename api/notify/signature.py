"""Signatures in the manner of Standard Webhooks: HMAC-SHA256 over id, time and body. Pure.

Source:
    Standard Webhooks 1.0.0, https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from core.errors import InputError

#: How a secret begins; base64 of the key follows.
PREFIX = "whsec_"

#: Shortest and longest key, in bytes.
KEY_BYTES = (24, 64)

#: Secrets that may be valid at once, while one replaces another.
MAX_SECRETS = 3


def read_secrets(text: str, where: str) -> tuple[bytes, ...]:
    """The keys in a text, one a line, the present one first.

    Raises:
        InputError: There is none, too many, or one that is no secret. What was got is not told.

    Example:
        >>> read_secrets("whsec_" + "c2VjcmV0" * 4, "secret")
        (b'secretsecretsecretsecret',)
    """
    lines = text.split()
    if not 1 <= len(lines) <= MAX_SECRETS:
        raise InputError(
            f"{where}: 1 to {MAX_SECRETS} lines {PREFIX}BASE64 were wanted, got {len(lines)}"
        )
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        shortest, longest = KEY_BYTES
        if not line.startswith(PREFIX) or not shortest <= len(key) <= longest:
            raise InputError(
                f"{where} line {number}: {PREFIX} and base64 of {shortest} to {longest} bytes were "
                "wanted; `openssl rand -base64 32` makes some"
            )
        keys.append(key)
    return tuple(keys)


def signature_headers(
    event_id: str, timestamp_s: int, body: bytes, keys: Sequence[bytes]
) -> dict[str, str]:
    """The three headers by which a receiver knows who sent a body, and when.

    Args:
        event_id: The event's id; a repeat has the same.
        timestamp_s: When this attempt was made, Unix seconds.
        body: Exactly what is sent.
        keys: One signature is made with each.

    Example:
        >>> keys = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret")
        >>> body = b'{"test": 2432232314}'
        >>> told = signature_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, keys)
        >>> told["webhook-signature"]
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='

    Source:
        The example is the test vector of the reference libraries.
    """
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_s, body)
    signatures = (
        base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
