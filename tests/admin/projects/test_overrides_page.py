"""The overrides of a project: add, compare with the list price, end; and tokens of a project."""

import html
import re

import pytest
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import ApiToken, Project, ProjectOverride
from webapp.runtime.transaction import writing
from webapp.services.projects import projects

OWN = {"kind": "price", "model": "openai/gpt-4o", "rate_input": "1.25", "rate_output": "5", "note": "Contract 17"}


@pytest.fixture
def address(app):
    with writing() as session:
        return f"/admin/project/{projects.create(session, {'slug': 'blue', 'display_name': 'Blue'}, actor='ann').id}/rules"


def page(visitor, path):
    return html.unescape(visitor.get(path).text)


def row():
    db.session.rollback()
    return db.session.execute(select(ProjectOverride).order_by(ProjectOverride.id.desc())).scalars().first()


def test_a_price_of_its_own_stands_beside_the_list_price_struck_through(bob, address):
    assert "No rules of its own" in page(bob, address)
    assert bob.post(address, OWN).status_code == 302
    content = page(bob, address)
    assert "$2.50 per 1M tokens</s>" in content
    assert "<strong>$1.25 per 1M tokens</strong>" in content
    assert "Contract 17" in content
    assert "$2.50 per 1M tokens</s>" in page(bob, f"/admin/model/details/?id={row().model_id}")
    assert "1 rule" in page(bob, "/admin/project/")


def test_a_rule_is_ended_and_stays_to_be_seen(bob, address):
    bob.post(address, {"kind": "allow", "model": "openai/gpt-4o"})
    assert "Only the allowed models answer as active" in page(bob, address)
    bob.post(f"{address}/{row().id}/end")
    assert "Ended" in page(bob, address)
    assert row().ends_at is not None


def test_what_makes_no_sense_is_said_at_its_field_and_nothing_is_lost(bob, address):
    for invalid, field in (
        ({"model": ""}, "model"),
        ({"starts": "soon"}, "starts"),
        ({"rate_input": "1,5"}, "rate_input"),
        ({"rate_input": "", "rate_output": ""}, "rates"),
    ):
        response = bob.post(address, OWN | invalid)
        assert response.status_code == 422
        assert f'id="{field}-error"' in response.text
        assert "Contract 17" in response.text
    bob.post(address, OWN)
    assert "end it first" in bob.post(address, OWN).text


def test_a_viewer_looks_and_changes_nothing(eve, bob, address):
    bob.post(address, OWN)
    assert "New rule" not in page(eve, address)
    assert eve.post(address, OWN).status_code == 403
    assert eve.post(f"{address}/{row().id}/end").status_code == 403


def test_a_token_is_made_for_a_project(ann, address):
    assert (
        ann.post("/admin/token/new/", {"name": "app", "scopes": "registry:read", "project": "blue", "expires_days": "30"}).status_code
        == 200
    )
    db.session.rollback()
    assert db.session.execute(select(ApiToken.project).where(ApiToken.name == "app")).scalar_one() == "blue"
    assert re.search("Choice|choice", ann.post("/admin/token/new/", {"name": "app2", "scopes": "registry:read", "project": "nobody"}).text)
    assert db.session.execute(select(Project.slug)).scalar_one() == "blue"


CONDITIONAL = {
    "rate_second": "0.03",
    "per_second": "60",
    "minimum": "0.01",
    "more_meter": ["image", "output"],
    "more_amount": ["0.25", "7"],
    "more_when": ["quality = high", ""],
    "more_days": ["", "Sat, Sun"],
    "more_tz": ["", "Asia/Shanghai"],
}


def test_a_price_of_its_own_can_have_every_meter_and_condition(bob, address):
    assert bob.post(address, OWN | CONDITIONAL).status_code == 302
    content = page(bob, address)
    for text in (
        "Seconds:",
        "<strong>$0.03 per minute</strong>",
        "Images, quality high:",
        "Output, all day Asia/Shanghai on Sat, Sun:",
        "Each line of a cost is at least $0.01, unless it is 0.",
    ):
        assert text in content
    rates = row().price["rates"]
    assert [rate["when"] for rate in rates if rate["meter"] == "image"] == [{"quality": "high"}]
    assert row().price["minimum"] == "0.01"


def test_more_rows_for_a_price_keep_what_was_entered(bob, address):
    response = bob.post(address, OWN | CONDITIONAL | {"_more": "1"})
    assert response.status_code == 200
    assert 'value="Asia/Shanghai"' in response.text
    assert row() is None


def test_an_error_in_a_row_of_a_price_is_shown_at_that_row(bob, address):
    response = bob.post(address, OWN | CONDITIONAL | {"more_when": ["quality", ""]})
    assert response.status_code == 422
    assert 'id="row_0-error">' in response.text
    assert '<fieldset class="more-rate is-invalid" aria-invalid="true" aria-describedby="row_0-error" id="row_0">' in response.text
    assert "has no equals sign" in response.text
