"""Notes of what really happens, and of what only nearly does, as scripts write them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from simulators.truth import NearMiss, Thing


class TruthNotes(ABC):
    """Collects things and near misses in the order in which they are written."""

    def __init__(self) -> None:
        self.things: list[Thing] = []
        self.near: list[NearMiss] = []

    @abstractmethod
    def truth_id(self, kind: str) -> str:
        """The id of the next thing or near miss."""

    def happens(
        self,
        scenario: str,
        at: tuple[float, float],
        began_ns: int,
        ended_ns: int,
        note: str,
        *,
        devices: tuple[str, ...] = (),
        cameras: tuple[str, ...] = (),
    ) -> None:
        """Note a thing at (lon, lat)."""
        self.things.append(
            Thing(
                truth_id=self.truth_id("thing"),
                scenario=scenario,
                lon_deg=at[0],
                lat_deg=at[1],
                began_ns=began_ns,
                ended_ns=ended_ns,
                note=note,
                devices=devices,
                cameras=cameras,
            )
        )

    def nearly(
        self,
        scenario: str,
        at: tuple[float, float],
        began_ns: int,
        ended_ns: int,
        note: str,
        *,
        devices: tuple[str, ...] = (),
        cameras: tuple[str, ...] = (),
        radius_m: float = 30.0,
    ) -> None:
        """Note a near miss at (lon, lat)."""
        self.near.append(
            NearMiss(
                truth_id=self.truth_id("near"),
                scenario=scenario,
                lon_deg=at[0],
                lat_deg=at[1],
                began_ns=began_ns,
                ended_ns=ended_ns,
                note=note,
                devices=devices,
                cameras=cameras,
                radius_m=radius_m,
            )
        )
