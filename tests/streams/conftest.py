"""What several tests of the stream app break on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.observations import ObservationBatch
from scenarios.engine import RuleEngine


@pytest.fixture
def break_rules(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on the rules fail on every batch with a thing called ``bad``."""
    real = RuleEngine.process_rounds

    def fragile(self: RuleEngine, batch: ObservationBatch, tags: Any) -> Any:
        found = real(self, batch, tags)
        if "bad" in batch.thing_ids:
            raise ZeroDivisionError("a fault in a rule")
        return found

    return lambda: monkeypatch.setattr(RuleEngine, "process_rounds", fragile)
