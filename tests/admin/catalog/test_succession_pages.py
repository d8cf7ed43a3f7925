"""Model retirement: the dashboard lists retiring models and their users, and the model's page schedules the successor."""

import html
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

SOON = (datetime.now(UTC) + timedelta(days=30)).date()


def number(name="gpt-4o-mini"):
    db.session.rollback()
    return db.session.execute(select(Model.id).where(Model.model_id == name)).scalar_one()


def retiring(successor="openai/gpt-4o"):
    model_id = number()
    with writing() as session:
        models.update(session, model_id, {"retires_on": SOON.isoformat(), "successor": successor}, actor="ann")


def page(visitor, path):
    return html.unescape(visitor.get(path).text)


def test_the_dashboard_says_what_retires_who_uses_it_and_what_follows(ann):
    retiring()
    content = page(ann, "/admin/")
    assert "GPT-4o Mini retires on" in content
    assert "Successor: openai/gpt-4o, and no day to switch over. Used: default for text" in content


def test_the_day_is_scheduled_shown_and_taken_back(bob, eve):
    retiring()
    address = f"/admin/model/details/?id={number()}"
    assert f'value="{SOON.isoformat()}"' in page(bob, address)
    bob.post(f"/admin/model/{number()}/switch-over", {"day": SOON.isoformat()})
    content = page(bob, address)
    assert "openai/gpt-4o takes the place of GPT-4o Mini" in content
    assert "begin to lead to the successor" in content
    assert "which takes over on" in page(bob, "/admin/")
    assert "switch-over" not in page(eve, address)
    bob.post(f"/admin/model/{number()}/switch-over", {"day": ""})
    assert "Nothing is scheduled" in page(bob, address)


def test_a_day_that_is_none_or_a_missing_successor_is_said(bob):
    retiring(successor="openai/nowhere")
    bob.post(f"/admin/model/{number()}/switch-over", {"day": "soon"})
    assert "must be a date" in page(bob, "/admin/model/")
    bob.post(f"/admin/model/{number()}/switch-over", {"day": SOON.isoformat()})
    assert "is not in the registry" in page(bob, "/admin/model/")


def test_deactivating_what_is_used_asks_and_names_the_users(bob):
    content = page(bob, f"/admin/model/details/?id={number('gpt-4o')}")
    assert "Deactivate GPT-4o? It is used: 2 other names." in content
    assert "also applies to: 2 other names" in page(bob, f"/admin/price/new/?model={number('gpt-4o')}")
