"""Reporting usage, and what it comes to."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta

from flask import Response, g, request

from webapp.api.v1.catalog.registry_views import model_of, utc_now
from webapp.api.v1.core.encoded_registry import rendered
from webapp.api.v1.core.json_body import json_object
from webapp.api.v1.core.parameters import TEXT, Parameter, chosen, name_of_model, read, word
from webapp.api.v1.core.responses import answer, conditional, encode
from webapp.api.v1.pricing.costs import COST_CHECKS, COST_REQUIRED
from webapp.domain.pricing.pricing import STANDARD, cost_of
from webapp.domain.shared.errors import FieldError, Malformed, Unavailable
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp
from webapp.domain.shared.validators import validate
from webapp.domain.usage.usage_summary import GROUPS, MAX_CLOCK_SKEW, UsageSummary, require_valid_span, validate_call_time
from webapp.extensions import db
from webapp.runtime.transaction import writing
from webapp.services.usage import records

KEY = re.compile(r"[\x21-\x7e]{1,200}")
MONTH = timedelta(days=30)
MOMENT: Mapping[str, str] = {"type": "string", "format": "date-time"}
SUMMARY_QUERY = (
    Parameter("since", parse_timestamp, MOMENT, "From this moment on; 30 days before `until` if left out."),
    Parameter("until", parse_timestamp, MOMENT, "To just before this moment; all that was reported if left out."),
    chosen("group_by", GROUPS, "What to sum by; model if left out."),
    Parameter("model", name_of_model, TEXT, "Only usage of this model."),
    Parameter("project", word, TEXT, "Only usage of this project."),
)


def report_usage() -> Response:
    """One call of one model. Sent again with the same Idempotency-Key, it is counted once and answered as the first time."""
    state, now = rendered(), utc_now()
    asked = validate(json_object(), COST_CHECKS, COST_REQUIRED)
    key = _key()
    at = validate_call_time(asked.get("at"), now)
    model = model_of(state, asked["model"])
    cost = cost_of(model.price_at(at), asked["usage"], at=at, service_tier=asked.get("service_tier") or STANDARD, model=model.ref)
    report = records.Report(_token_id(), key, _said(asked), model.ref, asked["usage"], cost)
    with writing(refresh=False) as session:
        found, new = records.record(session, report)
        document = records.document(found)
    return answer(state.snapshot, encode(document), 201 if new else 200)


def _said(asked: Mapping[str, object]) -> bytes:
    """What was said, whatever its spelling: the same report sent by another serialiser is the same report."""
    spent, at = asked["usage"], asked.get("at")
    return encode([asked["model"], spent.as_dict(), str(at) if at else None, asked.get("service_tier")])  # type: ignore[attr-defined] # checked to be a Usage


def _key() -> str:
    given = request.headers.get("Idempotency-Key", "")
    if KEY.fullmatch(given) is None:
        message = "must be a header of 1 to 200 printable ASCII characters without spaces, new for each call"
        raise Malformed(f"Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
    return given


def _token_id() -> int:
    number: int | None = g.token.id
    if number is None:
        raise Unavailable("Usage cannot be recorded while the database is away. Send it again later, with the same Idempotency-Key.")
    return number


def summarise_usage() -> Response:
    state, asked = rendered(), read(SUMMARY_QUERY)
    until = asked.get("until") or utc_now() + MAX_CLOCK_SKEW
    since = asked.get("since") or until - MONTH
    require_valid_span(since, until)
    group_by = asked.get("group_by", GROUPS[0])
    ref = model_of(state, asked["model"]).ref if "model" in asked else None
    try:
        groups, everything = records.summary(db.session(), records.Question(since, until, group_by, ref, asked.get("project")))
    finally:
        db.session.rollback()  # On SQLite an open read keeps every writer waiting.
    body = {
        "since": format_timestamp(since),
        "until": format_timestamp(until),
        "group_by": group_by,
        "data": [{group_by: name or None, **_summary(groups[name])} for name in sorted(groups)],
        "total": _summary(everything),
    }
    encoded = encode(body)
    return conditional(state.snapshot, hashlib.sha256(encoded).hexdigest()[:32], encoded)


def _summary(found: UsageSummary) -> dict[str, object]:
    return {
        "records": found.records,
        "usage": found.ordered_usage(),
        "totals": {currency: format_decimal(total) for currency, total in sorted(found.totals.items())},
        "complete": found.complete,
        "unpriced": found.unpriced,
        "incomplete": found.incomplete,
    }
