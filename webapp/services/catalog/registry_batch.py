"""A batch of registry changes in one transaction: rows and names are read once, and new rows and audit events are written together.

Services open a batch for each change. In a batch that is already open, they share it: so a change of one model and an import of thousands
follow the same rules, and only the outermost batch writes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.catalog.name_changes import ModelNames
from webapp.models import Base, Model, ModelAlias, Price, Project, ProjectOverride, Provider
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.catalog.name_book import NameBook, NamedModel

OPEN = "registry_batch"
LOAD_SIZE = 500  # Rows that one query names.


@dataclass(frozen=True, slots=True)
class PendingPrice:
    """A new price. Its model, and the price that it corrects, can be new as well, so that their ids are not known yet."""

    row: Price
    model: Model
    corrected: Price | None


class Batch:
    """The rows of the registry that a transaction uses. Without `stores`, nothing is written: a comparison uses the same rules."""

    def __init__(self, session: Session, *, stores: bool) -> None:
        self._session, self._stores = session, stores
        self._models: dict[int, Model] = {}
        self._pending: list[PendingPrice] = []
        self._added_prices: dict[Model, list[Price]] = defaultdict(list)
        self._references: dict[int, tuple[int, Sequence[str]]] = {}
        self.freed_aliases: set[str] = set()
        self.checks_successors = True  # Without it, the caller calls `require_no_loop` after all of its changes.

    # Reading. Everything is read once.

    @cached_property
    def names(self) -> NameBook:
        """The names of all models, including planned changes."""
        self.flush()
        return read_name_book(self._session)

    @cached_property
    def providers(self) -> dict[str, Provider]:
        """All providers by slug."""
        return {provider.slug: provider for provider in self._session.execute(select(Provider)).scalars()}

    @cached_property
    def defaults(self) -> dict[str, Model]:
        """The default models by type."""
        rows = self._session.execute(select(Model).where(Model.is_default).options(selectinload(Model.aliases))).scalars()
        return {model.type: model for model in rows}

    def load(self, ids: Iterable[int]) -> None:
        """Read these models with their aliases, prices and rates, locked for a change."""
        missing = [row_id for row_id in dict.fromkeys(ids) if row_id not in self._models]
        loaded = (selectinload(Model.aliases), selectinload(Model.prices).selectinload(Price.rates))
        for start in range(0, len(missing), LOAD_SIZE):
            query = select(Model).where(Model.id.in_(missing[start : start + LOAD_SIZE])).options(*loaded)
            query = query.with_for_update().execution_options(populate_existing=True) if self._stores else query
            self._models |= {model.id: model for model in self._session.execute(query).scalars()}

    def load_refs(self, refs: Iterable[str]) -> None:
        keys = (names.key for ref in refs if (names := self.names.get_or_none(ref)) is not None)
        self.load(key for key in keys if isinstance(key, int))

    def load_references(self, ids: Sequence[int]) -> None:
        """Read how many prices these models have, and which projects have rules about them."""
        for start in range(0, len(ids), LOAD_SIZE):
            block = ids[start : start + LOAD_SIZE]
            self._references |= _read_references(self._session, block)

    # Looking up.

    def find_or_none(self, row_id: int) -> Model | None:
        """Return a model that was loaded."""
        return self._models.get(row_id)

    def model_or_none(self, ref: str) -> Model | None:
        """Return the model with this canonical ref: one that was loaded, or a new one."""
        names = self.names.get_or_none(ref)
        if names is None:
            return None
        if isinstance(names.key, Model):
            return names.key
        if isinstance(names.key, int):
            self.load([names.key])
            return self._models.get(names.key)
        return None

    def key_of(self, model: Model) -> object:
        """Return the key of a model in the book: its id, or the row itself if it was new in this batch."""
        return model if model.id is None or self.names.has(model) else model.id

    def prices_of(self, model: Model) -> list[Price]:
        """Return the stored and the new prices of a model."""
        return [*(model.prices if model.id is not None else ()), *self._added_prices.get(model, ())]

    def references_of(self, model: Model) -> tuple[int, Sequence[str]]:
        """Return the number of stored prices of a model, and the slugs of the projects that have rules about it."""
        if model.id not in self._references:
            self.load_references([model.id])
        return self._references[model.id]

    def newly_priced_refs(self) -> set[str]:
        return {model.ref for model in self._added_prices}

    # Changing.

    def put_names(self, model: Model) -> None:
        """Put the names of a changed or new model into the book."""
        self.names.put(_named_model(model, self.key_of(model)))

    def rename_provider(self, old_slug: str, provider: Provider) -> None:
        """Give the models of a provider the names under its new slug."""
        self.providers[provider.slug] = self.providers.pop(old_slug)
        self.names.rename_provider(old_slug, provider.slug)

    def add_price(self, price: PendingPrice) -> None:
        """Add a price, which is stored when the batch is flushed."""
        self._pending.append(price)
        self._added_prices[price.model].append(price.row)

    def flush(self) -> None:
        """Store all changes so far, and corrected prices before their corrections. A comparison stores nothing."""
        if not self._stores:
            return
        _flush(self._session)
        self.freed_aliases.clear()
        while self._pending:
            ready = [price for price in self._pending if price.corrected is None or price.corrected.id is not None]
            self._pending = [price for price in self._pending if price.corrected is not None and price.corrected.id is None]
            for price in ready:
                price.row.model_id = price.model.id
                price.row.corrects_id = price.corrected.id if price.corrected is not None else price.row.corrects_id
            self._session.add_all(price.row for price in ready)
            _flush(self._session)


@contextmanager
def open_batch(session: Session) -> Iterator[Batch]:
    """Yield the open batch, or open one and store its changes and audit events at the end of the block."""
    batch: Batch | None = session.info.get(OPEN)
    if batch is not None:
        yield batch
        return
    batch = Batch(session, stores=not revision.is_comparing(session))
    session.info[OPEN] = batch
    try:
        with session.no_autoflush, audit_log.collect(session) as write_events:
            yield batch
            batch.flush()
            if not revision.is_comparing(session):
                write_events()
    finally:
        session.info.pop(OPEN)


def _flush(session: Session) -> None:
    """Store all changes with one statement per table, where the engine can.

    SQLite returns the ids of new rows only one by one. But its write transaction is the only one, so that the next ids are known.
    """
    if session.get_bind().dialect.name == "sqlite":
        new_rows: dict[type[Base], list[Base]] = defaultdict(list)
        for row in session.new:
            if row.id is None:
                new_rows[type(row)].append(row)
        for table, rows in new_rows.items():
            newest_id = session.execute(select(func.max(table.id))).scalar_one() or 0
            for row_id, row in enumerate(rows, newest_id + 1):
                row.id = row_id
    session.flush()


def read_name_book(session: Session) -> NameBook:
    """Return the names of all models in the database."""
    aliases: dict[int, list[str]] = defaultdict(list)
    patterns: dict[int, list[str]] = defaultdict(list)
    for model_id, alias, is_pattern in session.execute(select(ModelAlias.model_id, ModelAlias.alias, ModelAlias.is_pattern)):
        (patterns if is_pattern else aliases)[model_id].append(alias)
    models = session.execute(select(Model.id, Provider.slug, Model.model_id, Model.is_active, Model.successor).join(Provider)).all()
    return NameBook(
        NamedModel(ModelNames(row_id, slug, model_id, active, frozenset(aliases[row_id]), frozenset(patterns[row_id])), successor)
        for row_id, slug, model_id, active, successor in models
    )


def _named_model(model: Model, key: object) -> NamedModel:
    aliases = frozenset(alias.alias for alias in model.aliases if not alias.is_pattern)
    patterns = frozenset(alias.alias for alias in model.aliases if alias.is_pattern)
    names = ModelNames(key, model.provider.slug, model.model_id, model.is_active, aliases, patterns)
    return NamedModel(names, model.successor)


def _read_references(session: Session, ids: Sequence[int]) -> Mapping[int, tuple[int, Sequence[str]]]:
    counts = session.execute(select(Price.model_id, func.count()).where(Price.model_id.in_(ids)).group_by(Price.model_id))
    prices = dict(counts.all())
    rules: dict[int, set[str]] = defaultdict(set)
    override = ProjectOverride
    query = select(override.model_id, Project.slug).join(Project, Project.id == override.project_id)
    for model_id, slug in session.execute(query.where(override.model_id.in_(ids))):
        rules[model_id].add(slug)
    return {row_id: (prices.get(row_id, 0), sorted(rules[row_id])) for row_id in ids}
