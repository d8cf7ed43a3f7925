"""Responses to an application of a project: its default, its models and its prices, at every endpoint."""

from datetime import UTC, datetime, timedelta

import pytest
from factories import Api, price_values
from sqlalchemy import select

from webapp.domain.catalog.input_schemas import validate_price
from webapp.domain.shared.errors import Conflict, InUse, Invalid
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Project
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models
from webapp.services.projects import overrides, projects
from webapp.services.projects.overrides import Rule

NOW = datetime.now(UTC).replace(microsecond=0)
CHEAP = validate_price(
    price_values(rates=[{"meter": "input", "amount": "1", "per": 1_000_000}, {"meter": "output", "amount": "2", "per": 1_000_000}])
)
ASKED = {"model": "openai/gpt-4o", "usage": {"input": 1_000_000}}


@pytest.fixture
def blue(either_app):
    """Return the client of an application in the project blue."""
    with writing() as session:
        projects.create(session, {"slug": "blue", "display_name": "Blue"}, actor="ann")
        token, text = api_tokens.create(session, "blue app", ["registry:read", "usage:write"], actor="ann")
        token.project = "blue"
    return Api(either_app.test_client(), text)


def ruled(kind, ref="openai/gpt-4o", starts=NOW - timedelta(hours=1), **more):
    with writing() as session:
        project = session.execute(select(Project.id)).scalar_one()
        return overrides.add(session, project, Rule(kind, ref, starts, **more), actor="ann").id


def ended(override_id, at=NOW):
    with writing() as session:
        overrides.end(session, override_id, at, actor="ann")


def test_a_price_of_its_own_is_charged_on_every_way_and_to_nobody_else(blue, either_app, api_for_all):
    before = blue.get("/models/openai/gpt-4o")
    override_id = ruled("price", price=CHEAP)
    quick, slow = blue.post("/cost", ASKED), blue.post("/cost/batch", {"items": [ASKED]})
    assert (quick.json["total"], slow.json["data"][0]["total"]) == ("1", "1")
    assert quick.headers["Modeldesk-Project"] == "blue"
    shown = blue.get("/models/openai/gpt-4o")
    assert shown.json["price"]["source"]["name"] == "project blue"
    assert shown.headers["ETag"] != before.headers["ETag"]
    assert api_for_all.post("/cost", ASKED).json["total"] == "2.5"
    past = blue.post("/cost", ASKED | {"at": (NOW - timedelta(days=1)).isoformat()})
    assert past.json["total"] == "2.5"
    used = blue.post("/usage", ASKED, headers={"Idempotency-Key": "k1"})
    assert (used.status_code, used.json["cost"]["total"], used.json["project"]) == (201, "1", "blue")
    ended(override_id)
    assert blue.post("/cost", ASKED).json["total"] == "2.5"


def test_a_default_and_a_list_of_its_own(blue, api_for_all):
    ruled("default", "anthropic/claude-3-haiku")
    assert blue.get("/defaults/text").json["ref"] == "anthropic/claude-3-haiku"
    ruled("allow", "anthropic/claude-3-haiku")
    assert blue.get("/supported?model=openai/gpt-4o").json["supported"] is False
    assert blue.get("/supported?model=anthropic/claude-3-haiku").json["supported"] is True
    assert blue.get("/models?active=true").json["total"] == 1
    assert api_for_all.get("/defaults/text").json["ref"] == "openai/gpt-4o-mini"


def test_an_inactive_project_has_no_rules(blue):
    ruled("price", price=CHEAP)
    with writing() as session:
        projects.update(session, session.execute(select(Project.id)).scalar_one(), {"active": False}, actor="ann")
    assert blue.post("/cost", ASKED).json["total"] == "2.5"


def test_two_rules_of_one_kind_do_not_hold_at_once(blue):
    override_id = ruled("default", "openai/gpt-4o")
    with pytest.raises(Conflict, match="end it first"):
        ruled("default", "anthropic/claude-3-haiku")
    ended(override_id)
    ruled("default", "anthropic/claude-3-haiku", starts=NOW)
    with pytest.raises(Conflict, match="ended already"):
        ended(override_id)


def test_a_rule_that_makes_no_sense_is_refused(blue):
    for more in ({"kind": "poem"}, {"ref": "openai/none"}, {"ends": NOW - timedelta(days=9)}, {"kind": "price"}, {"price": CHEAP}):
        with pytest.raises(Invalid):
            ruled(**({"kind": "allow"} | more))


def test_rules_are_in_the_trail_and_keep_what_they_name(blue):
    override_id = ruled("allow")
    ended(override_id, NOW + timedelta(days=1))
    db.session.rollback()
    actions = db.session.execute(select(AuditEvent.action).where(AuditEvent.target_name == "blue").order_by(AuditEvent.id)).scalars().all()
    assert actions[-2:] == ["registry:project:add_rule", "registry:project:end_rule"]
    model = db.session.execute(select(Model).where(Model.model_id == "gpt-4o")).scalar_one()
    assert "rule of the project blue" in models.list_references(db.session(), model)
    with pytest.raises(InUse, match="1 rule"), writing() as session:
        projects.delete(session, session.execute(select(Project.id)).scalar_one(), actor="ann")


@pytest.fixture
def api_for_all(either_app):
    """Return the client of an application without a project."""
    with writing() as session:
        _, text = api_tokens.create(session, "all", ["registry:read"], actor="ann")
    return Api(either_app.test_client(), text)
