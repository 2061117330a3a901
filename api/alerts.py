"""Public alerts as CAP messages, with the areas of the city's own map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import shapely

from core.city import LayerRole
from core.errors import NotFoundError
from core.topics import area_levels
from geo.model import City
from scenarios.alerting import IssuedAlert
from scenarios.cap import CapStatus, Issuer, Polygon, cap_xml
from scenarios.model import Scenario
from store.alerts import Alerts
from store.documents import area_code_of

#: Points of a border that are nearer than this to a straight line are left out, in degrees.
_STRAIGHT_DEG = 1e-5

#: Pairs of the smallest polygon of CAP: a triangle, closed.
_FEWEST_PAIRS = 4

_ROLES = (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID)


def issuer_of(city: City, *, sender: str, status: CapStatus) -> Issuer:
    """Who issues a city's alerts; the city itself where no sender is named."""
    return Issuer(sender=sender or f"qingniao.{city.name}", name=city.title, status=status)


class AlertWriter:
    """Writes the alerts of a city.

    Args:
        alerts: What was issued.
        scenarios: By id.
        city: For the shapes of its areas.
        issuer: Who issues them.
    """

    def __init__(
        self, alerts: Alerts, scenarios: Mapping[str, Scenario], city: City, issuer: Issuer
    ) -> None:
        self._alerts = alerts
        self._scenarios = scenarios
        self._city = city
        self._issuer = issuer

    def message(self, incident_id: str, number: int | None = None) -> bytes:
        """An alert of an incident as XML: one by its number, or the last.

        Raises:
            NotFoundError: There is none.
        """
        issued = self._alerts.of_incident(incident_id)
        if number is not None and not 1 <= number <= len(issued):
            raise NotFoundError(
                f"incident {incident_id!r}: alerts 1 to {len(issued)} were issued, not {number}"
            )
        return self._write(issued[: number or len(issued)])

    def message_of_line(self, incident_id: str, sequence: int) -> bytes:
        """The alert that a line of the feed issued, as XML.

        Raises:
            NotFoundError: It issued none.
        """
        issued = self._alerts.of_incident(incident_id)
        upto = [one for one in issued if one.sequence <= sequence]
        if not upto or upto[-1].sequence != sequence:
            raise NotFoundError(f"line {sequence}: it issued no alert")
        return self._write(upto)

    def _write(self, issued: Sequence[IssuedAlert]) -> bytes:
        alert = issued[-1]
        scenario = self._scenarios.get(alert.incident.scenario)
        if scenario is None or scenario.alert is None:
            raise NotFoundError(
                f"scenario {alert.incident.scenario!r}: it issues no alerts any more"
            )
        shapes = self._polygons(area_code_of(alert.incident.place))
        return cap_xml(alert, issued[:-1], scenario, self._issuer, shapes)

    def _polygons(self, area_code: str) -> list[Polygon]:
        """The outer borders of the smallest area that the map has, as (lat, lon)."""
        levels = area_levels(area_code)
        for role, code in reversed(list(zip(_ROLES, levels, strict=False))):
            for layer in self._city.layers_of(role):
                codes = layer.column("code")
                if code in codes:
                    shape = layer.geometries[codes.index(code)].simplify(_STRAIGHT_DEG)
                    rings = [_ring(part) for part in shapely.get_parts(shape)]
                    return [ring for ring in rings if len(ring) >= _FEWEST_PAIRS]
        return []


def _ring(polygon: shapely.Polygon) -> Polygon:
    """A border as closed (lat, lon) pairs, none twice in a row after rounding."""
    points = [(round(lat, 6), round(lon, 6)) for lon, lat in polygon.exterior.coords]
    return [points[0], *(after for before, after in pairwise(points) if after != before)]
