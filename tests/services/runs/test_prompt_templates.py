"""Tests of template versions, the order of model choice, and cached responses, on SQLite and PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from webapp.domain.incidents.samples import SAMPLES
from webapp.domain.shared.errors import Conflict, InUse, Invalid, NotFound, Stale
from webapp.drivers.core.base import ChatRequest, Endpoint
from webapp.extensions import db
from webapp.models import CachedResponse, PromptTemplate
from webapp.runtime import container
from webapp.runtime.run_pipeline import RunOptions, plan_run, run_incident
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.credentials.key_access import OPERATOR
from webapp.services.runs import prompt_templates, response_cache
from webapp.services.runs.response_cache import CacheEntry

ENTRY = {"name": "summary", "title": "Summary", "category": "summary", "system": "Be brief.", "user": "{{incident}}"}


def create(**more) -> None:
    with writing() as session:
        prompt_templates.create(session, ENTRY | more, actor="ann")


def revise(name="summary", **more) -> int:
    with writing() as session:
        return prompt_templates.revise(
            session, name, {key: value for key, value in (ENTRY | more).items() if key != "name"}, actor="bob"
        ).version


def test_every_change_is_a_version_and_one_of_them_is_current(either_app):
    create()
    assert [revise(system="Be briefer."), revise(system="Be briefest.", note="Shorter")] == [2, 3]
    rows = prompt_templates.list_versions(db.session(), "summary")
    assert [(row.version, row.system, row.is_current) for row in rows] == [
        (3, "Be briefest.", True),
        (2, "Be briefer.", False),
        (1, "Be brief.", False),
    ]
    with writing() as session:
        assert prompt_templates.restore(session, "summary", 1, actor="ann").version == 4
    assert prompt_templates.find_current(db.session(), "summary").system == "Be brief."


def test_what_changes_nothing_or_is_behind_is_refused(either_app):
    create()
    with pytest.raises(Invalid, match="nothing to save"):
        revise()
    revise(system="x")
    with pytest.raises(Stale), writing() as session:
        prompt_templates.revise(session, "summary", {key: value for key, value in ENTRY.items() if key != "name"}, actor="ann", version=1)
    with pytest.raises(Conflict, match="is taken"):
        create()


def test_the_built_in_template_is_a_row_and_serves_also_without_one(either_app):
    assert prompt_templates.find_current(db.session(), None).version == 1
    with writing() as session:
        session.execute(text("DELETE FROM prompt_templates"))
    assert prompt_templates.find_current(db.session(), None).system.startswith("You are an experienced")
    with pytest.raises(NotFound, match="no template of that name"):
        prompt_templates.find_current(db.session(), "nothing")


def test_an_inactive_template_is_refused_and_a_used_one_cannot_be_deleted(either_app):
    create()
    run_incident(SAMPLES[0].incident(), RunOptions(template="summary", caller=OPERATOR), actor="ann")
    with writing() as session:
        prompt_templates.set_active(session, "summary", False, actor="ann")
    with pytest.raises(Conflict, match="is inactive"):
        plan_run(SAMPLES[0].incident(), RunOptions(template="summary", caller=OPERATOR))
    with pytest.raises(InUse, match="1 runs used it"), writing() as session:
        prompt_templates.delete(session, "summary", actor="ann")


def test_the_templates_model_comes_after_a_named_one_and_before_all_others(either_app):
    create(preferred_model="gpt-4o")
    incident = SAMPLES[0].incident()
    assert plan_run(incident, RunOptions(template="summary", caller=OPERATOR)).choice.decided_by == "template"
    named = plan_run(incident, RunOptions("mistral/mistral-small-latest", "summary", caller=OPERATOR)).choice
    assert (named.decided_by, named.model.provider) == ("explicit ref", "mistral")


@pytest.mark.parametrize("preferred", ["no-such-model", "openai/gpt-4o"])
def test_a_templates_model_that_cannot_run_is_passed_over_and_the_run_says_so(either_app, preferred):
    create(preferred_model=preferred)
    with writing() as session:
        models.set_active(session, container.registry().get_model("openai/gpt-4o").id, False, actor="ann")
    run = run_incident(SAMPLES[0].incident(), RunOptions(template="summary", caller=OPERATOR), actor="ann")
    assert (run.decided_by, run.template, run.template_version) == ("local rules", "summary", 1)
    assert f"The template prefers {preferred}, which was passed over." in run.decided_note


ENDPOINT = Endpoint("acme", "openai", "https://api.acme.example/v1", "sk-0123456789", credential="shared")
REQUEST = ChatRequest("m", "S", "U", temperature=0.5, json_schema={"type": "object"}, context_window=10)
KEY = response_cache.cache_key(ENDPOINT, REQUEST, "summary 1", "staff")
DIFFERENT = [
    (ENDPOINT, REQUEST, "summary 1", "project one"),
    (replace(ENDPOINT, slug="other"), REQUEST, "summary 1", "staff"),
    (replace(ENDPOINT, base_url="https://other.example/v1"), REQUEST, "summary 1", "staff"),
    (replace(ENDPOINT, credential="personal:ann@example.com"), REQUEST, "summary 1", "staff"),
    (replace(ENDPOINT, driver="grok"), REQUEST, "summary 1", "staff"),
    (replace(ENDPOINT, config={"json_mode": "prompt"}), REQUEST, "summary 1", "staff"),
    (ENDPOINT, REQUEST, "summary 2", "staff"),
    *(
        (ENDPOINT, replace(REQUEST, **{name: value}), "summary 1", "staff")
        for name, value in (
            ("model", "n"),
            ("system", "T"),
            ("user", "V"),
            ("max_output_tokens", 1),
            ("temperature", None),
            ("json_schema", None),
            ("schema_name", "x"),
            ("token_parameter", "max_tokens"),
            ("context_window", 11),
        )
    ),
]


@pytest.mark.parametrize("question", DIFFERENT, ids=str)
def test_whatever_changes_the_answer_makes_another_question(question):
    assert response_cache.cache_key(*question) != KEY


def test_the_key_itself_is_in_no_digest_and_a_slower_deadline_asks_the_same():
    assert (
        response_cache.cache_key(
            replace(ENDPOINT, api_key="sk-another-key", timeout_s=5), replace(REQUEST, deadline_s=1), "summary 1", "staff"
        )
        == KEY
    )


def remember(session, key=KEY, minutes=10, now=None, response="text") -> None:
    response_cache.store(session, CacheEntry(key, "summary", "acme/m", response, {"input": 1}, "run_1", minutes), now)


def test_an_answer_is_found_until_it_expires_and_then_swept_out(either_app):
    stored_at = datetime.now(UTC) - timedelta(minutes=30)
    with writing() as session:
        remember(session, now=stored_at)
        assert response_cache.get_hit_or_none(session, KEY, stored_at + timedelta(minutes=9)).text == "text"
        assert response_cache.get_hit_or_none(session, KEY) is None
        remember(session, "f" * 64)
        assert session.execute(select(func.count()).select_from(CachedResponse)).scalar_one() == 1
        assert response_cache.clear(session, actor="ann") == 1


def test_the_same_answer_remembered_by_many_at_once_is_one_row(either_app):
    errors = []

    def keep(number: int) -> None:
        with either_app.app_context():
            try:
                with writing(refresh=False) as session:
                    remember(session, response=str(number))
            except Exception as error:
                errors.append(error)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert db.session.execute(select(func.count()).select_from(CachedResponse)).scalar_one() == 1


def test_two_current_versions_of_a_name_are_refused_by_the_database(either_app):
    create()
    row = prompt_templates.find(db.session(), "summary")
    twin = {column: getattr(row, column) for column in prompt_templates.VERSIONED_COLUMNS}
    with pytest.raises(Conflict), writing() as session:
        session.add(PromptTemplate(name="summary", version=9, is_current=True, **twin))
