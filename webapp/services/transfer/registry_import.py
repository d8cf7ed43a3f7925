"""Import of a file into the registry, all or nothing. Keys are never part of a file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from webapp.domain.catalog.field_changes import describe_fields, describe_price
from webapp.domain.catalog.input_schemas import PriceEntry
from webapp.domain.costing import price_sanity
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.shared.errors import FieldError, Invalid, ModeldeskError
from webapp.models import Model, Price
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog import model_names, models, providers
from webapp.services.catalog.registry_batch import Batch, open_batch
from webapp.services.catalog.successors import require_no_loop
from webapp.services.pricing import prices
from webapp.services.transfer.import_rows import (
    ADDED,
    CHANGED,
    MAX_ERRORS,
    SAME,
    ImportChange,
    ImportEntries,
    ImportErrors,
    ImportRefused,
    ImportReport,
    PreparedImport,
    check_top_level,
    parse_entries,
)
from webapp.services.transfer.input_values import as_input_value, as_input_values
from webapp.services.transfer.registry_export import in_order
from webapp.services.transfer.registry_yaml import ParsedRegistryFile
from webapp.services.transfer.sibling_prices import SiblingPrices


@dataclass(frozen=True, slots=True)
class ImportContext:
    """The actor of an import, the policy for outbound addresses, and the keys of what the actor confirmed.

    A preview requires no confirmation. Its report holds what an import requires.
    """

    actor: str
    policy: OutboundPolicy
    confirmed: Collection[str] = ()
    is_preview: bool = False


class _Import(NamedTuple):
    """What the import of a row needs: the session and its batch, the context, the errors with their lines, and the other prices."""

    session: Session
    batch: Batch
    context: ImportContext
    lines: ImportErrors
    siblings: SiblingPrices


def prepare(parsed: ParsedRegistryFile) -> PreparedImport:
    """Validate a file without the database. Reading stops after 50 errors. Raises `ImportRefused` with every error and its line."""
    lines = ImportErrors(parsed.lines, ImportReport(errors=list(parsed.problems)))
    check_top_level(parsed.document, lines)
    entries = parse_entries(parsed.document, lines)
    require_no_errors(lines)
    return PreparedImport(entries, parsed.lines)


def apply(session: Session, parsed: ParsedRegistryFile | PreparedImport, context: ImportContext) -> ImportReport:
    """Import a file; rows that it does not name stay. Raises `ImportRefused` with every error and its line.

    The caller's transaction decides whether the changes stay. A comparison stores nothing (`runtime/transaction.py`).
    """
    return apply_entries(session, prepare(parsed) if isinstance(parsed, ParsedRegistryFile) else parsed, context)


def apply_entries(session: Session, prepared: PreparedImport, context: ImportContext) -> ImportReport:
    """Import these rows in the caller's transaction: a whole file, or a part of its models."""
    lines = ImportErrors(prepared.lines, ImportReport())
    with open_batch(session) as batch:
        batch.checks_successors = False  # Only the whole file decides, so that it can reverse a chain.
        _write(prepared.entries, _Import(session, batch, context, lines, SiblingPrices(session)))
        require_no_errors(lines)
    return lines.report


def require_no_errors(lines: ImportErrors) -> None:
    """Raise `ImportRefused` if there are errors."""
    if not lines.report.errors:
        return
    errors = sorted(lines.report.errors, key=_line_number)
    suffix = f" Reading stopped after {MAX_ERRORS} errors." if len(errors) >= MAX_ERRORS else ""
    messages = errors[:MAX_ERRORS]
    raise ImportRefused(f"Nothing was imported. {'; '.join(messages)}.{suffix}", [FieldError("file", message) for message in messages])


def _line_number(message: str) -> int:
    """Return the line number of an error message, so that `line 7: ...` sorts before `line 12: ...`."""
    return int(message.removeprefix("line ").partition(":")[0])


def _write(entries: ImportEntries, work: _Import) -> None:
    report, lines, primary = work.lines.report, work.lines, None
    for path, entry, is_primary in entries.providers:
        try:
            report.changes.append(_write_provider(entry, work))
            primary = entry["slug"] if is_primary else primary
        except ModeldeskError as error:
            lines.add(path, error)
    if not report.errors:
        work.batch.load_refs(_ref(entry) for _, entry, _ in entries.models)
        for path, entry, price_rows in entries.models:
            if lines.is_full:
                return
            try:
                report.changes.append(_write_model(entry, work))
                report.changes += _write_prices(entry, price_rows, work)
            except ModeldeskError as error:
                lines.add(path, error)
    _require_no_loops(entries, work)
    if primary is not None and not report.errors:
        _make_primary(primary, work)


def _ref(entry: Mapping[str, Any]) -> str:
    return f"{entry['provider']}/{entry['model_id']}"


def _require_no_loops(entries: ImportEntries, work: _Import) -> None:
    """Report each chain of successors that returns to its start."""
    if work.lines.report.errors:
        return
    for path, entry, _ in entries.models:
        try:
            if entry["successor"]:
                require_no_loop(work.batch.names, _ref(entry))
        except Invalid as error:
            work.lines.add(path, error)


def _write_provider(entry: dict[str, Any], work: _Import) -> ImportChange:
    context = work.context
    row = work.batch.providers.get(entry["slug"])
    if row is None:
        providers.create(work.session, as_input_values(entry), actor=context.actor, policy=context.policy)
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
    providers.change(work.session, row, changes, actor=context.actor, policy=context.policy)
    return ImportChange(
        "provider", entry["slug"], CHANGED, describe_fields(_without_headers(before), _without_headers(changes), sorted(changes))
    )


def _without_headers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return provider values without headers, which can contain a key: more users can read reports than can enter keys."""
    config = values.get("config") or {}
    return {**values, "config": {name: value for name, value in config.items() if name != "extra_headers"}}


def _make_primary(slug: str, work: _Import) -> None:
    row = work.batch.providers.get(slug)
    if row is not None and not row.is_primary:
        providers.make_primary(work.session, row, actor=work.context.actor)


def _write_model(entry: dict[str, Any], work: _Import) -> ImportChange:
    session, actor, ref = work.session, work.context.actor, _ref(entry)
    row = work.batch.model_or_none(ref)
    if row is None:
        confirmations = model_names.list_confirmations(session, entry["provider"], entry["model_id"])
        keys = [confirmation.key for confirmation in confirmations]
        models.create(session, as_input_values(entry), actor=actor, confirmed=keys)
        work.lines.report.confirmations += confirmations
        lines = describe_fields({}, entry, ("display_name", "type"))
        return ImportChange("model", ref, ADDED, lines, tuple(confirmation.message for confirmation in confirmations))
    before = models.audit_values(row) | {"aliases": sorted(alias.alias for alias in row.aliases)}
    requested = as_input_values(entry) | {"aliases": sorted(entry["aliases"])}
    changes = {name: value for name, value in requested.items() if value != as_input_value(before.get(name))}
    if not changes:
        return ImportChange("model", ref, SAME)
    models.change(session, row, changes, actor=actor)
    return ImportChange("model", ref, CHANGED, describe_fields(before, changes, sorted(changes)))


def _write_prices(entry: Mapping[str, Any], price_rows: list[tuple[str, PriceEntry, bool]], work: _Import) -> list[ImportChange]:
    """Add missing prices. A price that exists must be the same as in the file; to change it, the file must contain a correction."""
    row = work.batch.model_or_none(_ref(entry))
    if row is None:
        return []
    chains: dict[Any, list[Price]] = {}
    for price in in_order(work.batch.prices_of(row)):
        chains.setdefault(price.effective_from, []).append(price)
    seen_by_start: dict[Any, int] = {}
    changes = []
    for path, entry_price, corrects in price_rows:
        position = seen_by_start.get(entry_price.effective_from, 0)
        seen_by_start[entry_price.effective_from] = position + 1
        existing = chains.setdefault(entry_price.effective_from, [])
        if position < len(existing):
            if not _is_same_price(existing[position], entry_price):
                work.lines.add(
                    path, Invalid("another price starts at this time here. Add a second one with corrects_previous: true to correct it")
                )
            continue
        if corrects != bool(existing):
            reason = (
                "has nothing to correct"
                if corrects
                else "starts when another one does; say corrects_previous: true if it corrects that one"
            )
            work.lines.add(path, Invalid(f"this price {reason}"))
            continue
        corrected = existing[-1] if existing else None
        added = prices.import_price(work.session, row, entry_price, actor=work.context.actor, corrected=corrected)
        existing.append(added)
        changes.append(_price_change(row, chains, added, work.siblings))
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
