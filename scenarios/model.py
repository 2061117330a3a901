"""What a scenario is: one kind of real thing, the rules that notice it, and who must act.

A scenario is data (docs/decisions/0014): :mod:`scenarios.loader` reads it from YAML,
:mod:`scenarios.engine` runs its rules, the other modules of this package read its routing,
correlation and deadline. Everything here is frozen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.events import Place
from core.incidents import Severity, Text

#: Last part of the id of the rule that a citizen's report speaks through.
REPORT_RULE = "report"

#: In a rule's list of permits or works: whatever the subject.
ANY_SUBJECT = "any"


class Domain(StrEnum):
    """The field of city government a scenario belongs to."""

    URBAN = "城管"
    TRANSPORT = "交通"
    HOUSING = "住建"
    COMMUNITY = "社区"
    LOW_ALTITUDE = "低空"


class CategoryKind(StrEnum):
    """What a category code counts; a national code is unique only together with this."""

    COMPONENT = "部件"
    MATTER = "事项"
    OWN = "自定义"


class Scope(StrEnum):
    """What a rule looks at."""

    THING = "thing"


class Comparison(StrEnum):
    """How a measure is held against its threshold."""

    AT_LEAST = "at_least"
    ABOVE = "above"
    AT_MOST = "at_most"
    BELOW = "below"

    @property
    def upward(self) -> bool:
        """Whether large values are the bad ones."""
        return self in {Comparison.AT_LEAST, Comparison.ABOVE}


class GroupBy(StrEnum):
    """What makes two raises one real thing."""

    SPOT = "spot"  #: near each other, unless one source tells them apart (two cars)
    AREA = "area"  #: near each other, whoever says it (one flood, two gauges)
    THING = "thing"  #: the thing itself, wherever it went (an aircraft), whatever it is called


class DeadlineClock(StrEnum):
    """Which hours a deadline counts."""

    HOURS24 = "hours24"  #: 紧急工作时, around the clock
    WORKING = "working"  #: 工作时, Monday to Friday


class Receiver(StrEnum):
    """Who gets the task."""

    WORKER = "worker"  #: the grid worker of the place, for the unit
    UNIT = "unit"  #: the unit's duty desk


class TimeOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """A daily span of China time, seconds after midnight; may run past midnight.

    Example:
        >>> night = TimeOfDay(from_s=22 * 3600, until_s=6 * 3600)
        >>> night.holds(np.array([0, 6 * 3600, 22 * 3600])).tolist()
        [True, False, True]
    """

    from_s: int
    until_s: int

    def holds(self, second_of_day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which seconds after midnight, shape (n,), lie in the span (its end does not)."""
        after, before = second_of_day >= self.from_s, second_of_day < self.until_s
        return (after & before) if self.from_s <= self.until_s else (after | before)


class DayKind(StrEnum):
    """What a day is in the Chinese calendar, make-up workdays (调休) counted as worked."""

    WORKDAY = "workday"  #: worked, a Saturday or Sunday worked in exchange included
    RESTDAY = "restday"  #: not worked: a weekend or a statutory holiday
    HOLIDAY = "holiday"  #: not worked, and off by the holiday decree rather than the weekend


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What one observation must say. Every part that is given must hold.

    Of ``measures`` the first that an observation has is taken. A label must be one of the
    texts given for it; ``unless_labels`` must not, and an observation without the label
    passes. A zone is one of the map or one that a camera names itself.
    """

    kind: str
    measures: tuple[str, ...] = ()
    comparison: Comparison | None = None
    threshold: float | None = None
    clear_level: float | None = None
    labels: dict[str, tuple[str, ...]] = {}
    unless_labels: dict[str, tuple[str, ...]] = {}
    in_zone: tuple[str, ...] = ()
    unless_in_zone: tuple[str, ...] = ()
    in_airspace: str | None = None
    registered: bool | None = None
    time_of_day: TimeOfDay | None = None
    days: tuple[DayKind, ...] = ()


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """The measure is held against its change per ``per_s``, taken over ``over_s``."""

    per_s: float
    over_s: float


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """So many observations must meet the condition within a window that slides.

    With ``distinct``, so many different texts of that label (two flights, three cameras).
    """

    at_least: int
    within_s: float
    distinct: str | None = None


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """What the same thing must have said before, in order, ``within_s`` of the first of it."""

    steps: tuple[Condition, ...]
    within_s: float


class Damping(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that raised ``raises`` times ``within_s`` is over only after ``clear_for_s``."""

    raises: int
    within_s: float
    clear_for_s: float


class Exclude(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects of permits and of planned works that make it no incident (core.exclusions)."""

    permit: tuple[str, ...] = ()
    works: tuple[str, ...] = ()


class Rule(Condition, frozen=True, kw_only=True):
    """A condition on one thing, how long it must last, and when it is over.

    ``id`` is ``<scenario>/<name>``. With ``confirm`` the rule raises only on an observation at
    or after ``for_s``; without, what a thing last said holds until it says otherwise, as with
    sensors that report on change. With ``absent`` it is the other way round: it raises when a
    thing that met the condition has not been heard for ``for_s``, and is over when it is heard
    again. A thing silent for ``gone_after_s`` is over too; for a count or a sequence, one that
    did not meet the condition for so long. At most one of ``rate``, ``count``, ``sequence`` and
    ``absent`` is given. ``exclude`` is asked where a case would be opened, not here: what was
    raised under a permit still holds when that ends.
    """

    id: str
    for_s: float = 0.0
    clear_for_s: float = 0.0
    confirm: bool = False
    absent: bool = False
    rate: Rate | None = None
    count: Count | None = None
    sequence: Steps | None = None
    damping: Damping | None = None
    exclude: Exclude | None = None
    confidence_ratio: float = 1.0
    gone_after_s: float = 7 * 86400.0

    @property
    def by_hits(self) -> bool:
        """Whether only observations that meet the condition count (count and sequence)."""
        return self.count is not None or self.sequence is not None


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """The category code a case is filed under, and the list it is from."""

    system: str
    kind: CategoryKind
    code: str
    name: Text


class Correlate(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two raises one real thing: how near, and how soon after."""

    group_by: GroupBy = GroupBy.SPOT
    radius_m: float = 0.0
    within_s: float = 3600.0
    reopen_within_s: float = 0.0


class Inhibit(msgspec.Struct, frozen=True, kw_only=True):
    """No case is opened while one of these scenarios goes on this near: it is its doing.

    What still goes on when that is over opens a case then.
    """

    scenarios: tuple[str, ...]
    radius_m: float


class Independent(StrEnum):
    """What counts as another voice."""

    SOURCES = "sources"  #: another device, another camera (whatever it tracks)
    KINDS = "kinds"  #: another kind of observation


class Corroborate(msgspec.Struct, frozen=True, kw_only=True):
    """A raise is a case only once so many sources agree, so near, so soon after each other.

    Rules named in ``alone`` (by full id) need no other.
    """

    at_least: int
    radius_m: float
    within_s: float
    of: Independent = Independent.SOURCES
    alone: tuple[str, ...] = ()


class PartOf(msgspec.Struct, frozen=True, kw_only=True):
    """A case is part of an open one of that scenario so near, begun so soon before or after.

    It stays a case of its own, names its parent, and goes to the parent's unit.
    """

    scenario: str
    radius_m: float
    within_s: float


class AlertCategory(StrEnum):
    """What a public alert is about; the words of CAP 1.2 in lower case."""

    GEO = "geo"
    MET = "met"
    SAFETY = "safety"
    SECURITY = "security"
    RESCUE = "rescue"
    FIRE = "fire"
    HEALTH = "health"
    ENV = "env"
    TRANSPORT = "transport"
    INFRA = "infra"
    CBRNE = "cbrne"
    OTHER = "other"


class AlertUrgency(StrEnum):
    """How soon people must act on a public alert; the words of CAP 1.2 in lower case."""

    IMMEDIATE = "immediate"  #: now
    EXPECTED = "expected"  #: within the hour
    FUTURE = "future"  #: later


class AlertScope(StrEnum):
    """Whom a public alert is meant for; the words of CAP 1.2 in lower case."""

    PUBLIC = "public"  #: whoever it reaches
    RESTRICTED = "restricted"  #: those who act on it; a person decides whether the public is told


class PublicAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A case of this scenario concerns public safety: alerts (CAP 1.2) are issued of it.

    ``radius_m`` around its place is where people must act on it, by ``instruction``.
    """

    category: AlertCategory
    urgency: AlertUrgency
    radius_m: float
    instruction: Text
    scope: AlertScope = AlertScope.RESTRICTED


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """How long the responsible unit has, and which hours count."""

    duration_s: float
    clock: DeadlineClock = DeadlineClock.HOURS24


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told: units whose ``department`` is one of these names, or that of the scenario.

    First the owner of the component (部件) that it is about, where ``components`` names kinds of
    them: the nearest of these kinds on the map.
    """

    departments: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    receiver: Receiver = Receiver.WORKER


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of real thing that somebody must act on."""

    id: str
    name: Text
    domain: Domain
    purpose: Text
    category: Category
    department: Text
    severity: Severity
    rules: tuple[Rule, ...]
    correlate: Correlate
    deadline: Deadline
    route: Route
    closes_when: Text
    scope: Scope = Scope.THING
    still_every_s: float = 600.0
    accepts_reports: bool = False
    inhibited_by: Inhibit | None = None
    corroborate: Corroborate | None = None
    part_of: PartOf | None = None
    alert: PublicAlert | None = None

    @property
    def report_rule(self) -> str:
        """Id of the rule that a citizen's report speaks through."""
        return f"{self.id}/{REPORT_RULE}"


class TagsView(Protocol):
    """What the map says of the rows of a batch, as far as the rules ask."""

    def in_zone(self, kind: str) -> NDArray[np.bool_]:
        """Rows that lie in a ground zone of this kind, shape (n,)."""
        ...

    def in_airspace(self, kind: str) -> NDArray[np.bool_]:
        """Rows that lie in an airspace volume of this kind, shape (n,)."""
        ...

    def airspace_unsure(self, kind: str) -> NDArray[np.bool_]:
        """Rows over or under a volume of this kind whose altitude is not known, shape (n,)."""
        ...

    def place(
        self,
        row: int,
        *,
        error_major_m: float | None = None,
        error_minor_m: float | None = None,
        error_azimuth_deg: float | None = None,
    ) -> Place:
        """Where one row is; the error ellipse is written down, NaN where unknown."""
        ...
