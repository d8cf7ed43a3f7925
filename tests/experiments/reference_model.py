"""The reference model of E18: plain dictionaries and the rules in their simplest form. It shares no code with the product."""

from dataclasses import dataclass, field
from datetime import datetime

MILLION = 1_000_000


@dataclass
class LittleModel:
    provider: str
    model_id: str
    type: str
    aliases: frozenset[str]
    active: bool = True
    default: bool = False
    prices: dict[datetime, str | None] = field(default_factory=dict)  # By start time; None means free.
    number: int = 0

    @property
    def ref(self) -> str:
        return f"{self.provider}/{self.model_id}"

    def price_at(self, at: datetime) -> tuple[datetime, str | None] | None:
        started = [start for start in self.prices if start <= at]
        return (max(started), self.prices[max(started)]) if started else None

    def cost_at(self, at: datetime) -> str | None:
        """Return the cost of a million tokens as text, or None if the price is unknown."""
        price = self.price_at(at)
        return None if price is None else price[1] or "0"


@dataclass
class LittleProvider:
    slug: str
    number: int
    active: bool = True
    primary: bool = False


class LittleDesk:
    """The reference registry. Each change returns the status that the product must return, and takes effect only if that is a success."""

    def __init__(self) -> None:
        self.providers: dict[str, LittleProvider] = {}
        self.models: dict[str, LittleModel] = {}
        self.tokens: dict[str, bool] = {}
        self.away = False

    # Changes

    def add_model(self, new: LittleModel) -> int:
        if self.away:
            return 503
        if self._name_is_taken(new) or self._taken_aliases(new, new.aliases):
            return 409
        self.models[new.ref] = new
        return 201

    def _name_is_taken(self, new: LittleModel) -> bool:
        siblings = [model for model in self.models.values() if model.provider == new.provider]
        return new.ref in self.models or any(new.model_id in model.aliases for model in siblings)

    def _taken_aliases(self, owner: LittleModel, aliases: frozenset[str]) -> bool:
        others = [model for model in self.models.values() if model is not owner]
        return any(aliases & ({model.model_id, model.ref} | model.aliases) for model in others)

    def rename(self, model: LittleModel, aliases: frozenset[str]) -> int:
        if self.away:
            return 503
        if self._taken_aliases(model, aliases - model.aliases):
            return 409
        model.aliases = aliases
        return 200

    def toggle_model(self, model: LittleModel) -> int:
        if self.away:
            return 503
        if model.default:
            return 409
        model.active = not model.active
        return 200

    def remove_model(self, model: LittleModel) -> int:
        if self.away:
            return 503
        if model.default or model.prices:
            return 409
        del self.models[model.ref]
        return 204

    def set_default(self, model: LittleModel) -> int:
        if self.away:
            return 503
        if not (model.active and self.providers[model.provider].active):
            return 409
        for candidate in self.models.values():
            if candidate.type == model.type:
                candidate.default = candidate is model
        return 200

    def add_price(self, model: LittleModel, start: datetime, amount: str | None) -> int:
        if self.away:
            return 503
        if start in model.prices:
            return 409
        model.prices[start] = amount
        return 201

    def toggle_provider(self, provider: LittleProvider) -> int:
        if self.away:
            return 503
        holds_default = any(model.default for model in self.models.values() if model.provider == provider.slug)
        if provider.active and (provider.primary or holds_default):
            return 409
        provider.active = not provider.active
        return 200

    def set_primary(self, provider: LittleProvider) -> int:
        if self.away:
            return 503
        if not provider.active:
            return 409
        for candidate in self.providers.values():
            candidate.primary = candidate is provider
        return 200

    # Queries

    def named(self, name: str) -> tuple[int, str | None]:
        """Return the response status for a name, and the ref that it resolves to."""
        if name in self.models:
            return 200, name
        for active in (True, False):  # Inactive models have only the names that no active model has.
            models = [model for model in self.models.values() if model.active is active]
            for matches in (
                [model for model in models if name in model.aliases or name in {f"{model.provider}/{alias}" for alias in model.aliases}],
                [model for model in models if model.model_id == name],
            ):
                if matches:
                    return (200, matches[0].ref) if len(matches) == 1 else (409, None)
        return 404, None

    def defaults(self) -> dict[str, str]:
        return {model.type: model.ref for model in self.models.values() if model.default}

    def state(self, now: datetime) -> dict[str, tuple]:
        """Return the state of every model in a snapshot."""
        return {ref: self._said(model, now) for ref, model in self.models.items()}

    def _said(self, model: LittleModel, now: datetime) -> tuple:
        price = model.price_at(now)
        usable = model.active and self.providers[model.provider].active
        return model.active, model.default, usable, model.aliases, price and price[0], frozenset(model.prices)

    def costs(self, now: datetime) -> dict[str, str | None]:
        return {ref: model.cost_at(now) for ref, model in self.models.items()}
