"""The platform's errors, as one tree.

QingniaoError
├── InputError        something handed to us is wrong: a file, a message, a request
│   ├── DecodeError   a message that cannot be read (carries the reason it is counted under)
│   ├── LayerError    a map layer that is refused
│   ├── ConnectorError  a connector that is refused
│   ├── RuleError     a scenario file that is refused
│   ├── GeometryError a shape or an array that cannot be used
│   └── SettingsError a setting that is wrong or missing
├── StateError        the request is fine, but not now
│   ├── TransitionError  a case may not go from this status to that one
│   ├── ConflictError    somebody else changed it first
│   └── NotFoundError    there is no such thing
└── ServiceError      something we depend on failed: broker, log, database

Every message says what was got, what was wanted, where, and what to do.
"""

from __future__ import annotations


class QingniaoError(Exception):
    """Root of every error the platform raises on purpose."""


class InputError(QingniaoError):
    """Something handed to us is wrong."""


class DecodeError(InputError):
    """A message that cannot be read.

    Args:
        reason: Short machine word the rejection is counted under, e.g. ``bad_json``.
        detail: What was got, what was wanted and where.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class LayerError(InputError):
    """A map layer that is refused."""


class ConnectorError(InputError):
    """A connector that is refused."""


class RuleError(InputError):
    """A scenario file that is refused."""


class GeometryError(InputError):
    """A shape or an array that cannot be used."""


class SettingsError(InputError):
    """A setting that is wrong or missing."""


class StateError(QingniaoError):
    """The request is fine, but not in the present state."""


class TransitionError(StateError):
    """A case may not go from this status to that one."""


class ConflictError(StateError):
    """Somebody else changed it first."""


class NotFoundError(StateError):
    """There is no such thing."""


class ServiceError(QingniaoError):
    """Something we depend on failed: broker, log, database."""
