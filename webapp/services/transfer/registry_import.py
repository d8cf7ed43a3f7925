"""Export of the whole registry from the database and import into it, all or nothing. Keys are never part of a file."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.catalog.field_changes import describe_fields, describe_price
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PriceEntry
from webapp.domain.costing import price_sanity
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.serializers import BILLING_FIELDS, price_document
from webapp.domain.shared.errors import Invalid, ModeldeskError
from webapp.models import Model, Price, Provider
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog import model_names, models, providers
from webapp.services.catalog.successors import require_no_loop
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
    ImportReport,
    PreparedImport,
    check_top_level,
    parse_entries,
    require_no_errors,
)
from webapp.services.transfer.input_values import as_input_value, as_input_values
from webapp.services.transfer.registry_yaml import ParsedRegistryFile
from webapp.services.transfer.sibling_prices import SiblingPrices

# Export.


def export_document(session: Session) -> dict[str, Any]:
    """Return the registry in an order that depends only on its content."""
    rows = session.execute(select(Provider).order_by(Provider.slug)).scalars()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_provider_document(row) for row in rows],
        "models": [_model_document(row) for row in list_model_rows(session)],
    }


def list_model_rows(session: Session) -> Iterable[Model]:
    """Return all models with their prices, aliases and provider, sorted by provider and model id."""
    loaded = selectinload(Model.prices).selectinload(Price.rates)
    query = (
        select(Model)
        .join(Provider)
        .order_by(Provider.slug, Model.model_id)
        .options(loaded, selectinload(Model.aliases), selectinload(Model.provider))
    )
    return session.execute(query).scalars()


def _provider_document(row: Provider) -> dict[str, Any]:
    """Return a provider without keys, and without extra headers, which can contain a key."""
    values = providers.audit_values(row)
    values["config"] = {name: value for name, value in sorted(row.config.items()) if name != "extra_headers"}
    return values


def _model_document(row: Model) -> dict[str, Any]:
    entry = {name: value for name, value in models.audit_values(row).items() if name in MODEL_CHECKS}
    entry["aliases"] = sorted(entry["aliases"])
    return entry | {"prices": [_price_document(price, row) for price in _sorted_prices(row)]}


def _sorted_prices(row: Model) -> list[Price]:
    return sorted(row.prices, key=lambda price: (price.effective_from, price.id))


def _price_document(row: Price, model: Model) -> dict[str, Any]:
    """Return a price without row ids, which have no meaning elsewhere. A correction is marked by `corrects_previous`."""
    document = price_document(prices.to_domain(row))
    exported = {name: document[name] for name in ("effective_from", *BILLING_FIELDS, "source", "note")}
    return (
        exported
        | ({"corrects_previous": True} if row.corrects_id is not None else {})
        | ({"cancels_previous": True} if row.cancels else {})
    )


# Import.


@dataclass(frozen=True, slots=True)
class ImportContext:
    """The actor of an import, the policy for outbound addresses, and the keys of what the actor confirmed.

    A preview requires no confirmation. Its report holds what an import requires.
    """

    actor: str
    policy: OutboundPolicy
    confirmed: Collection[str] = ()
    is_preview: bool = False


class PriceImport(NamedTuple):
    """What the import of prices needs: the actor, the errors with their lines, and the prices of other models."""

    actor: str
    lines: ImportErrors
    siblings: SiblingPrices


def apply(session: Session, parsed: ParsedRegistryFile, context: ImportContext) -> ImportReport:
    """Import a file; rows that it does not name stay. Raises `ImportRefused` with every error and its line.

    The caller's transaction decides whether the changes stay: a dry run rolls back.
    """
    return apply_entries(session, prepare(parsed), context)


def prepare(parsed: ParsedRegistryFile) -> PreparedImport:
    """Validate a file without the database. Raises `ImportRefused` with every error and its line."""
    lines = ImportErrors(parsed.lines, ImportReport(errors=list(parsed.problems)))
    check_top_level(parsed.document, lines)
    entries = parse_entries(parsed.document, lines)
    require_no_errors(lines)
    return PreparedImport(entries, parsed.lines)


def apply_entries(session: Session, prepared: PreparedImport, context: ImportContext) -> ImportReport:
    """Import these rows in the caller's transaction: a whole file, or a part of its models."""
    lines = ImportErrors(prepared.lines, ImportReport())
    _write(session, prepared.entries, context, lines)
    require_no_errors(lines)
    return lines.report


def _write(session: Session, entries: ImportEntries, context: ImportContext, lines: ImportErrors) -> None:
    report, prices_context = lines.report, PriceImport(context.actor, lines, SiblingPrices(session))
    primary = None
    for path, entry, is_primary in entries.providers:
        try:
            report.changes.append(_write_provider(session, entry, context))
            primary = entry["slug"] if is_primary else primary
        except ModeldeskError as error:
            lines.add(path, error)
    if not report.errors:
        for path, entry, price_rows in entries.models:
            try:
                report.changes.append(_write_model(session, entry, context, report))
                report.changes += _write_prices(session, entry, price_rows, prices_context)
            except ModeldeskError as error:
                lines.add(path, error)
    _require_no_loops(session, entries, lines)
    if primary is not None and not report.errors:
        _make_primary(session, primary, context)


def _require_no_loops(session: Session, entries: ImportEntries, lines: ImportErrors) -> None:
    """Report each chain of successors that returns to its start. Only the whole file decides that, so that it can reverse a chain."""
    if lines.report.errors:
        return
    for path, entry, _ in entries.models:
        row = _get_model_or_none(session, entry) if entry["successor"] else None
        try:
            if row is not None:
                require_no_loop(session, row)
        except Invalid as error:
            lines.add(path, error)


def _write_provider(session: Session, entry: dict[str, Any], context: ImportContext) -> ImportChange:
    row = providers.get_by_slug_or_none(session, entry["slug"])
    if row is None:
        providers.create(session, as_input_values(entry), actor=context.actor, policy=context.policy)
        return ImportChange("provider", entry["slug"], ADDED, describe_fields({}, entry, ("display_name", "driver", "base_url")))
    if providers.changes_destination(row, entry):
        name = row.display_name
        raise Invalid.field("base_url", f"leads elsewhere than that of {name}, whose keys it would remove: change it on its page")
    extra_headers = row.config.get("extra_headers")
    entry = entry | {"config": entry["config"] | ({"extra_headers": extra_headers} if extra_headers else {})}
    before = providers.audit_values(row)
    changes = {name: value for name, value in as_input_values(entry).items() if value != before.get(name)}
    if not changes:
        return ImportChange("provider", entry["slug"], SAME)
    providers.update(session, row.id, changes, actor=context.actor, policy=context.policy)
    return ImportChange(
        "provider", entry["slug"], CHANGED, describe_fields(_without_headers(before), _without_headers(changes), sorted(changes))
    )


def _without_headers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return provider values without headers, which can contain a key: more users can read reports than can enter keys."""
    config = values.get("config") or {}
    return {**values, "config": {name: value for name, value in config.items() if name != "extra_headers"}}


def _make_primary(session: Session, slug: str, context: ImportContext) -> None:
    row = providers.get_by_slug_or_none(session, slug)
    if row is not None and not row.is_primary:
        providers.set_primary(session, row.id, actor=context.actor)


def _get_model_or_none(session: Session, entry: Mapping[str, Any]) -> Model | None:
    query = select(Model).join(Provider).where(Provider.slug == entry["provider"], Model.model_id == entry["model_id"])
    return session.execute(query).scalar_one_or_none()


def _write_model(session: Session, entry: dict[str, Any], context: ImportContext, report: ImportReport) -> ImportChange:
    ref, row = f"{entry['provider']}/{entry['model_id']}", _get_model_or_none(session, entry)
    if row is None:
        confirmations = model_names.list_confirmations(session, entry["provider"], entry["model_id"])
        models.create(
            session, as_input_values(entry), actor=context.actor, confirmed=[row.key for row in confirmations], checks_successors=False
        )
        report.confirmations += confirmations
        lines = describe_fields({}, entry, ("display_name", "type"))
        return ImportChange("model", ref, ADDED, lines, tuple(row.message for row in confirmations))
    before = models.audit_values(row) | {"aliases": sorted(alias.alias for alias in row.aliases)}
    requested = as_input_values(entry) | {"aliases": sorted(entry["aliases"])}
    changes = {name: value for name, value in requested.items() if value != as_input_value(before.get(name))}
    if not changes:
        return ImportChange("model", ref, SAME)
    models.update(session, row.id, changes, actor=context.actor, checks_successors=False)
    return ImportChange("model", ref, CHANGED, describe_fields(before, changes, sorted(changes)))


def _write_prices(
    session: Session, entry: Mapping[str, Any], price_rows: list[tuple[str, PriceEntry, bool]], context: PriceImport
) -> list[ImportChange]:
    """Add missing prices. A price that exists must be the same as in the file; to change it, the file must contain a correction."""
    row = _get_model_or_none(session, entry)
    if row is None:
        return []
    session.refresh(row, ["prices"])
    chains: dict[Any, list[Price]] = {}
    for price in _sorted_prices(row):
        chains.setdefault(price.effective_from, []).append(price)
    seen_by_start: dict[Any, int] = {}
    changes = []
    for path, entry_price, corrects in price_rows:
        position = seen_by_start.get(entry_price.effective_from, 0)
        seen_by_start[entry_price.effective_from] = position + 1
        existing = chains.setdefault(entry_price.effective_from, [])
        if position < len(existing):
            if not _is_same_price(existing[position], entry_price):
                context.lines.add(
                    path, Invalid("another price starts at this time here. Add a second one with corrects_previous: true to correct it")
                )
            continue
        if corrects != bool(existing):
            reason = (
                "has nothing to correct"
                if corrects
                else "starts when another one does; say corrects_previous: true if it corrects that one"
            )
            context.lines.add(path, Invalid(f"this price {reason}"))
            continue
        added = prices.import_price(session, row, entry_price._replace(corrects=existing[-1].id if existing else None), actor=context.actor)
        existing.append(added)
        changes.append(_price_change(row, chains, added, context.siblings))
    return changes


def _price_change(model: Model, chains: Mapping[Any, list[Price]], added: Price, siblings: SiblingPrices) -> ImportChange:
    """Compare the new price with the price it replaces: the corrected one, or the last one with an earlier start.

    The questions are those of the price form.
    """
    earlier = [start for start in chains if start < added.effective_from and chains[start]]
    corrected = chains[added.effective_from][:-1]
    row = corrected[-1] if corrected else chains[max(earlier)][-1] if earlier else None
    before, after = prices.to_domain(row) if row else None, prices.to_domain(added)
    start = after.effective_from
    catalog_price = price_sanity.built_in_price(model.ref, start)
    questions = price_sanity.list_questions(after, before, siblings.rates_at(model, start), catalog_price)
    warnings = tuple(question.text for question in questions)
    name = f"{model.ref} from {added.effective_from:%Y-%m-%d %H:%M} UTC"
    return ImportChange("price", name, ADDED, describe_price(before, after), warnings)


def _is_same_price(row: Price, entry: PriceEntry) -> bool:
    return _comparable(prices.to_domain(row)) == _comparable(entry)


def _comparable(price: PriceValue | PriceEntry) -> tuple[object, ...]:
    """Return what must be the same, whatever the order of the rates."""
    rates = sorted(map(repr, price.rates))
    return price.state, price.currency, price.cancels, rates, price.media_at_text_rate, price.minimum, price.surcharge_percent
