"""What is sent to one receiver, and when: order, retries, the circuit. Pure.

Lines of one incident go one after the other; those of different incidents may overlap. A line
that is refused is tried again after twice as long each time. After :data:`OPENS_AFTER` failures
in a row the circuit is open: one attempt at a time, further and further apart, until one is
taken. Which line that is goes round, so that one bad line cannot keep the circuit open.

A line is given up only while the receiver takes others; a receiver that takes nothing is waited
for, and disabled after days. So an outage, however long, gives up nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from api.notify.backoff import backoff_s
from api.notify.notices import Notice

#: Lines of one receiver that are still to be taken, in memory; at 4 kB about 2 MB. A line that
#: is stuck holds up its incident, and others only when so many of its incident came after it.
WINDOW_LINES = 512

#: How far beyond a line that is stuck others are told: after a kill, these are told again.
MAX_AHEAD_LINES = 20_000

#: Failures in a row that open the circuit.
OPENS_AFTER = 3

#: Attempts at one line before it is given up, if others were taken meanwhile: about an hour.
MAX_ATTEMPTS = 20


class Entry:
    """One line in hand."""

    __slots__ = ("attempts", "first_failed_s", "notice", "retry_s", "sending")

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.sending = False
        self.attempts = 0
        self.first_failed_s = 0.0
        self.retry_s = 0.0


class Endpoint:
    """The lines in hand of one receiver.

    Args:
        sequence: The line up to which all is done.
        concurrency: Most attempts at once.
        random: Where chance comes from.
    """

    def __init__(self, sequence: int, concurrency: int, random: Random) -> None:
        self._concurrency = concurrency
        self._random = random
        self._entries: dict[int, Entry] = {}
        self._offered = sequence
        self._failures = 0
        self._probe_s = 0.0
        self._taken_s = float("-inf")

    @property
    def offered(self) -> int:
        """The last line that was offered."""
        return self._offered

    @property
    def reached(self) -> int:
        """The line up to which all is done."""
        return next(iter(self._entries)) - 1 if self._entries else self._offered

    @property
    def room(self) -> int:
        """How many more lines are taken in hand."""
        if self._offered - self.reached >= MAX_AHEAD_LINES:
            return 0
        return WINDOW_LINES - len(self._entries)

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._failures >= OPENS_AFTER

    def offer(self, notices: Sequence[Notice], upto: int) -> None:
        """Take lines in hand, and know that up to a line there are no others for it."""
        self._entries.update((notice.sequence, Entry(notice)) for notice in notices)
        self._offered = max(self._offered, upto)

    def due(self, now_s: float) -> list[Entry]:
        """What is to be sent now; counts as being sent from here on."""
        sending = sum(entry.sending for entry in self._entries.values())
        allowed = (1 if self.is_open else self._concurrency) - sending
        if allowed <= 0 or (self.is_open and now_s < self._probe_s):
            return []
        first = self._first_of_each()
        if self.is_open:
            # Whoever was refused least goes first: the receiver may dislike just one of them.
            first.sort(key=lambda entry: entry.attempts)
        else:
            first = [entry for entry in first if entry.retry_s <= now_s]
        for entry in first[:allowed]:
            entry.sending = True
        return first[:allowed]

    def next_s(self) -> float | None:
        """When something becomes due that is not now; None where nothing waits."""
        waits = [entry.retry_s for entry in self._first_of_each()]
        if not waits:
            return None
        return self._probe_s if self.is_open else min(waits)

    def took(self, entry: Entry, now_s: float) -> None:
        """The receiver took it."""
        self._failures = 0
        self._taken_s = now_s
        del self._entries[entry.notice.sequence]

    def refused(self, entry: Entry, now_s: float, retry_after_s: float = 0.0) -> bool:
        """The receiver did not take it; True where it is given up.

        Args:
            entry: The line.
            now_s: Monotonic seconds.
            retry_after_s: How long the receiver asked us to wait.
        """
        self._failures += 1
        entry.attempts += 1
        if entry.attempts == 1:
            entry.first_failed_s = now_s
        if entry.attempts >= MAX_ATTEMPTS and self._taken_s > entry.first_failed_s:
            del self._entries[entry.notice.sequence]
            return True
        wait_s = max(retry_after_s, backoff_s(entry.attempts, self._random))
        entry.retry_s = now_s + wait_s
        entry.sending = False
        since_open = max(1, self._failures - OPENS_AFTER + 1)
        self._probe_s = now_s + max(retry_after_s, backoff_s(since_open, self._random))
        return False

    def _first_of_each(self) -> list[Entry]:
        """The next line of every incident of which none is on its way."""
        seen: set[str] = set()
        found = []
        for entry in self._entries.values():
            if entry.notice.incident_id not in seen:
                seen.add(entry.notice.incident_id)
                if not entry.sending:
                    found.append(entry)
        return found
