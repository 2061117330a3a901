"""Who has how much to do, and who is chosen for one more task."""

from __future__ import annotations

from sqlalchemy import exists, func, or_, select
from sqlalchemy.engine import Connection

from core.city import Unit, Worker
from core.events import Place
from scenarios.model import Scenario
from scenarios.routing import Assignment, OwnerOf, assign
from store import tables


class Workload:
    """Open tasks of each worker, as the database and the transaction so far have them.

    Args:
        connection: Of the write transaction.
        units: The city's responsible units.
        workers: The city's grid workers.
        owner_of: Tells who owns the component that a case is about.
    """

    def __init__(
        self,
        connection: Connection,
        units: tuple[Unit, ...],
        workers: tuple[Worker, ...],
        owner_of: OwnerOf,
    ) -> None:
        self._owner_of = owner_of
        self._connection = connection
        self._units = units
        self._workers = workers
        self._load: dict[str, int] | None = None

    def assign(self, place: Place, scenario: Scenario, at_ns: int) -> Assignment:
        """Choose who must act at an instant, by the load that there is now."""
        load = self._open_tasks()
        owner = self._owner_of(place, scenario)
        chosen = assign(place, scenario, self._units, self._workers, load, at_ns=at_ns, owner=owner)
        if chosen.worker_id is not None:
            load[chosen.worker_id] = load.get(chosen.worker_id, 0) + 1
        return chosen

    def give_back(self, worker_id: str) -> None:
        """A worker has one task less."""
        load = self._open_tasks()
        load[worker_id] = max(0, load.get(worker_id, 0) - 1)

    def _open_tasks(self) -> dict[str, int]:
        """Open tasks of each worker; a part that goes with its parent is no further task."""
        if self._load is None:
            table, parent = tables.incidents, tables.incidents.alias("parent")
            with_parent = exists().where(
                parent.c.id == table.c.parent_id,
                parent.c.worker_id == table.c.worker_id,
                parent.c.is_open.is_(True),
            )
            counted = self._connection.execute(
                select(table.c.worker_id, func.count())
                .where(
                    table.c.is_open.is_(True),
                    table.c.worker_id.is_not(None),
                    or_(table.c.parent_id.is_(None), ~with_parent),
                )
                .group_by(table.c.worker_id)
            )
            self._load = {str(worker): int(count) for worker, count in counted}
        return self._load
