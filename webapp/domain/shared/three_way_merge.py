"""A three-way merge of form fields: as opened, as typed, and as another user stored them in the meantime."""

from collections.abc import Mapping
from typing import NamedTuple


class FieldConflict(NamedTuple):
    """A field that both users changed to different values, as the form shows them. `before` is None if it is not known."""

    field: str
    before: str | None
    theirs: str
    mine: str


class MergeResult(NamedTuple):
    """The result of a merge: `accepted` fields changed only in `theirs`, and `conflicts` need a decision by the user."""

    accepted: tuple[str, ...]
    conflicts: tuple[FieldConflict, ...]


def merge(before: Mapping[str, str], theirs: Mapping[str, str], mine: Mapping[str, str]) -> MergeResult:
    """Compare the fields of `theirs` with `mine`.

    Without a `before` value it is unknown who changed a field, so every difference is a conflict.
    """
    differing = [name for name in theirs if normalize(theirs[name]) != normalize(mine.get(name, ""))]
    accepted = tuple(name for name in differing if name in before and normalize(before[name]) == normalize(mine.get(name, "")))
    unchanged = {name for name in differing if name in before and normalize(before[name]) == normalize(theirs[name])}
    undecided = (name for name in differing if name not in accepted and name not in unchanged)
    return MergeResult(accepted, tuple(FieldConflict(name, before.get(name), theirs[name], mine.get(name, "")) for name in undecided))


def normalize(text: str) -> str:
    """Return the text with uniform line ends and without surrounding space, which browsers and databases write differently."""
    return "\n".join(line.strip() for line in text.strip().splitlines())
