"""The stage of the E16 form tests: input values, and test objects that are created on request."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
from factories import Visitor, csrf_token, model_values, price_values
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from webapp.domain.incidents.evaluation import LOCAL
from webapp.domain.incidents.incidents import incident_from
from webapp.extensions import db
from webapp.models import AuditEvent, Credential, ImportDraft, Model, ProjectOverride, Proposal, Provider, User
from webapp.runtime import container
from webapp.runtime.job_worker import JobWorker
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, second_factor
from webapp.services.audit.audit_log import Target
from webapp.services.catalog import models, providers, succession
from webapp.services.catalog_sync import proposal_jobs
from webapp.services.credentials import credentials
from webapp.services.jobs import queue
from webapp.services.jobs.queue import JobRequest
from webapp.services.pricing import prices
from webapp.services.projects import projects
from webapp.services.runs import evaluations, prompt_templates, saved_incidents

NEW_PASSWORD = "Another-Harbour-of-tests"  # a fixed test value, like PASSWORD
CATALOGUE = {"format": "modeldesk-registry", "version": 1, "models": [model_values(model_id="new-one")]}
LITELLM = {"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 1e-05}}
PRICED = {"state": "priced", "unit": "1000000", "rate_input": "2.5", "rate_output": "10", "when": "now"}
TEMPLATE = {
    "name": "summary",
    "title": "Summary",
    "category": "summary",
    "system": "Be brief.",
    "user": "{{incident}}",
    "preferred_model": "",
    "temperature": "",
    "max_tokens": "",
    "cache_minutes": "0",
    "note": "",
}
OPENAI = {"slug": "openai", "display_name": "Open AI", "driver": "openai", "base_url": "https://api.openai.com/v1", "active": "y"}
BENCH = {"samples": "disk-full", "models": LOCAL, "repeats": "1", "spend_cap": "", "incident": ""}
UPLOAD = {"source": "litellm", "file": json.dumps(LITELLM).encode()}


@dataclass
class Stage:
    """Test objects, created on request, and the client that acts on them."""

    app: Flask
    ann: Visitor
    client: FlaskClient = field(init=False)
    page: str = "/admin/"

    def __post_init__(self) -> None:
        self.client = self.ann.client

    def stranger(self, page: str = "/login") -> FlaskClient:
        self.client, self.page = self.app.test_client(), page
        return self.client

    def send(self, path: str, form: Mapping[str, Any]) -> TestResponse:
        """Submit a form like a browser. A value of type bytes is sent as a file."""
        data = {"csrf_token": csrf_token(self.client.get(self.page).text)}
        for name, value in form.items():
            data[name] = (io.BytesIO(value), "file.json") if isinstance(value, bytes) else value
        return self.client.post(path, data=data)

    def made(self, path: str, form: Mapping[str, Any]) -> str:
        response = self.send(path, form)
        assert response.status_code == 302, response.text
        return response.location

    def one(self, query) -> Any:
        db.session.rollback()
        row = db.session.execute(query).scalars().first()
        db.session.rollback()
        return row

    def model(self, name: str = "gpt-4o") -> int:
        return self.one(select(Model.id).where(Model.model_id == name))

    def provider(self, slug: str = "openai") -> int:
        return self.one(select(Provider.id).where(Provider.slug == slug))

    def user(self, name: str = "eve") -> int:
        return self.one(select(User.id).where(User.email == f"{name}@example.com"))

    def with_user(self, change: Callable[[Any, User], Any], name: str = "eve") -> Any:
        with writing() as session:
            return change(session, accounts.find(session, f"{name}@example.com"))

    def link(self) -> str:
        return self.with_user(lambda session, user: accounts.make_link(session, user, actor="tests", now=datetime.now(UTC)))

    def factor(self, name: str = "ann") -> list[str]:
        """Turn the second factor on. Return the recovery codes."""

        def turn_on(session, user):
            secret = second_factor.begin_enrollment(session, user, vault=container.vault())
            now = datetime.now(UTC) - timedelta(seconds=second_factor.STEP_S)
            return second_factor.confirm_enrollment(
                session, user, pyotp.TOTP(secret).at(now), vault=container.vault(), now=datetime.now(UTC)
            )

        return self.with_user(turn_on, name)

    def key(self, slug: str = "openai") -> int:
        with writing() as session:
            credentials.store(
                session, providers.get_by_slug_or_none(session, slug), "sk-0123456789abcdef", vault=container.vault(), actor="tests"
            )
        return self.one(select(Credential.id))

    def project(self) -> int:
        with writing() as session:
            return projects.create(session, {"slug": "blue", "display_name": "Blue"}, actor="tests").id

    def rule(self) -> str:
        path = f"/admin/project/{self.project()}/rules"
        self.made(path, {"kind": "allow", "model": "openai/gpt-4o"})
        return f"{path}/{self.one(select(ProjectOverride.id))}/end"

    def template(self) -> None:
        with writing() as session:
            prompt_templates.create(
                session, TEMPLATE | {"temperature": None, "max_tokens": None, "preferred_model": None, "cache_minutes": 0}, actor="tests"
            )

    def bench(self) -> str:
        location = self.made("/admin/bench/new", BENCH)
        public_id = location.rstrip("/").rsplit("/", 1)[1]
        JobWorker().run_pending()
        db.session.rollback()
        return public_id

    def cell(self, public_id: str) -> str:
        run_id = evaluations.find_with_cells(db.session(), public_id).cells[0].run.public_id
        db.session.rollback()
        return run_id

    def incident(self) -> int:
        with writing() as session:
            return saved_incidents.save(session, "Kept", incident_from({"title": "Disk full"}), actor="tests").id

    def draft(self) -> str:
        self.made("/admin/exchange/compare", {"file": json.dumps(CATALOGUE).encode()})
        return self.one(select(ImportDraft.public_id))

    def proposal(self) -> int:
        self.made("/admin/proposals/new", UPLOAD)
        return self.one(select(Proposal.id))

    def job(self) -> int:
        request = JobRequest(proposal_jobs.APPLY, Target("proposal", self.proposal(), "A catalog"), {}, 1, "row", "ann@example.com")
        with writing() as session:
            return queue.start(session, request).id

    def price(self) -> int:
        with writing() as session:
            return prices.add(session, self.one_model(session), price_values(), actor="tests").id

    def scheduled_price(self) -> int:
        with writing() as session:
            return prices.add(session, self.one_model(session), price_values(effective_from="2099-01-01T00:00:00Z"), actor="tests").id

    def one_model(self, session) -> int:
        return session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()

    def event(self) -> int:
        model_id = self.model()
        with writing() as session:
            models.update(session, model_id, {"display_name": "Wrong"}, actor="tests")
        return self.one(select(AuditEvent.id).order_by(AuditEvent.id.desc()))

    def retiring(self) -> int:
        model_id, retires_on = self.model("gpt-4o-mini"), (datetime.now(UTC) + timedelta(days=30)).date()
        with writing() as session:
            models.update(session, model_id, {"retires_on": retires_on.isoformat(), "successor": "openai/gpt-4o"}, actor="tests")
            succession.schedule_switch(session, model_id, retires_on, actor="tests")
        return model_id
