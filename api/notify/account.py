"""How far a subscriber has been told, in memory until it is saved."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from store.outbox import DeadLetter, Subscriber

#: Longest text kept of why something failed.
MAX_ERROR_LENGTH = 300


class NotifyMetrics:
    """What is measured of telling others, by subscriber.

    Args:
        registry: Where the metrics are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"qingniao_notify_{name}_total", text, ["subscriber"], registry=registry)

        self.delivered = counter("delivered", "Lines of the outbox that a subscriber took")
        self.failed = counter("failed", "Attempts that a subscriber did not take")
        self.dead = counter("dead", "Lines given up: the subscriber took others, but not these")
        self.lost = counter("lost", "Lines that the outbox no longer held when their turn came")
        self.behind = Gauge(
            "qingniao_notify_behind",
            "Lines of the outbox that a subscriber has yet to be told",
            ["subscriber"],
            registry=registry,
        )
        self.works = Gauge(
            "qingniao_notify_works",
            "1 while a subscriber takes what it is told, 0 while it fails or is disabled",
            ["subscriber"],
            registry=registry,
        )
        self.seconds = Histogram(
            "qingniao_notify_seconds",
            "Time of one attempt to tell a subscriber",
            ["subscriber"],
            buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0),
            registry=registry,
        )

    def forget(self, name: str) -> None:
        """Show nothing more of a subscriber that is no longer one."""
        every = (self.delivered, self.failed, self.dead, self.lost, self.behind, self.works)
        for metric in (*every, self.seconds):
            with contextlib.suppress(KeyError):
                metric.remove(name)


class Unsaved(NamedTuple):
    """A state that changed, and what was given up since the last."""

    state: Subscriber
    dead: tuple[DeadLetter, ...]


class Account:
    """The state of one subscriber.

    ``generation`` changes when a person asked to go on elsewhere: whatever is under way then
    no longer counts.

    Args:
        state: As it was saved.
        metrics: Told of everything.
    """

    def __init__(self, state: Subscriber, metrics: NotifyMetrics) -> None:
        self.name = state.name
        self.sequence = state.sequence
        self.delivered = state.delivered
        self.dead = state.dead
        self.lost = state.lost
        self.failing_since_ns = state.failing_since_ns
        self.disabled_ns = state.disabled_ns
        self.last_error = state.last_error
        self.generation = 0
        self._metrics = metrics
        self._letters: list[DeadLetter] = []
        self._changed = False
        self._show()

    def took(self, count: int = 1) -> None:
        """It took lines."""
        self.delivered += count
        self.failing_since_ns = None
        self.last_error = ""
        self._metrics.delivered.labels(self.name).inc(count)
        self._touch()

    def reached(self, sequence: int) -> None:
        """Everything up to a line is done with."""
        if sequence != self.sequence:
            self.sequence = sequence
            self._touch()

    def failed(self, why: str, now_ns: int) -> None:
        """An attempt failed."""
        if self.failing_since_ns is None:
            self.failing_since_ns = now_ns
        self.last_error = why[:MAX_ERROR_LENGTH]
        self._metrics.failed.labels(self.name).inc()
        self._touch()

    def gave_up(self, letter: DeadLetter) -> None:
        """A line is not tried again."""
        self.dead += 1
        self._letters.append(letter)
        self._metrics.dead.labels(self.name).inc()
        self._touch()

    def skipped(self, count: int) -> None:
        """Lines were no longer kept when their turn came."""
        self.lost += count
        self._metrics.lost.labels(self.name).inc(count)
        self._touch()

    def disable(self, now_ns: int) -> None:
        """It is told nothing more until a person asks for it."""
        self.disabled_ns = now_ns
        self._touch()

    def go_on_after(self, sequence: int) -> None:
        """A person asked to go on after a line."""
        self.generation += 1
        self.sequence = sequence
        self.failing_since_ns = self.disabled_ns = None
        self.last_error = ""
        self._touch()

    def take_unsaved(self, now_ns: int) -> Unsaved | None:
        """What is to be saved; None where nothing changed. Give it back if that fails."""
        if not self._changed:
            return None
        letters, self._letters = tuple(self._letters), []
        self._changed = False
        return Unsaved(self.state(now_ns), letters)

    def give_back(self, unsaved: Unsaved) -> None:
        """It could not be saved: it is still to be."""
        self._letters = [*unsaved.dead, *self._letters]
        self._changed = True

    def state(self, now_ns: int) -> Subscriber:
        """The state as a value."""
        return Subscriber(
            name=self.name,
            sequence=self.sequence,
            delivered=self.delivered,
            dead=self.dead,
            lost=self.lost,
            failing_since_ns=self.failing_since_ns,
            disabled_ns=self.disabled_ns,
            last_error=self.last_error,
            updated_ns=now_ns,
        )

    def measure(self, latest: int) -> None:
        """Show how far it is behind the outbox's newest line."""
        self._metrics.behind.labels(self.name).set(max(0, latest - self.sequence))

    def timed(self, seconds: float) -> None:
        """An attempt took so long."""
        self._metrics.seconds.labels(self.name).observe(seconds)

    def _touch(self) -> None:
        self._changed = True
        self._show()

    def _show(self) -> None:
        works = self.failing_since_ns is None and self.disabled_ns is None
        self._metrics.works.labels(self.name).set(int(works))
