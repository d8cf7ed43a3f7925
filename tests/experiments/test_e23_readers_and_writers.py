"""E23: usage is reported while a proposal is applied, a file is compared, and usage is summed. Each report gets 201, p99 below 1 s.

The control holds one read transaction open, as a summary did before: with a rollback journal, reports are refused.
"""

import http.client
import json
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from environment import running
from serving import serving
from sqlalchemy import insert, select

from webapp.config.sqlite_driver import ROLLBACK, sqlite
from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.extensions.database_file import use_journal_mode
from webapp.extensions.engine import WRITING
from webapp.models import ApiToken, UsageRecord
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime import container
from webapp.runtime.job_worker import JobWorker
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import proposal_jobs, proposals
from webapp.services.catalog_sync.apply import Approval
from webapp.services.catalog_sync.proposals import Comparison, RowFilter


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def desk(request, tmp_path):
    settings = request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")
    with serving(settings, tmp_path, workers=2) as served:
        yield served


@contextmanager
def posting(served, token):
    """Report usage in another process. Yields a list that holds the status and the seconds of each report after the block."""
    results: list[tuple[int, float]] = []
    command = [sys.executable, str(Path(__file__).with_name("posting.py")), str(served.port), token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(0.5)
        yield results
        output, _ = process.communicate("")
    results += [tuple(result) for result in json.loads(output)]


def summary_of(name, results) -> str:
    times = sorted(seconds for _, seconds in results)
    p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    refused = sum(status != 201 for status, _ in results)
    return f"{name}: {len(times)} reports, {refused} refused, p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, max {times[-1] * 1e3:.0f} ms"


def catalog_of(count) -> SourceCatalog:
    rates = [{"meter": meter, "amount": "2", "per": 1_000_000} for meter in ("input", "output", "cache_read")]
    price = {"state": "priced", "effective_from": "2020-01-01T00:00:00Z", "currency": "USD", "rates": rates, "media_at_text_rate": False}
    model = {"provider": "newcomer", "display_name": "New", "type": "text", "capabilities": [], "aliases": [], "prices": [price]}
    return SourceCatalog("acme-list", "1", "1" * 64, [], [model | {"model_id": f"m-{number}"} for number in range(count)], fields_read=1)


def open_proposal(count) -> int:
    with writing(refresh=False) as session:
        snapshot = container.registry().snapshot
        comparison = Comparison(snapshot, catalog_of(count), None, GuardLimits(), datetime.now(UTC))
        proposal_id = proposals.open_proposal(session, comparison, actor="ann").id
        proposals.choose(session, proposal_id, RowFilter().condition(), True)
    return proposal_id


def start_apply(proposal_id) -> None:
    with writing(refresh=False) as session:
        digest = proposals.selection_digest(session, proposal_id)
        proposal_jobs.start_apply(session, proposal_id, Approval("bob", datetime.now(UTC), True, digest))


def test_e23_usage_is_reported_while_a_proposal_is_applied(desk, scale, report):
    token, count = desk.token("usage:write"), scale(200, 4_200)
    for _ in running(desk.settings):
        proposal_id = open_proposal(count)
        start_apply(proposal_id)
        with posting(desk, token) as results:
            assert JobWorker().run_pending() == 1
    report(summary_of(f"{count:,} rows applied", results))
    assert {status for status, _ in results} == {201}


def test_e23_usage_is_reported_while_a_file_is_compared(desk, scale, report):
    token, count = desk.token("usage:write", "registry:write"), scale(5_000, 186_000)
    text = "provider,model_id,display_name,type,active\n" + "".join(f"openai,m{number},,,\n" for number in range(count))
    with posting(desk, token) as results:
        status, problem = compare(desk, token, text)
    assert (status, "Reading stopped after 50 errors" in problem["detail"]) == (422, True)
    report(summary_of(f"CSV of {count:,} wrong rows compared", results))
    assert {status for status, _ in results} == {201}


def compare(served, token, text) -> tuple[int, dict]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/csv"}
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=300)) as connection:
        connection.request("POST", "/api/v1/admin/import?dry_run=true", text.encode(), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def add_usage(served, count) -> None:
    engine = served.engine()
    with engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        row = {
            "token_id": connection.execute(select(ApiToken.id).limit(1)).scalar_one(),
            "body_digest": b"0" * 32,
            "model_ref": "openai/gpt-4o-mini",
            "usage": {"input": 1000, "output": 500},
            "service_tier": "standard",
            "at": datetime.now(UTC) - timedelta(hours=1),
            "cost": {},
            "cost_total": Decimal("0.00045"),
            "currency": "USD",
            "complete": True,
        }
        for start in range(0, count, 10_000):
            numbers = range(start, min(start + 10_000, count))
            rows = [row | {"public_id": f"use_{number}", "idempotency_key": f"key-{number}"} for number in numbers]
            connection.execute(insert(UsageRecord), rows)
    engine.dispose()


def test_e23_usage_is_reported_while_usage_is_summed(desk, scale, report):
    token, count = desk.token("usage:write", "usage:read"), scale(3_000, 1_000_000)
    add_usage(desk, count)
    client = desk.client(token)
    start = time.monotonic()
    with posting(desk, token) as results:
        for _ in range(scale(3, 2)):
            answer = client.ask("GET", "/usage/summary")
            assert answer.status == 200
            assert answer.json["total"]["records"] >= count
    took = time.monotonic() - start
    client.close()
    report(summary_of(f"{count:,} rows of usage summed, {took:.0f} s", results))
    assert {status for status, _ in results} == {201}


def test_e23_control_an_open_read_refuses_reports_with_a_rollback_journal(settings, tmp_path, report):
    settings = replace(settings, sqlite_wal=False)
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    with serving(settings, tmp_path, workers=2, MODELDESK_SQLITE_WAL="off") as served:
        token = served.token("usage:write")
        with closing(sqlite.connect(settings.sqlite_path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM usage_records").fetchone()
            with posting(served, token) as results:
                time.sleep(7)
                reader.execute("ROLLBACK")
    report(summary_of("control: rollback journal with an open read", results))
    assert 503 in {status for status, _ in results}
