"""The desk as E18 thinks it is: plain dictionaries and the rules in their simplest form. It shares no line with the product."""

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
    prices: dict[datetime, str | None] = field(default_factory=dict)  # From when on; None is free.
    number: int = 0

    @property
    def ref(self) -> str:
        return f"{self.provider}/{self.model_id}"

    def price_at(self, moment: datetime) -> tuple[datetime, str | None] | None:
        begun = [start for start in self.prices if start <= moment]
        return (max(begun), self.prices[max(begun)]) if begun else None

    def cost_at(self, moment: datetime) -> str | None:
        """What a million tokens cost, as text; None if nobody knows."""
        found = self.price_at(moment)
        return None if found is None else found[1] or "0"


@dataclass
class LittleProvider:
    slug: str
    number: int
    active: bool = True
    primary: bool = False


class LittleDesk:
    """Each change gives the status that the desk must answer with, and happens only if that is a success."""

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
        family = [model for model in self.models.values() if model.provider == new.provider]
        return new.ref in self.models or any(new.model_id in model.aliases for model in family)

    def _taken_aliases(self, own: LittleModel, wanted: frozenset[str]) -> bool:
        others = [model for model in self.models.values() if model is not own]
        return any(wanted & ({model.model_id, model.ref} | model.aliases) for model in others)

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
        for other in self.models.values():
            if other.type == model.type:
                other.default = other is model
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
        for other in self.providers.values():
            other.primary = other is provider
        return 200

    # Questions

    def named(self, name: str) -> tuple[int, str | None]:
        """The status of the answer to a name, and the ref that it leads to."""
        if name in self.models:
            return 200, name
        models = list(self.models.values())
        for found in (
            [model for model in models if name in model.aliases or name in {f"{model.provider}/{alias}" for alias in model.aliases}],
            [model for model in models if model.model_id == name],
        ):
            if found:
                return (200, found[0].ref) if len(found) == 1 else (409, None)
        return 404, None

    def defaults(self) -> dict[str, str]:
        return {model.type: model.ref for model in self.models.values() if model.default}

    def state(self, now: datetime) -> dict[str, tuple]:
        """All that a snapshot says of the models."""
        return {ref: self._said(model, now) for ref, model in self.models.items()}

    def _said(self, model: LittleModel, now: datetime) -> tuple:
        price = model.price_at(now)
        usable = model.active and self.providers[model.provider].active
        return model.active, model.default, usable, model.aliases, price and price[0], frozenset(model.prices)

    def costs(self, now: datetime) -> dict[str, str | None]:
        return {ref: model.cost_at(now) for ref, model in self.models.items()}
