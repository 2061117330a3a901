"""Whoever calls the map reads what goes in and comes out: shapes, units, CRS, errors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Compiled loops, called by one module each, whose arrays are documented there.
KERNELS = {"kernels.py", "fence_kernels.py"}

#: Methods that put a table into a file as it is; the file has no shapes of its own to tell.
FILE_ENDS = {"from_arrays", "to_arrays", "write_arrays"}

#: Modules that compute by published methods, and must say by which.
PUBLISHED = {"beidou.py", "camera.py", "homography.py", "lens.py", "tsai.py", "crs.py"}


def public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted((ROOT / "geo").rglob("*.py")):
        if path.name in KERNELS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners: list[ast.Module | ast.ClassDef] = [tree]
        owners += [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name[0] != "_"]
        for owner in owners:
            for one in owner.body:
                if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
                    name = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
                    yield f"{path.relative_to(ROOT)} {name}{one.name}", one


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_says_what_goes_in_and_comes_out(name: str) -> None:
    function = FUNCTIONS[name]
    text = ast.get_docstring(function) or ""
    overrides = name.startswith("geo/live_map.py _")
    assert text or overrides
    types = {
        one.arg: ast.unparse(one.annotation)
        for one in (*function.args.args, *function.args.kwonlyargs)
        if one.annotation is not None
    }
    elsewhere = "As for" in text
    if any("NDArray" in one or "ArrayLike" in one for one in types.values()):
        assert "hape" in text or elsewhere or function.name in FILE_ENDS, "the shapes"
    if {"lon_deg", "lat_deg"} & set(types):
        assert "egree" in text or elsewhere, "the unit and CRS of positions"
    if any(isinstance(one, ast.Raise) for one in ast.walk(function)):
        assert "Raises:" in text, "the errors"


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_methods_name_their_source(name: str) -> None:
    text = (ROOT / "geo" / name).read_text(encoding="utf-8")
    assert "Source:" in text or "GB/T" in text
