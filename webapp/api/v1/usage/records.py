"""Endpoints to report and summarize usage."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Response, g, request

from webapp.api.v1.catalog.registry_views import resolve_model, utc_now
from webapp.api.v1.core.encoded_registry import EncodedRegistry, request_registry
from webapp.api.v1.core.json_body import parse_decimal, read_json_object
from webapp.api.v1.core.parameters import TEXT, Parameter, choice_parameter, parse_ref, parse_text, read_query
from webapp.api.v1.core.responses import conditional_response, encode, json_response
from webapp.api.v1.pricing.costs import COST_CHECKS, COST_REQUIRED, model_cost
from webapp.domain.pricing.costs import Cost
from webapp.domain.shared.errors import FieldError, Malformed, ModeldeskError, NotFound, Unavailable
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp
from webapp.domain.shared.validators import validate
from webapp.domain.usage.usage_summary import GROUPS, MAX_CLOCK_SKEW, UsageSummary, require_valid_span, validate_call_time
from webapp.extensions import db
from webapp.runtime.transaction import writing
from webapp.services.usage import records

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
MONTH = timedelta(days=30)
TIMESTAMP: Mapping[str, str] = {"type": "string", "format": "date-time"}
SUMMARY_QUERY = (
    Parameter("since", parse_timestamp, TIMESTAMP, "From this moment on; 30 days before `until` if left out."),
    Parameter("until", parse_timestamp, TIMESTAMP, "To just before this moment; all that was reported if left out."),
    choice_parameter("group_by", GROUPS, "What to sum by; model if left out."),
    Parameter("model", parse_ref, TEXT, "Only usage of this model."),
    Parameter("project", parse_text, TEXT, "Only usage of this project."),
)


def report_usage() -> Response:
    """Record one call of one model. A repeated Idempotency-Key is counted once and gets the first response again."""
    state = request_registry()
    values = validate(read_json_object(parse_decimal), COST_CHECKS, COST_REQUIRED)
    key, fingerprint = _idempotency_key(), _report_fingerprint(values)
    try:
        cost = _cost_of_report(state, values)
    except ModeldeskError:
        # The model can be gone, and the call too old, by the time the report is repeated.
        if (body := _repeated_record(key, fingerprint)) is None:
            raise
        return json_response(state.snapshot, body)
    report = records.UsageReport(_token_id(), key, fingerprint, cost.model or "", values["usage"], cost)
    with writing(refresh=False) as session:
        record, created = records.store_report(session, report)
        document = records.usage_record_document(record)
    return json_response(state.snapshot, encode(document), 201 if created else 200)


def _cost_of_report(state: EncodedRegistry, values: Mapping[str, Any]) -> Cost:
    """Return the cost of the reported call. Raises `ModeldeskError` for an unknown model, or a call outside the accepted time."""
    at = validate_call_time(values.get("at"), utc_now())
    model = resolve_model(state, values["model"])
    return model_cost(model, values, at)


def _repeated_record(key: str, fingerprint: bytes) -> bytes | None:
    """Return the record of the same report, if it was sent before."""
    try:
        record = records.find_repeated_or_none(db.session(), _token_id(), key, fingerprint)
        return encode(records.usage_record_document(record)) if record else None
    finally:
        db.session.rollback()  # On SQLite an open read blocks every writer.


def _own_project(requested: str | None) -> str | None:
    """Return the project to read. A token with a project reads only its own: raises `NotFound` for another one."""
    own: str | None = g.token.project
    if own is not None and requested not in (None, own):
        raise NotFound("There is no usage of such a project.")
    return own or requested


def _report_fingerprint(values: Mapping[str, object]) -> bytes:
    """Return the content of a report in one spelling, so that the same report from another serializer is recognized."""
    usage, at = values["usage"], values.get("at")
    content = [values["model"], usage.document(), str(at) if at else None, values.get("service_tier")]  # type: ignore[attr-defined] # Validated to be a Usage.
    if attributes := values.get("attributes"):
        content.append(sorted(attributes.items()))  # type: ignore[attr-defined] # Validated to be a mapping.
    return encode(content)


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key", "")
    if IDEMPOTENCY_KEY.fullmatch(key) is None:
        message = "must be a header of 1 to 200 printable ASCII characters without spaces, new for each call"
        raise Malformed(f"Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
    return key


def _token_id() -> int:
    token_id: int | None = g.token.id
    if token_id is None:
        raise Unavailable("Usage cannot be recorded while the database is away. Send it again later, with the same Idempotency-Key.")
    return token_id


def summarise_usage() -> Response:
    state, query = request_registry(), read_query(SUMMARY_QUERY)
    until = query.get("until") or utc_now() + MAX_CLOCK_SKEW
    since = query.get("since") or until - MONTH
    require_valid_span(since, until)
    group_by = query.get("group_by", GROUPS[0])
    ref = resolve_model(state, query["model"]).ref if "model" in query else None
    project = _own_project(query.get("project"))
    try:
        groups, total = records.summarize(db.session(), records.UsageQuery(since, until, group_by, ref, project))
    finally:
        db.session.rollback()  # On SQLite an open read blocks every writer.
    body = {
        "since": format_timestamp(since),
        "until": format_timestamp(until),
        "group_by": group_by,
        "data": [{group_by: name or None, **_summary_document(groups[name])} for name in sorted(groups)],
        "total": _summary_document(total),
    }
    encoded = encode(body)
    return conditional_response(state.snapshot, hashlib.sha256(encoded).hexdigest()[:32], encoded)


def _summary_document(summary: UsageSummary) -> dict[str, object]:
    return {
        "records": summary.records,
        "usage": summary.ordered_usage(),
        "totals": {currency: format_decimal(total) for currency, total in sorted(summary.totals.items())},
        "complete": summary.complete,
        "unpriced": summary.unpriced,
        "incomplete": summary.incomplete,
    }
