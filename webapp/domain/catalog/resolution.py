"""Resolution of names to models, in one place. Modeldesk never guesses; similar names become suggestions.

Order: canonical ref, exact alias (bare, or after its provider's slug), bare model id if exactly one model has it. Then the same
for the normalized name (trimmed, lower case, without Google's prefixes, the other spelling of a date). Then the most
specific pattern alias. A name that matches several models at any step is ambiguous.

Only active models compete for a name. An inactive model always has its canonical ref. Its aliases and its bare id count only if no
active model matches the name, so adding inactive models never changes the meaning of a name in use. The same holds for patterns.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.vendor_names import fine_tune_hint, plain_forms, provider_likeness, version_spellings
from webapp.domain.shared.errors import AmbiguousModel, UnknownModel

MAX_REF = 300
PREFIXES = ("publishers/google/models/", "models/")
COMPACT_DATE = re.compile(r"-(20[0-9]{2})([01][0-9])([0-3][0-9])(?![0-9])", re.ASCII)
DASHED_DATE = re.compile(r"-(20[0-9]{2})-([01][0-9])-([0-3][0-9])(?![0-9])", re.ASCII)

Matches = tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class ResolutionStep:
    """One step of a resolution: the lookup, its query and the refs that match."""

    name: str
    query: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameTable:
    """Aliases and bare ids of models that compete with each other. The keys of the folded tables are in lower case."""

    aliases: dict[str, Matches] = field(default_factory=dict)
    model_ids: dict[str, Matches] = field(default_factory=dict)
    folded_aliases: dict[str, Matches] = field(default_factory=dict)
    folded_ids: dict[str, Matches] = field(default_factory=dict)
    patterns: list[tuple[str, ModelInfo]] = field(default_factory=list)

    def add(self, model: ModelInfo) -> None:
        _claim(self.model_ids, model.model_id, model)
        _claim(self.folded_ids, model.model_id.lower(), model)
        for name in _alias_names(model):
            _claim(self.aliases, name, model)
            _claim(self.folded_aliases, name.lower(), model)

    def find(self, name: str) -> Matches:
        """Return the models that have this name as an alias or a bare id, in any equivalent spelling."""
        forms = normal_forms(name)
        lookups = (self.find_exact(name), *(self.find_exact(form) or self.find_folded(form) for form in forms))
        return next(filter(None, lookups), ())

    def find_exact(self, name: str) -> Matches:
        return self.aliases.get(name) or self.model_ids.get(name, ())

    def find_folded(self, form: str) -> Matches:
        return self.folded_aliases.get(form) or self.folded_ids.get(form, ())

    def unique_names(self) -> Iterator[tuple[str, ModelInfo]]:
        """Yield the exact names that identify one model."""
        for name, models in (self.model_ids | self.aliases).items():
            if len(models) == 1:
                yield name, models[0]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """All names of all models: canonical refs, and the aliases and bare ids of active and of inactive models."""

    refs: dict[str, ModelInfo]
    folded_refs: dict[str, Matches]
    active: NameTable
    inactive: NameTable

    def exact_matches(self) -> dict[str, ModelInfo]:
        """Return every name that identifies exactly one model without normalization or patterns, in the order of the rules."""
        inactive = {name: model for name, model in self.inactive.unique_names() if not self._is_taken(name)}
        return {**inactive, **dict(self.active.unique_names()), **self.refs}

    @property
    def model_ids(self) -> Mapping[str, Matches]:
        """The bare ids that active models compete for."""
        return self.active.model_ids

    def _is_taken(self, name: str) -> bool:
        """Return whether a canonical ref or an active model matches the name before any inactive model does."""
        return bool(self.active.find(name)) or any(form in self.folded_refs for form in normal_forms(name))


def index_names(
    models: Iterable[ModelInfo], patterns: Iterable[tuple[str, str]] = (), active_refs: Collection[str] | None = None
) -> NameIndex:
    """Index the names of these models. `patterns` are pairs of a pattern and a canonical ref.

    `active_refs` are the models that compete for names, if they are not the active ones of `models`.
    """
    names = NameIndex({}, {}, NameTable(), NameTable())
    competitors: set[str] = set()
    for model in models:
        names.refs[model.ref] = model
        _claim(names.folded_refs, model.ref.lower(), model)
        if model.active if active_refs is None else model.ref in active_refs:
            competitors.add(model.ref)
        (names.active if model.ref in competitors else names.inactive).add(model)
    known = ((pattern, names.refs[ref]) for pattern, ref in patterns if ref in names.refs)
    for pattern, model in sorted(known, key=lambda entry: _specificity(entry[0]), reverse=True):
        (names.active if model.ref in competitors else names.inactive).patterns.append((pattern, model))
    return names


def _alias_names(model: ModelInfo) -> Iterator[str]:
    for alias in model.aliases:
        yield alias
        yield f"{model.provider}/{alias}"


def _claim(names: dict[str, Matches], name: str, model: ModelInfo) -> None:
    known = names.get(name, ())
    if model not in known:
        names[name] = (*known, model)


def _specificity(pattern: str) -> tuple[int, str]:
    return _literal_count(pattern), pattern


def _literal_count(pattern: str) -> int:
    """Return the number of literal characters. A pattern with more of them is more specific."""
    return len(pattern) - pattern.count("*") - pattern.count("?")


def normal_forms(ref: str) -> list[str]:
    """Return the equivalent spellings of a name: trimmed, lower case, without prefixes, with both spellings of a date."""
    name = ref.strip().lower()
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    if "-20" not in name:
        return [name]
    forms = [name, COMPACT_DATE.sub(r"-\1-\2-\3", name), DASHED_DATE.sub(r"-\1\2\3", name)]
    return list(dict.fromkeys(forms))


def trace_resolution(names: NameIndex, ref: str) -> tuple[Matches, tuple[ResolutionStep, ...]]:
    """Return the models that match this ref (one, none or several) and the steps of the resolution."""
    steps: list[ResolutionStep] = []
    if len(ref) > MAX_REF:
        return (), ()
    for step, query, models in _lookups(names, ref):
        steps.append(ResolutionStep(step, query, tuple(model.ref for model in models)))
        if models:
            return models, tuple(steps)
    return (), tuple(steps)


def _lookups(names: NameIndex, ref: str) -> Iterator[tuple[str, str, Matches]]:
    yield from _name_lookups(names, ref)
    yield from _pattern_lookups(names.active, ref)
    yield from _inactive_lookup(names, ref)
    yield from _pattern_lookups(names.inactive, ref)


def _name_lookups(names: NameIndex, ref: str) -> Iterator[tuple[str, str, Matches]]:
    yield "canonical ref", ref, _as_tuple(names.refs.get(ref))
    yield "exact alias", ref, names.active.aliases.get(ref, ())
    yield "bare model id", ref, names.model_ids.get(ref, ())
    for form in normal_forms(ref):
        matches = _as_tuple(names.refs.get(form)) or names.active.find_exact(form)
        yield "normal form", form, matches or names.folded_refs.get(form) or names.active.find_folded(form)


def _inactive_lookup(names: NameIndex, ref: str) -> Iterator[tuple[str, str, Matches]]:
    if names.inactive.model_ids:
        yield "name of an inactive model", ref, names.inactive.find(ref)


def _pattern_lookups(table: NameTable, ref: str) -> Iterator[tuple[str, str, Matches]]:
    matches = [(pattern, model) for pattern, model in table.patterns if fnmatchcase(ref, pattern)]
    if matches:
        best = matches[0][0]
        # Equally specific patterns have the same rank. If they match several models, the name is ambiguous.
        models = {model.ref: model for pattern, model in matches if _literal_count(pattern) == _literal_count(best)}
        yield f"pattern {best}", ref, tuple(models.values())


def _as_tuple(model: ModelInfo | None) -> Matches:
    return () if model is None else (model,)


def resolve(names: NameIndex, ref: str) -> ModelInfo:
    """Return the one model that matches this ref. Raises `UnknownModel` with suggestions, or `AmbiguousModel` with the candidates."""
    models, _ = trace_resolution(names, ref)
    if not models:
        raise UnknownModel(ref, suggest_refs(names, ref), fine_tune_hint(ref))
    if len(models) > 1:
        raise AmbiguousModel(ref, sorted(model.ref for model in models))
    return models[0]


def suggest_refs(names: NameIndex, ref: str, limit: int = 5) -> list[str]:
    """Return canonical refs for which this name could be another spelling, most likely first. They never set a price.

    First come the models that have the name without vendors' decoration. Then come similar names, by the share of common trigrams.
    The cost is linear in the number of names with a small constant, so an unknown name stays cheap in a large registry.
    """
    forms = plain_forms(ref[:MAX_REF])
    spellings = [spelling for form in forms for spelling in version_spellings(form)]
    exact = [model for spelling in spellings for model in _most_likely(_find_by_name(names, spelling), ref)]
    refs = dict.fromkeys(model.ref for model in sorted(exact, key=lambda model: not model.active))
    grams = _trigrams(forms[-1].rpartition("/")[2]) if forms else []
    if grams and len(refs) < limit:
        refs |= dict.fromkeys(_similar_refs(names, grams))
    return list(refs)[:limit]


def _find_by_name(names: NameIndex, name: str) -> Matches:
    lookups = (*_name_lookups(names, name), *_inactive_lookup(names, name))
    return next((models for _, _, models in lookups if models), ())


def _most_likely(models: Matches, ref: str) -> list[ModelInfo]:
    """Return the models with those first whose provider the ref spells in some way."""
    return sorted(models, key=lambda model: (-provider_likeness(ref, model.provider), model.ref))


def _similar_refs(names: NameIndex, grams: Sequence[str]) -> list[str]:
    scored = [(_best_similarity(grams, model), not model.active, ref) for ref, model in names.refs.items()]
    best = sorted((entry for entry in scored if entry[0] >= 0.4), key=lambda entry: (-entry[0], *entry[1:]))
    return [ref for _, _, ref in best]


def _best_similarity(grams: Sequence[str], model: ModelInfo) -> float:
    return max(_similarity(grams, name.lower()) for name in (model.model_id, *model.aliases))


def _trigrams(text: str) -> list[str]:
    return list({text[start : start + 3] for start in range(max(1, len(text) - 2))} - {""})[:64]


def _similarity(grams: Sequence[str], name: str) -> float:
    """Return the share of common trigrams among all trigrams of both names. 1.0 means the same set."""
    common = sum(gram in name for gram in grams)
    return common / (len(grams) + max(1, len(name) - 2) - common)
