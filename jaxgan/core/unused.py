"""Name the settings that have no effect with the given values of the others.

No setting is ignored in silence. Names are as a user gives them: `config.FIELD` of a config,
`--FLAG` of a launcher. The name of a group of fields means all fields in it.
"""

from collections.abc import Iterable, Mapping

from jaxgan.core.errors import UserError

Unused = Mapping[str, str]  # the reason, by name


def describe_unused(changed: Iterable[str], unused: Unused) -> str | None:
    """Return which of the `changed` names have no effect, and why; None if all have one."""
    by_reason: dict[str, list[str]] = {}
    for name in changed:
        for group, reason in unused.items():
            if name == group or name.startswith(f"{group}."):
                by_reason.setdefault(reason, []).append(name)
                break
    sentences = [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}."
        for reason, names in by_reason.items()
    ]
    return " ".join(sentences) or None


def check_unused(changed: Iterable[str], unused: Unused) -> None:
    """Raise `UserError` if a changed name has no effect."""
    found = describe_unused(changed, unused)
    if found is not None:
        raise UserError(f"{found} Leave out what has no effect.")


def prefix_unused(group: str, unused: Unused) -> dict[str, str]:
    """Return the unused fields of a group, with the names that they have in the full config."""
    return {
        f"{group}.{name}": reason.replace("config.", f"{group}.") for name, reason in unused.items()
    }
