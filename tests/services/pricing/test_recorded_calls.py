"""Usage that a run or a report stored is read back equal, also with fractions and with overlaps that were stated as 0."""

from datetime import UTC, datetime, timedelta

import pytest

from webapp.domain.incidents.incidents import incident_from
from webapp.domain.incidents.model_selection import Choice
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.usage import Usage
from webapp.models import Run, UsageRecord
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.pricing.recorded_calls import iterate_calls
from webapp.services.runs import records as runs
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan
from webapp.services.usage.records import UsageReport, store_report

AT = datetime(2026, 11, 28, 20, tzinfo=UTC)
REF = "openai/gpt-4o-mini"
USAGES = [
    Usage(second="8.47"),
    Usage(second="8.0", input=5),
    Usage(input=1_000, cache_read=200, input_audio=300, cache_read_audio=0),
    Usage(output=10**12, output_image=3, pixel=1, gb_day=2),
]


@pytest.mark.parametrize("usage", USAGES)
def test_stored_usage_is_read_back_equal(either_app, usage):
    model = container.registry().get_model(REF)
    cost = cost_of(model.price_at(AT), usage, at=AT, model=REF)
    choice = Choice("explicit ref", "openai", model, "openai", "gpt-4o-mini", explicit=True)
    plan = RunPlan(incident_from({"title": "Disk full", "severity": "critical"}), choice, None, None, "database")
    with writing() as session:
        token = api_tokens.create(session, "billing", ["usage:write"], actor="ann")[0]
        record, _ = store_report(session, UsageReport(token.id, "key", b"body", REF, usage, cost))
        run = runs.record(session, plan, RunOutcome("succeeded", (), "openai", AT, 1, usage, cost, sent=True), actor="ann")
        record_id, run_id = record.id, run.id
    with writing() as session:
        for row in (session.get_one(UsageRecord, record_id), session.get_one(Run, run_id)):
            assert (Usage(**row.usage), row.usage, row.cost) == (usage, usage.document(), cost_document(cost))
        calls = list(iterate_calls(session, REF, AT, AT + timedelta(days=1)))
    assert [call.usage for call in calls] == [usage, usage]
