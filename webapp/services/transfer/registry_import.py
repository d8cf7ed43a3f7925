"""The whole catalogue out of the database and into it: all or nothing, with the same comparison before and after. Keys are never in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.catalog.field_changes import describe_fields, describe_price
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PriceEntry
from webapp.domain.catalog.serializers import price_document
from webapp.domain.costing import price_sanity
from webapp.domain.shared.errors import FieldError, Invalid, ModeldeskError
from webapp.domain.shared.money import format_decimal
from webapp.models import Model, Price, Provider
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices
from webapp.services.transfer.import_rows import (
    ADDED,
    CHANGED,
    FORMAT,
    SAME,
    VERSION,
    Change,
    Entries,
    ImportRefused,
    Lines,
    Report,
    check_top,
    entries_of,
)
from webapp.services.transfer.registry_yaml import Read

MAX_ERRORS = 50


# Out.


def document(session: Session) -> dict[str, Any]:
    """The catalogue, in an order that does not depend on anything but its content."""
    rows = session.execute(select(Provider).order_by(Provider.slug)).scalars()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_provider(row) for row in rows],
        "models": [_model(row) for row in model_rows(session)],
    }


def model_rows(session: Session) -> Iterable[Model]:
    """All models with what belongs to them, by provider and id."""
    loaded = selectinload(Model.prices).selectinload(Price.rates)
    query = (
        select(Model)
        .join(Provider)
        .order_by(Provider.slug, Model.model_id)
        .options(loaded, selectinload(Model.aliases), selectinload(Model.provider))
    )
    return session.execute(query).scalars()


def _provider(row: Provider) -> dict[str, Any]:
    """Without keys, and without headers that may hold one."""
    facts = providers.facts(row)
    facts["config"] = {name: value for name, value in sorted(row.config.items()) if name != "extra_headers"}
    return facts


def _model(row: Model) -> dict[str, Any]:
    entry = {name: value for name, value in models.facts(row).items() if name in MODEL_CHECKS}
    entry["aliases"] = sorted(entry["aliases"])
    return entry | {"prices": [_price(price, row) for price in _ordered(row)]}


def _ordered(row: Model) -> list[Price]:
    return sorted(row.prices, key=lambda price: (price.effective_from, price.id))


def _price(row: Price, model: Model) -> dict[str, Any]:
    """Numbers of rows mean nothing elsewhere: a correction says that it corrects the one before it."""
    found = price_document(prices.value_of(row)) or {}
    kept = {name: found[name] for name in ("state", "effective_from", "currency", "rates", "source", "note")}
    return kept | ({"corrects_previous": True} if row.corrects_id is not None else {})


# In.


@dataclass(frozen=True, slots=True)
class Importing:
    """Who imports, and which addresses may be entered."""

    actor: str
    policy: OutboundPolicy


def apply(session: Session, read: Read, by: Importing) -> Report:
    """Brings the registry to what the file says; rows that it does not name stay. Raises `ImportRefused` with every wrong line.

    The caller's transaction decides whether it stays: for a rehearsal it is rolled back.
    """
    report = Report(errors=list(read.problems))
    lines = Lines(read.lines, report)
    check_top(read.document, lines)
    entries = entries_of(read.document, lines)
    if not report.errors:
        _write(session, entries, by, lines)
    if report.errors:
        report.errors.sort(key=_line_of)
        shown = report.errors[:MAX_ERRORS]
        more = f" And {len(report.errors) - MAX_ERRORS} more." if len(report.errors) > MAX_ERRORS else ""
        raise ImportRefused(f"Nothing was imported. {'; '.join(shown)}.{more}", [FieldError("file", message) for message in report.errors])
    return report


def _line_of(message: str) -> int:
    """`line 7: ...` comes before `line 12: ...`."""
    return int(message.removeprefix("line ").partition(":")[0])


def _write(session: Session, entries: Entries, by: Importing, lines: Lines) -> None:
    report = lines.report
    primary = None
    for path, entry, is_primary in entries.providers:
        try:
            report.changes.append(_write_provider(session, entry, by))
            primary = entry["slug"] if is_primary else primary
        except ModeldeskError as error:
            lines.add(path, error)
    if not report.errors:
        for path, entry, dated in entries.models:
            try:
                report.changes.append(_write_model(session, entry, by))
                report.changes += _write_prices(session, entry, dated, by, lines)
            except ModeldeskError as error:
                lines.add(path, error)
    if primary is not None and not report.errors:
        _make_primary(session, primary, by)


def _write_provider(session: Session, entry: dict[str, Any], by: Importing) -> Change:
    row = providers.by_slug(session, entry["slug"])
    if row is None:
        providers.create(session, _as_facts(entry), actor=by.actor, policy=by.policy)
        return Change("provider", entry["slug"], ADDED, describe_fields({}, entry, ("display_name", "driver", "base_url")))
    if providers.leads_elsewhere(row, entry):
        name = row.display_name
        raise Invalid.field("base_url", f"leads elsewhere than that of {name}, whose keys it would remove: change it on its page")
    kept = row.config.get("extra_headers")
    entry = entry | {"config": entry["config"] | ({"extra_headers": kept} if kept else {})}
    before = providers.facts(row)
    wanted = {name: value for name, value in _as_facts(entry).items() if value != before.get(name)}
    if not wanted:
        return Change("provider", entry["slug"], SAME)
    providers.update(session, row.id, wanted, actor=by.actor, policy=by.policy)
    return Change("provider", entry["slug"], CHANGED, describe_fields(_without_headers(before), _without_headers(wanted), sorted(wanted)))


def _without_headers(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Headers may hold a key, and reports are read by more people than those who may enter one."""
    config = facts.get("config") or {}
    return {**facts, "config": {name: value for name, value in config.items() if name != "extra_headers"}}


def _as_facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """As a file or a request gives it: the services check what they are given themselves."""
    return {name: _as_fact(value) for name, value in entry.items()}


def _as_fact(value: object) -> object:
    if hasattr(value, "as_tuple"):
        return format_decimal(value)  # type: ignore[arg-type] # a Decimal
    return value.isoformat() if hasattr(value, "isoformat") else list(value) if isinstance(value, tuple) else value


def _make_primary(session: Session, slug: str, by: Importing) -> None:
    row = providers.by_slug(session, slug)
    if row is not None and not row.is_primary:
        providers.set_primary(session, row.id, actor=by.actor)


def _found(session: Session, entry: Mapping[str, Any]) -> Model | None:
    query = select(Model).join(Provider).where(Provider.slug == entry["provider"], Model.model_id == entry["model_id"])
    return session.execute(query).scalar_one_or_none()


def _write_model(session: Session, entry: dict[str, Any], by: Importing) -> Change:
    ref, row = f"{entry['provider']}/{entry['model_id']}", _found(session, entry)
    if row is None:
        models.create(session, _as_facts(entry), actor=by.actor)
        return Change("model", ref, ADDED, describe_fields({}, entry, ("display_name", "type")))
    before = models.facts(row) | {"aliases": sorted(alias.alias for alias in row.aliases)}
    given = _as_facts(entry) | {"aliases": sorted(entry["aliases"])}
    wanted = {name: value for name, value in given.items() if value != _as_fact(before.get(name))}
    if not wanted:
        return Change("model", ref, SAME)
    models.update(session, row.id, wanted, actor=by.actor)
    return Change("model", ref, CHANGED, describe_fields(before, wanted, sorted(wanted)))


def _write_prices(
    session: Session, entry: Mapping[str, Any], dated: list[tuple[str, PriceEntry, bool]], by: Importing, lines: Lines
) -> list[Change]:
    """Adds what is not there yet. A price that is there already must be the same; to change it, the file corrects it."""
    row = _found(session, entry)
    if row is None:
        return []
    session.refresh(row, ["prices"])
    chains: dict[Any, list[Price]] = {}
    for price in _ordered(row):
        chains.setdefault(price.effective_from, []).append(price)
    seen: dict[Any, int] = {}
    changes = []
    for path, wanted, corrects in dated:
        number = seen.get(wanted.effective_from, 0)
        seen[wanted.effective_from] = number + 1
        there = chains.setdefault(wanted.effective_from, [])
        if number < len(there):
            if not _same(there[number], wanted):
                lines.add(
                    path, Invalid("another price starts at this moment here. Add a second one with corrects_previous: true to correct it")
                )
            continue
        if corrects != bool(there):
            word = (
                "has nothing to correct"
                if corrects
                else "starts when another one does; say corrects_previous: true if it corrects that one"
            )
            lines.add(path, Invalid(f"this price {word}"))
            continue
        added = prices.import_price(session, row, wanted._replace(corrects=there[-1].id if there else None), actor=by.actor)
        there.append(added)
        changes.append(_price_change(row, chains, added))
    return changes


def _price_change(model: Model, chains: Mapping[Any, list[Price]], added: Price) -> Change:
    """Against the price that held at that moment before; of several at one moment the last counts."""
    earlier = [moment for moment in chains if moment < added.effective_from and chains[moment]]
    corrected = chains[added.effective_from][:-1]
    row = corrected[-1] if corrected else chains[max(earlier)][-1] if earlier else None
    before, after = prices.value_of(row) if row else None, prices.value_of(added)
    asked = tuple(question.text for question in price_sanity.list_questions(after, before))
    return Change("price", f"{model.ref} from {added.effective_from:%Y-%m-%d %H:%M}", ADDED, describe_price(before, after), asked)


def _same(row: Price, wanted: PriceEntry) -> bool:
    present = prices.value_of(row)
    return (present.state, present.currency, sorted(map(repr, present.rates))) == (
        wanted.state,
        wanted.currency,
        sorted(map(repr, wanted.rates)),
    )
