"""Files that people write: YAML into a typed struct, refused with the line and what is accepted."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
import yaml

from core.errors import InputError

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _Loader(yaml.SafeLoader):
    """Leaves times as the texts that they are: the struct says what they mean."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class has it)
        first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_struct(
    text: str,
    struct: type[_Struct],
    where: str,
    *,
    what: str = "a mapping",
    error: type[InputError] = InputError,
) -> _Struct:
    """Read YAML as a struct; an unknown or repeated key is an error.

    Args:
        text: YAML.
        struct: What it must be.
        where: What to call it in messages, e.g. its path.
        what: What to call what was wanted where there is nothing.
        error: What is raised.

    Raises:
        InputError: Of the class ``error``: it is no YAML, or not such a struct; names the line
            and what is accepted.

    Example:
        >>> class Lens(msgspec.Struct):
        ...     hfov_deg: float
        >>> read_struct("hfov_deg: 70", Lens, "lens.yaml")
        Lens(hfov_deg=70.0)
        >>> class Leave(msgspec.Struct):
        ...     until: str
        >>> read_struct("until: 2026-01-01T00:00:00Z", Leave, "leave.yaml")
        Leave(until='2026-01-01T00:00:00Z')
        >>> read_struct("hfov_deg: wide", Lens, "lens.yaml")
        Traceback (most recent call last):
        ...
        core.errors.InputError: lens.yaml line 1: Expected `float`, got `str` - at `$.hfov_deg`
        >>> read_struct("hfov: 70", Lens, "lens.yaml")
        Traceback (most recent call last):
        ...
        core.errors.InputError: lens.yaml line 1: unknown key 'hfov'; accepted: hfov_deg
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise error(f"{where}: {what} was wanted, the file is empty")
        _check_keys(node, msgspec.inspect.type_info(struct), where, error)
        document = loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as exc:
        raise error(f"{where}: not readable as YAML: {exc}") from exc
    finally:
        loader.dispose()
    try:
        return msgspec.convert(document, struct)
    except msgspec.ValidationError as exc:
        raise error(f"{where} line {_line_of(node, str(exc))}: {exc}") from exc


def _check_keys(
    node: yaml.Node, info: msgspec.inspect.Type, where: str, error: type[InputError]
) -> None:
    """Refuse unknown and repeated keys, with the line; types are checked afterwards."""
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        structs = [one for one in info.types if isinstance(one, msgspec.inspect.StructType)]
        if not structs:
            return
        info = structs[0]
    if isinstance(node, yaml.SequenceNode) and isinstance(
        info, msgspec.inspect.VarTupleType | msgspec.inspect.ListType
    ):
        for item in node.value:
            _check_keys(item, info.item_type, where, error)
    if not isinstance(node, yaml.MappingNode):
        return
    known = (
        {field.encode_name: field.type for field in info.fields}
        if isinstance(info, msgspec.inspect.StructType)
        else None
    )
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise error(f"{where} line {line}: key {key.value!r} comes twice")
        seen.add(key.value)
        if known is None:
            continue
        if key.value not in known:
            raise error(
                f"{where} line {line}: unknown key {key.value!r}; accepted: {', '.join(known)}"
            )
        _check_keys(value, known[key.value], where, error)


def _line_of(node: yaml.Node, message: str) -> int:
    """The line that msgspec's path in a message (``$.layers[0].role``) leads to."""
    found = re.search(r"`\$([^`]*)`", message)
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", found.group(1) if found else ""):
        if index and isinstance(node, yaml.SequenceNode):
            node = node.value[int(index)]
        elif name and isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == name), node)
    return int(node.start_mark.line) + 1
