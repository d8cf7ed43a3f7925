"""Prices of other models of a provider, for the questions about an imported price."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.costing.price_sanity import NamedPrice
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.models import Model, Price
from webapp.services.pricing import prices

MAX_SIBLINGS = 200  # Of a larger provider, evenly spread ones are compared: each imported price meets all of them.


class _Sibling(NamedTuple):
    model_id: int
    name: str
    history: tuple[PriceValue, ...]


class SiblingPrices:
    """The prices that each provider had before an import. They are read once, when the first price of the provider and type is added."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._siblings: dict[tuple[int, str], list[_Sibling]] = {}

    def list_at(self, model: Model, at: datetime) -> list[NamedPrice]:
        """Return the prices at this time of the other models of the same provider and type."""
        key = (model.provider_id, model.type)
        if key not in self._siblings:
            self._siblings[key] = self._read(*key)
        current = ((sibling, price_at(sibling.history, at)) for sibling in self._siblings[key] if sibling.model_id != model.id)
        return [NamedPrice(sibling.name, price) for sibling, price in current if price is not None and price.state == "priced"]

    def _read(self, provider_id: int, model_type: str) -> list[_Sibling]:
        query = select(Model).where(Model.provider_id == provider_id, Model.type == model_type).order_by(Model.id)
        rows = self._session.execute(query.options(selectinload(Model.prices).selectinload(Price.rates))).scalars().all()
        rows = rows[:: 1 + len(rows) // MAX_SIBLINGS]
        return [_Sibling(row.id, row.display_name, timeline(map(prices.to_domain, row.prices))) for row in rows]
