"""Resolution, once: how a name becomes a model, or why it does not. Nothing is ever guessed; look-alikes become suggestions.

Order: canonical ref, exact alias (bare, or behind its provider's slug), bare model id if exactly one model has it; then the same
for the name in its normal form (trimmed, lower case, without Google's prefixes, the other spelling of a date); then the most
specific pattern alias. A name that leads to several models at any step is ambiguous.
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
    """One step of a resolution: what was looked up, and what came of it."""

    name: str
    query: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """All names of all models. `aliases` holds those that lead to one model, `shared` those that several models claim."""

    refs: Mapping[str, ModelInfo]
    aliases: Mapping[str, ModelInfo]
    shared_aliases: Mapping[str, tuple[ModelInfo, ...]]
    model_ids: Mapping[str, tuple[ModelInfo, ...]]
    folded: Mapping[str, tuple[ModelInfo, ...]]
    patterns: tuple[tuple[str, ModelInfo], ...]

    def exact_matches(self) -> dict[str, ModelInfo]:
        """Every name that leads to one model at once, by the order of the rules."""
        alone = {name: models[0] for name, models in self.model_ids.items() if len(models) == 1 and name not in self.shared_aliases}
        return {**alone, **self.aliases, **self.refs}


def index_names(models: Iterable[ModelInfo], patterns: Iterable[tuple[str, str]] = ()) -> NameIndex:
    """Indexes the names of these models; `patterns` are pairs of a pattern and a canonical ref."""
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
    aliases = {name: found[0] for name, found in claims.items() if len(found) == 1}
    shared = {name: found for name, found in claims.items() if len(found) > 1}
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
    """The more literal characters a pattern has, the more it says."""
    return len(pattern) - pattern.count("*") - pattern.count("?")


def normal_forms(ref: str) -> list[str]:
    """The spellings that mean the same name: trimmed, lower case, without prefixes, with either spelling of a date."""
    name = ref.strip().lower()
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    forms = [name, COMPACT_DATE.sub(r"-\1-\2-\3", name), DASHED_DATE.sub(r"-\1\2\3", name)]
    return list(dict.fromkeys(forms))


def trace(names: NameIndex, ref: str) -> tuple[tuple[ModelInfo, ...], tuple[ResolutionStep, ...]]:
    """The models that answer to this ref (one, none or several) and the steps that led there."""
    steps: list[ResolutionStep] = []
    if len(ref) > MAX_REF:
        return (), ()
    for step, looked_for, found in _lookups(names, ref):
        steps.append(ResolutionStep(step, looked_for, tuple(model.ref for model in found)))
        if found:
            return found, tuple(steps)
    return (), tuple(steps)


def _lookups(names: NameIndex, ref: str) -> Iterator[tuple[str, str, tuple[ModelInfo, ...]]]:
    yield "canonical ref", ref, _as_tuple(names.refs.get(ref))
    yield "exact alias", ref, _as_tuple(names.aliases.get(ref)) or names.shared_aliases.get(ref, ())
    yield "bare model id", ref, names.model_ids.get(ref, ())
    for form in normal_forms(ref):
        yield "normal form", form, names.folded.get(form, ())
    fitting = [(pattern, model) for pattern, model in names.patterns if fnmatchcase(ref, pattern)]
    if fitting:
        best = fitting[0][0]
        # Of patterns that say equally much, none is better: if they lead to several models, the name is ambiguous.
        found = {model.ref: model for pattern, model in fitting if _literal_count(pattern) == _literal_count(best)}
        yield f"pattern {best}", ref, tuple(found.values())


def _as_tuple(model: ModelInfo | None) -> tuple[ModelInfo, ...]:
    return () if model is None else (model,)


def resolve(names: NameIndex, ref: str) -> ModelInfo:
    """The one model that answers to this ref. Raises `UnknownModel` with suggestions, or `AmbiguousModel` with the candidates."""
    found, _ = trace(names, ref)
    if not found:
        raise UnknownModel(ref, suggest_refs(names, ref))
    if len(found) > 1:
        raise AmbiguousModel(ref, sorted(model.ref for model in found))
    return found[0]


def suggest_refs(names: NameIndex, ref: str, limit: int = 5) -> list[str]:
    """Canonical refs that look like this one, the most alike first: those that share most runs of three characters.

    Linear in the number of models with a small constant, so that a wrong name stays cheap in a large registry.
    """
    wanted = _trigrams(ref[:MAX_REF].lower().rpartition("/")[2])
    if not wanted:
        return []
    scored = [(_similarity(wanted, model.model_id.lower()), known) for known, model in names.refs.items()]
    best = sorted((entry for entry in scored if entry[0] >= 0.4), key=lambda entry: (-entry[0], entry[1]))
    return [known for _, known in best[:limit]]


def _trigrams(text: str) -> list[str]:
    return list({text[start : start + 3] for start in range(max(1, len(text) - 2))} - {""})[:64]


def _similarity(wanted: Sequence[str], name: str) -> float:
    """The share of common runs, of all runs of both; 1.0 is the same set."""
    common = sum(gram in name for gram in wanted)
    return common / (len(wanted) + max(1, len(name) - 2) - common)
