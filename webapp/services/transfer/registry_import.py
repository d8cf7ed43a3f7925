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
    ImportChange,
    ImportEntries,
    ImportErrors,
    ImportRefused,
    ImportReport,
    check_top_level,
    parse_entries,
)
from webapp.services.transfer.registry_yaml import ParsedRegistryFile

MAX_ERRORS = 50


# Out.


def export_document(session: Session) -> dict[str, Any]:
    """The catalogue, in an order that does not depend on anything but its content."""
    rows = session.execute(select(Provider).order_by(Provider.slug)).scalars()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_provider_document(row) for row in rows],
        "models": [_model_document(row) for row in list_model_rows(session)],
    }


def list_model_rows(session: Session) -> Iterable[Model]:
    """All models with what belongs to them, by provider and id."""
    loaded = selectinload(Model.prices).selectinload(Price.rates)
    query = (
        select(Model)
        .join(Provider)
        .order_by(Provider.slug, Model.model_id)
        .options(loaded, selectinload(Model.aliases), selectinload(Model.provider))
    )
    return session.execute(query).scalars()


def _provider_document(row: Provider) -> dict[str, Any]:
    """Without keys, and without headers that may hold one."""
    facts = providers.audit_values(row)
    facts["config"] = {name: value for name, value in sorted(row.config.items()) if name != "extra_headers"}
    return facts


def _model_document(row: Model) -> dict[str, Any]:
    entry = {name: value for name, value in models.audit_values(row).items() if name in MODEL_CHECKS}
    entry["aliases"] = sorted(entry["aliases"])
    return entry | {"prices": [_price_document(price, row) for price in _sorted_prices(row)]}


def _sorted_prices(row: Model) -> list[Price]:
    return sorted(row.prices, key=lambda price: (price.effective_from, price.id))


def _price_document(row: Price, model: Model) -> dict[str, Any]:
    """Numbers of rows mean nothing elsewhere: a correction says that it corrects the one before it."""
    found = price_document(prices.to_domain(row)) or {}
    kept = {name: found[name] for name in ("state", "effective_from", "currency", "rates", "source", "note")}
    return kept | ({"corrects_previous": True} if row.corrects_id is not None else {})


# In.


@dataclass(frozen=True, slots=True)
class ImportContext:
    """Who imports, and which addresses may be entered."""

    actor: str
    policy: OutboundPolicy


def apply(session: Session, read: ParsedRegistryFile, by: ImportContext) -> ImportReport:
    """Brings the registry to what the file says; rows that it does not name stay. Raises `ImportRefused` with every wrong line.

    The caller's transaction decides whether it stays: for a rehearsal it is rolled back.
    """
    report = ImportReport(errors=list(read.problems))
    lines = ImportErrors(read.lines, report)
    check_top_level(read.document, lines)
    entries = parse_entries(read.document, lines)
    if not report.errors:
        _write(session, entries, by, lines)
    if report.errors:
        report.errors.sort(key=_line_number)
        shown = report.errors[:MAX_ERRORS]
        more = f" And {len(report.errors) - MAX_ERRORS} more." if len(report.errors) > MAX_ERRORS else ""
        raise ImportRefused(f"Nothing was imported. {'; '.join(shown)}.{more}", [FieldError("file", message) for message in report.errors])
    return report


def _line_number(message: str) -> int:
    """`line 7: ...` comes before `line 12: ...`."""
    return int(message.removeprefix("line ").partition(":")[0])


def _write(session: Session, entries: ImportEntries, by: ImportContext, lines: ImportErrors) -> None:
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


def _write_provider(session: Session, entry: dict[str, Any], by: ImportContext) -> ImportChange:
    row = providers.get_by_slug_or_none(session, entry["slug"])
    if row is None:
        providers.create(session, _as_input_values(entry), actor=by.actor, policy=by.policy)
        return ImportChange("provider", entry["slug"], ADDED, describe_fields({}, entry, ("display_name", "driver", "base_url")))
    if providers.changes_destination(row, entry):
        name = row.display_name
        raise Invalid.field("base_url", f"leads elsewhere than that of {name}, whose keys it would remove: change it on its page")
    kept = row.config.get("extra_headers")
    entry = entry | {"config": entry["config"] | ({"extra_headers": kept} if kept else {})}
    before = providers.audit_values(row)
    wanted = {name: value for name, value in _as_input_values(entry).items() if value != before.get(name)}
    if not wanted:
        return ImportChange("provider", entry["slug"], SAME)
    providers.update(session, row.id, wanted, actor=by.actor, policy=by.policy)
    return ImportChange(
        "provider", entry["slug"], CHANGED, describe_fields(_without_headers(before), _without_headers(wanted), sorted(wanted))
    )


def _without_headers(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Headers may hold a key, and reports are read by more people than those who may enter one."""
    config = facts.get("config") or {}
    return {**facts, "config": {name: value for name, value in config.items() if name != "extra_headers"}}


def _as_input_values(entry: Mapping[str, Any]) -> dict[str, Any]:
    """As a file or a request gives it: the services check what they are given themselves."""
    return {name: _as_input_value(value) for name, value in entry.items()}


def _as_input_value(value: object) -> object:
    if hasattr(value, "as_tuple"):
        return format_decimal(value)  # type: ignore[arg-type] # a Decimal
    return value.isoformat() if hasattr(value, "isoformat") else list(value) if isinstance(value, tuple) else value


def _make_primary(session: Session, slug: str, by: ImportContext) -> None:
    row = providers.get_by_slug_or_none(session, slug)
    if row is not None and not row.is_primary:
        providers.set_primary(session, row.id, actor=by.actor)


def _get_model_or_none(session: Session, entry: Mapping[str, Any]) -> Model | None:
    query = select(Model).join(Provider).where(Provider.slug == entry["provider"], Model.model_id == entry["model_id"])
    return session.execute(query).scalar_one_or_none()


def _write_model(session: Session, entry: dict[str, Any], by: ImportContext) -> ImportChange:
    ref, row = f"{entry['provider']}/{entry['model_id']}", _get_model_or_none(session, entry)
    if row is None:
        models.create(session, _as_input_values(entry), actor=by.actor)
        return ImportChange("model", ref, ADDED, describe_fields({}, entry, ("display_name", "type")))
    before = models.audit_values(row) | {"aliases": sorted(alias.alias for alias in row.aliases)}
    given = _as_input_values(entry) | {"aliases": sorted(entry["aliases"])}
    wanted = {name: value for name, value in given.items() if value != _as_input_value(before.get(name))}
    if not wanted:
        return ImportChange("model", ref, SAME)
    models.update(session, row.id, wanted, actor=by.actor)
    return ImportChange("model", ref, CHANGED, describe_fields(before, wanted, sorted(wanted)))


def _write_prices(
    session: Session, entry: Mapping[str, Any], dated: list[tuple[str, PriceEntry, bool]], by: ImportContext, lines: ImportErrors
) -> list[ImportChange]:
    """Adds what is not there yet. A price that is there already must be the same; to change it, the file corrects it."""
    row = _get_model_or_none(session, entry)
    if row is None:
        return []
    session.refresh(row, ["prices"])
    chains: dict[Any, list[Price]] = {}
    for price in _sorted_prices(row):
        chains.setdefault(price.effective_from, []).append(price)
    seen: dict[Any, int] = {}
    changes = []
    for path, wanted, corrects in dated:
        number = seen.get(wanted.effective_from, 0)
        seen[wanted.effective_from] = number + 1
        there = chains.setdefault(wanted.effective_from, [])
        if number < len(there):
            if not _is_same_price(there[number], wanted):
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


def _price_change(model: Model, chains: Mapping[Any, list[Price]], added: Price) -> ImportChange:
    """Against the price that held at that moment before; of several at one moment the last counts."""
    earlier = [moment for moment in chains if moment < added.effective_from and chains[moment]]
    corrected = chains[added.effective_from][:-1]
    row = corrected[-1] if corrected else chains[max(earlier)][-1] if earlier else None
    before, after = prices.to_domain(row) if row else None, prices.to_domain(added)
    asked = tuple(question.text for question in price_sanity.list_questions(after, before))
    return ImportChange("price", f"{model.ref} from {added.effective_from:%Y-%m-%d %H:%M}", ADDED, describe_price(before, after), asked)


def _is_same_price(row: Price, wanted: PriceEntry) -> bool:
    present = prices.to_domain(row)
    return (present.state, present.currency, sorted(map(repr, present.rates))) == (
        wanted.state,
        wanted.currency,
        sorted(map(repr, wanted.rates)),
    )
