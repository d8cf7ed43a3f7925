"""Names that a change gives another meaning: they become ambiguous, or lead to another model. A person must confirm them.

Only the names of changed models, and other spellings of these names, can get another meaning. The rest of the registry is only compared
with them, in one pass.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import NameIndex, index_names, normal_forms, trace_resolution
from webapp.domain.shared.errors import Confirmation

SIMILAR_ID, NAMES_CHANGE = "similar_id", "names_change"
MAX_NAMED = 10  # A message states no more of the names. `changes` has all of them.
OTHER_SPELLING = "models/"  # A name with this prefix is always looked up in its normal form.
NEVER = datetime.min.replace(tzinfo=UTC)


class ModelNames(NamedTuple):
    """The names of one model. `key` identifies the model before and after a change, also if its ref changes."""

    key: object
    provider: str
    model_id: str
    active: bool
    aliases: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()

    @property
    def ref(self) -> str:
        return f"{self.provider}/{self.model_id}"

    def names(self) -> Iterator[str]:
        yield self.ref
        yield self.model_id
        for alias in self.aliases:
            yield alias
            yield f"{self.provider}/{alias}"


@dataclass(frozen=True, slots=True)
class NameChange:
    """A name that led to the model `before` and would lead to `after`: the ref of another model, or several refs (ambiguous).

    `active` is whether the model `before` was active. `recent_calls` counts its calls of the last 30 days, by any of its names.
    """

    name: str
    before: str
    after: tuple[str, ...]
    active: bool
    recent_calls: int = field(default=0, compare=False)

    def __str__(self) -> str:
        effect = f"would be ambiguous ({', '.join(self.after)})" if len(self.after) > 1 else f"would mean {self.after[0]}"
        return f"{self.name} means {self.before} and {effect}"


def find_name_changes(before: Collection[ModelNames], after: Collection[ModelNames]) -> list[NameChange]:
    """Return the names that led to one model before and lead to another one, or to several, after. Sorted by name.

    A name that leads nowhere after the change is left out: calls by it fail, and never get the price of another model.
    """
    old, new = {model.key: model for model in before}, {model.key: model for model in after}
    touched = [model for rows, others in ((old, new), (new, old)) for key, model in rows.items() if others.get(key) != model]
    if not touched:
        return []
    seeds = _touched_names(touched, before)
    forms = {form for name in seeds for form in (name.lower(), *normal_forms(name))}
    sides = _Side.of(before, forms), _Side.of(after, forms)
    names = seeds | {name for side in sides for model in side.models for name in model.names() if name.lower() in forms}
    changes = {name: change for name in names if (change := _compare(name, *sides))}
    bare_names = {name for model in touched for name in (model.model_id, *model.aliases)}
    spellings = {OTHER_SPELLING + form for name in bare_names for form in normal_forms(name) if form not in changes}
    changes |= {name: change for name in spellings if (change := _compare(name, *sides))}
    return [changes[name] for name in sorted(changes)]


def _touched_names(touched: Iterable[ModelNames], before: Iterable[ModelNames]) -> set[str]:
    """Return the names and patterns of these models, and the names of inactive models that yield to one of the patterns."""
    patterns = {pattern for model in touched for pattern in model.patterns}
    names = {name for model in touched for name in model.names()} | patterns
    if patterns:
        inactive = (name for model in before if not model.active for name in model.names())
        names |= {name for name in inactive if any(fnmatchcase(name, pattern) for pattern in patterns)}
    return names


class _Side(NamedTuple):
    """The models before or after a change that can have one of the compared names."""

    models: tuple[ModelNames, ...]
    by_ref: Mapping[str, ModelNames]
    lookup: NameIndex

    @classmethod
    def of(cls, models: Iterable[ModelNames], forms: Collection[str]) -> "_Side":
        relevant = tuple(model for model in models if model.patterns or any(name.lower() in forms for name in model.names()))
        patterns = [(pattern, model.ref) for model in relevant for pattern in model.patterns]
        return cls(relevant, {model.ref: model for model in relevant}, index_names(map(_as_info, relevant), patterns))

    def find(self, name: str) -> tuple[ModelNames, ...]:
        return tuple(self.by_ref[model.ref] for model in trace_resolution(self.lookup, name)[0])


def _as_info(model: ModelNames) -> ModelInfo:
    aliases = tuple(model.aliases)
    return ModelInfo(model.ref, model.provider, model.model_id, "", "", NEVER, active=model.active, aliases=aliases)


def _compare(name: str, old: _Side, new: _Side) -> NameChange | None:
    before = old.find(name)
    after = new.find(name) if len(before) == 1 else ()
    if not after or [model.key for model in after] == [before[0].key]:
        return None
    return NameChange(name, before[0].ref, tuple(sorted(model.ref for model in after)), before[0].active)


# What a person must confirm.


@dataclass(frozen=True, slots=True)
class NamesConfirmation(Confirmation):
    """The names in use that a change gives another meaning. The key confirms exactly this list."""

    changes: tuple[NameChange, ...] = ()

    @property
    def key(self) -> str:
        return hashlib.sha256("\n".join((self.code, *sorted(map(str, self.changes)))).encode()).hexdigest()[:24]

    def document(self) -> dict[str, object]:
        names = [
            {"name": change.name, "before": change.before, "after": list(change.after), "recent_calls": change.recent_calls}
            for change in self.changes
        ]
        return {"code": self.code, "message": self.message, "key": self.key, "names": names}


def names_confirmations(changes: Sequence[NameChange]) -> list[Confirmation]:
    """Return one confirmation for all of these names, or none if there is no name."""
    if not changes:
        return []
    count, rest = len(changes), len(changes) - MAX_NAMED
    subject = "1 name in use gets another meaning" if count == 1 else f"{count:,} names in use get another meaning"
    details = "; ".join(map(str, changes[:MAX_NAMED])) + (f"; and {rest:,} more" if rest > 0 else "")
    return [NamesConfirmation(NAMES_CHANGE, f"{subject}: {details}.", tuple(changes))]


def combine_confirmations(confirmations: Sequence[Confirmation]) -> list[Confirmation]:
    """Return one confirmation for all of these of one code, or none if there is none."""
    return [Confirmation(confirmations[0].code, " ".join(row.message for row in confirmations))] if confirmations else []


def similar_id_confirmations(model_id: str, other_ids: Iterable[str]) -> list[Confirmation]:
    """Return a confirmation for each other id of the same provider that differs from `model_id` only in case."""
    folded = model_id.lower()
    similar_ids = sorted({existing_id for existing_id in other_ids if existing_id != model_id and existing_id.lower() == folded})
    return [
        Confirmation(SIMILAR_ID, f"{model_id} differs from {similar_id}, a model of this provider, only in case. They are two models.")
        for similar_id in similar_ids
    ]
