"""All names of models in memory: which are taken, and which model a successor names. Changes are applied to it as they are planned."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from webapp.domain.catalog.name_changes import ModelNames


class NamedModel(NamedTuple):
    """A model of the book: its names, and the name of its successor."""

    names: ModelNames
    successor: str | None = None

    @property
    def ref(self) -> str:
        return self.names.ref


class NameBook:
    """The names of all models. The key of a model is its id, or the row itself before it has one."""

    def __init__(self, models: Iterable[NamedModel]) -> None:
        self._models: dict[Hashable, NamedModel] = {}
        self._by_ref: dict[str, Hashable] = {}
        self._by_alias: dict[str, Hashable] = {}
        self._by_id: dict[str, dict[Hashable, None]] = defaultdict(dict)
        self._by_folded_id: dict[tuple[str, str], dict[Hashable, None]] = defaultdict(dict)
        for model in models:
            self.put(model)

    def put(self, model: NamedModel) -> None:
        """Add a model, or replace its names."""
        names = model.names
        self.remove(names.key)
        self._models[names.key] = model
        self._by_ref[names.ref] = names.key
        self._by_id[names.model_id][names.key] = None
        self._by_folded_id[names.provider, names.model_id.lower()][names.key] = None
        self._by_alias |= dict.fromkeys((*names.aliases, *names.patterns), names.key)

    def remove(self, key: object) -> None:
        """Remove a model, if it is there."""
        model = self._models.pop(key, None)
        if model is None:
            return
        names = model.names
        if self._by_ref.get(names.ref) == key:
            del self._by_ref[names.ref]
        del self._by_id[names.model_id][key]
        del self._by_folded_id[names.provider, names.model_id.lower()][key]
        for alias in (*names.aliases, *names.patterns):
            if self._by_alias.get(alias) == key:
                del self._by_alias[alias]

    def rename_provider(self, old_slug: str, new_slug: str) -> None:
        for model in [model for model in self._models.values() if model.names.provider == old_slug]:
            self.put(model._replace(names=model.names._replace(provider=new_slug)))

    def has(self, key: object) -> bool:
        return key in self._models

    def all_names(self) -> list[ModelNames]:
        return [model.names for model in self._models.values()]

    def get_or_none(self, ref: str) -> ModelNames | None:
        """Return the model with this canonical ref."""
        key = self._by_ref.get(ref)
        return None if key is None else self._models[key].names

    def holder_or_none(self, alias: str) -> ModelNames | None:
        """Return the model that has this alias or pattern."""
        key = self._by_alias.get(alias)
        return None if key is None else self._models[key].names

    def with_id(self, model_id: str) -> list[ModelNames]:
        """Return the models of all providers that have this id."""
        return [self._models[key].names for key in self._by_id.get(model_id, ())]

    def similar_ids(self, provider: str, model_id: str) -> list[str]:
        """Return the ids of this provider that are the same except for case."""
        return [self._models[key].names.model_id for key in self._by_folded_id.get((provider, model_id.lower()), ())]

    # Successors.

    def predecessors(self, model: ModelNames) -> list[str]:
        """Return the refs of the other models whose successor is this one, named by its ref or by its id within its provider."""
        return [
            predecessor.ref
            for predecessor in self._models.values()
            if predecessor.names.key != model.key and _is_succeeded_by(predecessor, model)
        ]

    def successor_loop(self, key: object) -> list[str]:
        """Return the refs of the chain of successors from this model back to it, or an empty list if it does not return."""
        chain = [self._models[key]]
        while (successor := self._successor_or_none(chain[-1])) is not None and successor not in chain[1:]:
            if successor.names.key == key:
                return [model.ref for model in (*chain, successor)]
            chain.append(successor)
        return []

    def _successor_or_none(self, model: NamedModel) -> NamedModel | None:
        """Return the model that the successor names: a ref, an id of the same provider, an alias, or an id of another provider."""
        name = model.successor
        if not name:
            return None
        matches = (self.get_or_none(name), *self.with_id(name), self.holder_or_none(name))
        candidates: Sequence[ModelNames] = [names for names in matches if names is not None]

        def preference(names: ModelNames) -> tuple[bool, ...]:
            return names.ref != name, names.ref != f"{model.names.provider}/{name}", names.model_id == name

        best = min(candidates, key=preference, default=None)
        return self._models[best.key] if best else None


def _is_succeeded_by(predecessor: NamedModel, model: ModelNames) -> bool:
    in_provider = predecessor.successor == model.model_id and predecessor.names.provider == model.provider
    return in_provider or predecessor.successor == model.ref
