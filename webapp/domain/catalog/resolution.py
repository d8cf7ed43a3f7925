"""Resolution of names to models, in one place. Modeldesk never guesses; similar names become suggestions.

Order: canonical ref, exact alias (bare, or after its provider's slug), bare model id if exactly one model has it. Then the same
for the normalized name (trimmed, lower case, without Google's prefixes, the other spelling of a date). Then the most
specific pattern alias. A name that matches several models at any step is ambiguous.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.shared.errors import AmbiguousModel, UnknownModel

MAX_REF = 300
PREFIXES = ("publishers/google/models/", "models/")
COMPACT_DATE = re.compile(r"-(20[0-9]{2})([01][0-9])([0-3][0-9])(?![0-9])", re.ASCII)
DASHED_DATE = re.compile(r"-(20[0-9]{2})-([01][0-9])-([0-3][0-9])(?![0-9])", re.ASCII)


@dataclass(frozen=True, slots=True)
class ResolutionStep:
    """One step of a resolution: the lookup, its query and the refs that match."""

    name: str
    query: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """All names of all models. `aliases` have exactly one model; `shared_aliases` are claimed by several models."""

    refs: Mapping[str, ModelInfo]
    aliases: Mapping[str, ModelInfo]
    shared_aliases: Mapping[str, tuple[ModelInfo, ...]]
    model_ids: Mapping[str, tuple[ModelInfo, ...]]
    folded: Mapping[str, tuple[ModelInfo, ...]]
    patterns: tuple[tuple[str, ModelInfo], ...]

    def exact_matches(self) -> dict[str, ModelInfo]:
        """Return every name that identifies exactly one model without normalization or patterns, in the order of the rules."""
        unique_ids = {name: models[0] for name, models in self.model_ids.items() if len(models) == 1 and name not in self.shared_aliases}
        return {**unique_ids, **self.aliases, **self.refs}


def index_names(models: Iterable[ModelInfo], patterns: Iterable[tuple[str, str]] = ()) -> NameIndex:
    """Index the names of these models. `patterns` are pairs of a pattern and a canonical ref."""
    refs: dict[str, ModelInfo] = {}
    claims: dict[str, tuple[ModelInfo, ...]] = {}
    bare: dict[str, tuple[ModelInfo, ...]] = {}
    folded: dict[str, tuple[ModelInfo, ...]] = {}
    for model in models:
        refs[model.ref] = model
        bare[model.model_id] = (*bare.get(model.model_id, ()), model)
        for name in _alias_names(model):
            _claim(claims, name, model)
        for name in (model.ref, model.model_id, *_alias_names(model)):
            _claim(folded, name.lower(), model)
    aliases = {name: claimants[0] for name, claimants in claims.items() if len(claimants) == 1}
    shared = {name: claimants for name, claimants in claims.items() if len(claimants) > 1}
    known = ((pattern, refs[ref]) for pattern, ref in patterns if ref in refs)
    ordered = sorted(known, key=lambda entry: _specificity(entry[0]), reverse=True)
    return NameIndex(refs, aliases, shared, bare, folded, tuple(ordered))


def _alias_names(model: ModelInfo) -> Iterator[str]:
    for alias in model.aliases:
        yield alias
        yield f"{model.provider}/{alias}"


def _claim(names: dict[str, tuple[ModelInfo, ...]], name: str, model: ModelInfo) -> None:
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
    forms = [name, COMPACT_DATE.sub(r"-\1-\2-\3", name), DASHED_DATE.sub(r"-\1\2\3", name)]
    return list(dict.fromkeys(forms))


def trace_resolution(names: NameIndex, ref: str) -> tuple[tuple[ModelInfo, ...], tuple[ResolutionStep, ...]]:
    """Return the models that match this ref (one, none or several) and the steps of the resolution."""
    steps: list[ResolutionStep] = []
    if len(ref) > MAX_REF:
        return (), ()
    for step, query, models in _lookups(names, ref):
        steps.append(ResolutionStep(step, query, tuple(model.ref for model in models)))
        if models:
            return models, tuple(steps)
    return (), tuple(steps)


def _lookups(names: NameIndex, ref: str) -> Iterator[tuple[str, str, tuple[ModelInfo, ...]]]:
    yield "canonical ref", ref, _as_tuple(names.refs.get(ref))
    yield "exact alias", ref, _as_tuple(names.aliases.get(ref)) or names.shared_aliases.get(ref, ())
    yield "bare model id", ref, names.model_ids.get(ref, ())
    for form in normal_forms(ref):
        yield "normal form", form, names.folded.get(form, ())
    matches = [(pattern, model) for pattern, model in names.patterns if fnmatchcase(ref, pattern)]
    if matches:
        best = matches[0][0]
        # Equally specific patterns have the same rank. If they match several models, the name is ambiguous.
        models = {model.ref: model for pattern, model in matches if _literal_count(pattern) == _literal_count(best)}
        yield f"pattern {best}", ref, tuple(models.values())


def _as_tuple(model: ModelInfo | None) -> tuple[ModelInfo, ...]:
    return () if model is None else (model,)


def resolve(names: NameIndex, ref: str) -> ModelInfo:
    """Return the one model that matches this ref. Raises `UnknownModel` with suggestions, or `AmbiguousModel` with the candidates."""
    models, _ = trace_resolution(names, ref)
    if not models:
        raise UnknownModel(ref, suggest_refs(names, ref))
    if len(models) > 1:
        raise AmbiguousModel(ref, sorted(model.ref for model in models))
    return models[0]


def suggest_refs(names: NameIndex, ref: str, limit: int = 5) -> list[str]:
    """Return canonical refs that are similar to this one, most similar first. Similarity is the share of common trigrams.

    The cost is linear in the number of models with a small constant, so an unknown name stays cheap in a large registry.
    """
    grams = _trigrams(ref[:MAX_REF].lower().rpartition("/")[2])
    if not grams:
        return []
    scored = [(_similarity(grams, model.model_id.lower()), known) for known, model in names.refs.items()]
    best = sorted((entry for entry in scored if entry[0] >= 0.4), key=lambda entry: (-entry[0], entry[1]))
    return [known for _, known in best[:limit]]


def _trigrams(text: str) -> list[str]:
    return list({text[start : start + 3] for start in range(max(1, len(text) - 2))} - {""})[:64]


def _similarity(grams: Sequence[str], name: str) -> float:
    """Return the share of common trigrams among all trigrams of both names. 1.0 means the same set."""
    common = sum(gram in name for gram in grams)
    return common / (len(grams) + max(1, len(name) - 2) - common)
