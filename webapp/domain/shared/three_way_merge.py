"""Three versions of one form: as it was opened, as it is typed, and as somebody else stored it meanwhile."""

from collections.abc import Mapping
from typing import NamedTuple


class FieldConflict(NamedTuple):
    """A field that both have changed, each to something else. Texts as the form shows them; `before` is None where it is not known."""

    field: str
    before: str | None
    theirs: str
    mine: str


class MergeResult(NamedTuple):
    """What to do with each field: `taken` are those that only the others changed, `clashes` those that a person has to decide."""

    accepted: tuple[str, ...]
    conflicts: tuple[FieldConflict, ...]


def merge(before: Mapping[str, str], theirs: Mapping[str, str], mine: Mapping[str, str]) -> MergeResult:
    """Compares the fields of `theirs`. Without a `before` nobody knows who changed a field, so whatever differs is a clash."""
    differing = [name for name in theirs if normalize(theirs[name]) != normalize(mine.get(name, ""))]
    taken = tuple(name for name in differing if name in before and normalize(before[name]) == normalize(mine.get(name, "")))
    kept = {name for name in differing if name in before and normalize(before[name]) == normalize(theirs[name])}
    asked = (name for name in differing if name not in taken and name not in kept)
    return MergeResult(taken, tuple(FieldConflict(name, before.get(name), theirs[name], mine.get(name, "")) for name in asked))


def normalize(text: str) -> str:
    """One spelling of what a browser and a database write differently: line ends, and space around."""
    return "\n".join(line.strip() for line in text.strip().splitlines())
