"""What the tests of the map share."""

from __future__ import annotations

import pytest

from geo.city import City, generate_city


@pytest.fixture(scope="session")
def generated_city() -> City:
    return generate_city(7)
