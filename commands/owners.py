"""Who owns the component (部件) that a case is about, by the map and the city's units."""

from __future__ import annotations

import numpy as np

from core.events import Place
from geo.city import City
from geo.components import components_of
from scenarios.model import Scenario
from scenarios.routing import Owner, OwnerOf


def component_owners(city: City) -> OwnerOf:
    """Looks the owner up: the nearest component of the kinds that the scenario names.

    A unit is known by its id or by its name, as the layer has it; one that the city does not
    list owns nothing here.
    """
    units = {one.name: one for one in city.units} | {one.unit_id: one for one in city.units}

    def owner_of(place: Place, scenario: Scenario) -> Owner | None:
        kinds = frozenset(scenario.route.components)
        if not kinds or place.lon_deg is None or place.lat_deg is None:
            return None
        components = components_of(city, kinds)
        [near] = components.near(np.array([place.lon_deg]), np.array([place.lat_deg]))
        unit = None if near is None or near.unit is None else units.get(near.unit)
        if near is None or unit is None:
            return None
        return Owner(unit=unit, component=near.name or near.id)

    return owner_of
