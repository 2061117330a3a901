"""YAML nodes that know where they are: read as one type, or refused with line and path."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NoReturn, TypeVar

import yaml

from core.errors import InputError, RuleError
from core.incidents import Text
from core.units import parse_duration_s

_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")

_Chosen = TypeVar("_Chosen", bound=StrEnum)
_Item = TypeVar("_Item")


class Node:
    """A YAML node that knows where it is."""

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self.node = node
        self.file = file
        self.path = path

    def refuse(self, found: str) -> NoReturn:
        """Raise with file, line and path."""
        where = f"{self.file}:{self.node.start_mark.line + 1}"
        raise RuleError(f"{where}: {self.path + ': ' if self.path else ''}{found}")

    def _is(self, what: str) -> str:
        tag = self.node.tag.rpartition(":")[2]
        names = {"map": "a mapping", "seq": "a list", "str": "text", "null": "nothing"}
        shown = names.get(tag, tag)
        if isinstance(self.node, yaml.ScalarNode) and tag != "null":
            shown = f"{self.node.value!r} ({shown})"
        return f"found {shown}; {what} is accepted"

    def table(self, *accepted: str) -> TableNode:
        """As a mapping with these keys, or with any if none is named."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(self._is("a mapping"))
        return TableNode(self, self.node, accepted)

    def items(self) -> list[Node]:
        """As a list of at least one."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(self._is("a list of at least one"))
        if not self.node.value:
            self.refuse("found an empty list; a list of at least one is accepted")
        return [
            Node(node, self.file, f"{self.path}[{position}]")
            for position, node in enumerate(self.node.value)
        ]

    def text(self) -> str:
        """As non-empty text; a number must be quoted, for YAML reads 01004 as octal."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(":str"):
            quoted = isinstance(self.node, yaml.ScalarNode) and bool(self.node.value)
            self.refuse(self._is("text" + (" (put it in quotes)" if quoted else "")))
        if not self.node.value.strip():
            self.refuse("found empty text; some words are accepted")
        return str(self.node.value).strip()

    def slug(self) -> str:
        """As a name in small letters, digits and single hyphens."""
        text = self.text()
        if not _SLUG.fullmatch(text):
            self.refuse(f"found {text!r}; small letters, digits and single hyphens are accepted")
        return text

    def flag(self) -> bool:
        """As true or false."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(":bool"):
            self.refuse(self._is("true or false"))
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """As a finite number within bounds."""
        span = "" if low == -math.inf else f" from {low:g}"
        span += "" if high == math.inf else f" to {high:g}"
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(
            (":int", ":float")
        ):
            self.refuse(self._is(f"a number{span}"))
        try:
            number = float(self.node.value.replace("_", ""))
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not low <= number <= high:
            self.refuse(f"found {self.node.value}; a finite decimal number{span} is accepted")
        return number

    def duration_s(self, least_s: float = 0.0) -> float:
        """As a duration with a unit."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.refuse(self._is("a duration like 60s or 3min"))
        try:
            seconds = parse_duration_s(self.node.value)
        except InputError:
            self.refuse(f"found {self.node.value!r}; a duration like 60s or 3min is accepted")
        if seconds < least_s:
            self.refuse(f"found {self.node.value!r}; at least {least_s:g}s is accepted")
        return seconds

    def choice(self, among: type[_Chosen]) -> _Chosen:
        """As one of an enumeration's words."""
        text = self.text()
        try:
            return among(text)
        except ValueError:
            self.refuse(unknown_word(text, [one.value for one in among]))

    def words(self) -> Text:
        """As a text in both languages."""
        table = self.table("zh", "en")
        return Text(table.must("zh", "text").text(), table.must("en", "text").text())


class TableNode:
    """A mapping whose keys are checked before any value is read."""

    def __init__(self, value: Node, node: yaml.MappingNode, accepted: tuple[str, ...]) -> None:
        self._value = value
        self._values: dict[str, Node] = {}
        for key_node, value_node in node.value:
            name = Node(key_node, value.file, value.path).text()
            path = f"{value.path}.{name}" if value.path else name
            if accepted and name not in accepted:
                hint = unknown_word(name, accepted)
                Node(key_node, value.file, path).refuse(f"unknown key; {hint}")
            if name in self._values:
                Node(key_node, value.file, path).refuse("is given twice; once is accepted")
            self._values[name] = Node(value_node, value.file, path)

    def may(self, name: str) -> Node | None:
        """A key's value, or None where it is absent."""
        return self._values.get(name)

    def must(self, name: str, accepted: str) -> Node:
        """A key's value; refuses where it is absent."""
        value = self._values.get(name)
        if value is None:
            path = f"{self._value.path}.{name}" if self._value.path else name
            missing = Node(self._value.node, self._value.file, path)
            missing.refuse(f"is missing; {accepted} is accepted")
        return value

    def items(self) -> list[tuple[str, Node]]:
        """Keys and values in the order of the file."""
        return list(self._values.items())


def unknown_word(found: str, accepted: Iterable[str]) -> str:
    """Tell what was found, what is accepted, and what may have been meant."""
    names = list(dict.fromkeys(accepted))
    near = difflib.get_close_matches(found, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"found {found!r}; accepted: {', '.join(names)}{hint}"


def read_or(value: Node | None, read: Callable[[Node], _Item], default: _Item) -> _Item:
    """What a node reads as; the default where there is none."""
    return default if value is None else read(value)


def texts(value: Node | None) -> tuple[str, ...]:
    """One text or a list of them; none where the key is absent."""
    if value is None:
        return ()
    if isinstance(value.node, yaml.SequenceNode):
        return tuple(item.text() for item in value.items())
    return (value.text(),)
