"""The notice that a running city leaves in its data folder: its broker and its clock."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from commands.sharing import parse_clock, write_private
from core.clock import ScaledClock
from core.errors import ServiceError
from ingest.broker import BrokerAddress

_NAME = "running.json"


class RunningCity(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener needs to join a city that runs on this machine."""

    host: str
    port: int
    username: str
    password: str
    tls: bool
    clock: str
    about: dict[str, str]

    @classmethod
    def of(cls, address: BrokerAddress, clock: str, about: dict[str, str]) -> Self:
        """The notice of a city."""
        return cls(
            host=address.host,
            port=address.port,
            username=address.username,
            password=address.password,
            tls=address.tls,
            clock=clock,
            about=about,
        )

    @classmethod
    def find(cls, data_dir: Path) -> Self:
        """The notice of the city that runs with a data folder.

        Raises:
            ServiceError: None does.
        """
        path = data_dir / _NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as exc:
            raise ServiceError(
                f"no city runs with data folder {data_dir} ({path.name}: {exc}); start one with "
                "`qingniao demo` or `qingniao run`, or name a broker with --broker mqtt://host:port"
            ) from exc

    def tell(self, data_dir: Path) -> None:
        """Leave the notice; only its owner can read it."""
        write_private(data_dir / _NAME, msgspec.json.encode(self).decode())

    def withdraw(self, data_dir: Path) -> None:
        """Take the notice away."""
        (data_dir / _NAME).unlink(missing_ok=True)

    def address(self) -> BrokerAddress:
        """Where its broker listens."""
        return BrokerAddress(self.host, self.port, self.username, self.password, self.tls)

    def city_clock(self) -> ScaledClock:
        """City time."""
        return parse_clock(self.clock)
