"""Prices of other models of a provider, for the questions about an imported price."""

from datetime import datetime
from typing import NamedTuple

from cachetools import LRUCache
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.costing.sibling_rates import SiblingPrice, SiblingRates
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.models import Model, Price
from webapp.services.pricing import prices

MAX_CACHED_TIMES = 16  # The prices of an import start at few different times, but every price meets all siblings.


class _Sibling(NamedTuple):
    model_id: int
    name: str
    history: tuple[PriceValue, ...]


class SiblingPrices:
    """The prices that each provider had before an import. They are read once, when the first price of the provider and type is added."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._siblings: dict[tuple[int, str], list[_Sibling]] = {}
        self._rates: LRUCache[tuple[int, str, datetime], SiblingRates] = LRUCache(MAX_CACHED_TIMES)

    def rates_at(self, model: Model, at: datetime) -> SiblingRates:
        """Return the rates at this time of the other models of the same provider and type."""
        provider_id = model.provider.id  # A new model has no `provider_id` yet.
        key = (provider_id, model.type, at)
        if key not in self._rates:
            current = ((sibling, price_at(sibling.history, at)) for sibling in self._list_siblings(provider_id, model.type))
            self._rates[key] = SiblingRates(SiblingPrice(row.name, price, row.model_id) for row, price in current if price)
        return self._rates[key].excluding(model.id)

    def _list_siblings(self, provider_id: int, model_type: str) -> list[_Sibling]:
        key = (provider_id, model_type)
        if key not in self._siblings:
            query = select(Model).where(Model.provider_id == provider_id, Model.type == model_type).order_by(Model.id)
            rows = self._session.execute(query.options(selectinload(Model.prices).selectinload(Price.rates))).scalars()
            self._siblings[key] = [_Sibling(row.id, row.display_name, timeline(map(prices.to_domain, row.prices))) for row in rows]
        return self._siblings[key]
