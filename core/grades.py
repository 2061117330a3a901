"""Data grades (数据分类分级): who may see a field.

Each field of an observation, event or incident names its grade in its type, so that exports
and the API can leave out what a reader may not see. Grades follow GB/T 43697-2024's idea of
general data in levels; the levels are ours and few on purpose.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, get_args, get_type_hints

import msgspec


class Grade(IntEnum):
    """Larger is more protected."""

    PUBLIC = 1  #: may be published: category, district, counts
    INTERNAL = 2  #: for the city's departments: exact place, device ids, values
    SENSITIVE = 3  #: named persons, pictures, homes


def _meta(grade: Grade) -> msgspec.Meta:
    return msgspec.Meta(extra={"grade": grade})


PUBLIC = _meta(Grade.PUBLIC)
INTERNAL = _meta(Grade.INTERNAL)
SENSITIVE = _meta(Grade.SENSITIVE)


def grade_of_fields(struct: type[msgspec.Struct]) -> dict[str, Grade | None]:
    """Read the grade of every field of a struct; None where a field names none.

    Example:
        >>> class Reading(msgspec.Struct):
        ...     value: Annotated[float, PUBLIC]
        ...     owner: str
        >>> {name: grade and grade.name for name, grade in grade_of_fields(Reading).items()}
        {'value': 'PUBLIC', 'owner': None}
    """
    hints: dict[str, Any] = get_type_hints(struct, include_extras=True)
    grades: dict[str, Grade | None] = {}
    for name in struct.__struct_fields__:
        grades[name] = next(
            (
                meta.extra["grade"]
                for meta in get_args(hints[name])
                if isinstance(meta, msgspec.Meta) and meta.extra and "grade" in meta.extra
            ),
            None,
        )
    return grades


__all__ = ["INTERNAL", "PUBLIC", "SENSITIVE", "Annotated", "Grade", "grade_of_fields"]
