"""Typed settings of an experiment, read from a ConfigDict.

`configs/` holds the values, each with a comment. `read_settings` rejects a field that is missing,
unknown, of the wrong type or out of range, and names the field. In a union of dataclasses, the
field `family` selects one.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from jaxgan.core.errors import UserError

Settings = TypeVar("Settings")


def read_settings(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Return `cls` filled from a config's nested dict."""
    return _read(cls, values, "config")


def _read(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{path} is {values!r}, expected a group of fields.")
    hints = _get_hints(cls)
    needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    unknown, missing = sorted(set(values) - set(hints)), sorted(needed - set(values))
    if unknown or missing:
        found = [f"{path}.{name} is not known" for name in unknown]
        found += [f"{path}.{name} is missing" for name in missing]
        raise UserError(f"{'; '.join(found)}. The fields are: {', '.join(sorted(hints))}.")
    given = [name for name in hints if name in values]
    fields = {name: _convert(hints[name], values[name], f"{path}.{name}") for name in given}
    try:
        return cls(**fields)
    except UserError as error:  # the message names these fields as if they were at the top level
        raise UserError(str(error).replace("config.", f"{path}.")) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    if families := _list_families(hint):
        return _read(_choose_family(families, value, path), value, path)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(f"{path} is {value!r}, expected one of {', '.join(map(str, choices))}.")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path} is {value!r}, expected a finite number.")
    expected = hint if isinstance(hint, type) else typing.get_origin(hint)
    if expected is tuple and isinstance(value, list):  # JSON has lists only
        return tuple(value)
    is_bool = isinstance(value, bool)
    if not isinstance(value, expected) or (is_bool and expected is not bool):
        raise UserError(f"{path} is {value!r}, expected {_name(expected)}.")
    return types.MappingProxyType(dict(value)) if isinstance(value, Mapping) else value


def _list_families(hint: Any) -> tuple[Any, ...]:
    """Return the dataclasses that a hint allows: itself, the members of a union, or none."""
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return members if all(dataclasses.is_dataclass(member) for member in members) else ()


def _choose_family(families: Sequence[Any], values: Any, path: str) -> Any:
    """Return the dataclass with the `family` of `values`; a single dataclass without asking."""
    if len(families) == 1 or not isinstance(values, Mapping):
        return families[0]  # `_read` then rejects a value that is not a group of fields
    by_name = {family.family: family for family in families}
    found = values.get("family")
    if not isinstance(found, str) or found not in by_name:
        raise UserError(f"{path}.family is {found!r}, expected one of {', '.join(by_name)}.")
    return by_name[found]


def _name(expected: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "a word"}
    return {**names, tuple: "a list"}.get(expected, "a group of fields")


def _get_hints(cls: Any) -> dict[str, Any]:
    """Return the type of every field; types written as strings are resolved."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def to_dict(settings: Any) -> dict[str, Any]:
    """Return settings as plain dicts that JSON can hold."""
    return {
        field.name: _to_plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
    }


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return list(value)  # JSON reads it back as a list
    return dict(value) if isinstance(value, Mapping) else value


def check(name: str, value: Any, good: bool, expected: str) -> None:
    """Raise `UserError` if a field's value is not `good`; `expected` says what is allowed."""
    if not good:
        raise UserError(f"config.{name} is {value!r}, expected {expected}.")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise `UserError` if a field's value is not one of the choices."""
    check(name, value, value in choices, f"one of {', '.join(map(str, choices))}")
