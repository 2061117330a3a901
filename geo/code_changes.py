"""Area codes of former years and what they are today.

A table maps an old code to its new one. ``"370282*": "370215*"`` is a renaming: whatever begins
with the old digits now begins with the new ones. ``"370284": "370211"`` is that code alone: the
area was merged into another, whose parts were numbered anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import LayerError

_CODE = re.compile(r"[0-9]{2,15}\*?")


def resolve_code(code: str, old_codes: Mapping[str, str]) -> str:
    """What a code is today; itself where nothing replaced it.

    The code alone is looked up first, then the longest renamed beginning; chains of changes are
    followed to their end.

    Args:
        code: Of any level.
        old_codes: As :func:`check_old_codes` accepts it.

    Example:
        >>> table = {"370282*": "370215*", "370284": "370211"}
        >>> [resolve_code(one, table) for one in ("370282", "370282003", "370284", "370284001")]
        ['370215', '370215003', '370211', '370284001']
        >>> resolve_code("370202", {}), resolve_code("", table)
        ('370202', '')
    """
    for _ in range(len(old_codes) + 1):
        changed = _changed_once(code, old_codes)
        if changed == code:
            return code
        code = changed
    return code


def _changed_once(code: str, old_codes: Mapping[str, str]) -> str:
    if code in old_codes:
        return old_codes[code]
    for size in range(len(code), 1, -1):
        new = old_codes.get(f"{code[:size]}*")
        if new is not None:
            return new.removesuffix("*") + code[size:]
    return code


def check_old_codes(old_codes: Mapping[str, str], where: str) -> None:
    """Refuse a table that cannot be.

    Raises:
        LayerError: A code is no code, one side is a renaming and the other is not, or a change
            leads back to where it began.
    """
    for old, new in old_codes.items():
        here = f"{where} old_codes: {old}: {new}"
        if not _CODE.fullmatch(old) or not _CODE.fullmatch(new):
            raise LayerError(f"{here}: codes of 2 to 15 digits, with * for a renaming, were wanted")
        if old.endswith("*") != new.endswith("*"):
            raise LayerError(f"{here}: a * was wanted on both sides or on none")
        code = old.removesuffix("*")
        for _ in range(len(old_codes)):
            code = _changed_once(code, old_codes)
            if code == old.removesuffix("*"):
                raise LayerError(f"{here}: the change leads back to where it began")
