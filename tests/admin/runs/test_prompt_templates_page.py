"""The pages of prompt templates, cached responses end to end, and `incidents analyze`."""

import html
import json
from dataclasses import replace

import pytest
from environment import PASSWORD, api_for, running
from factories import Api, Visitor, provider_values
from fake_provider import Upstream, error
from sqlalchemy import text

from webapp.domain.incidents.incidents import incident_from
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.projects import projects
from webapp.services.runs import prompt_templates, saved_incidents

FORM = {
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
DISK = {"title": "Disk usage at 97 %", "severity": "critical"}


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def desk(settings, upstream):
    """An app with a model on loopback, and a template whose responses are cached for an hour."""
    for app in running(replace(settings, outbound_allow=frozenset({upstream.place}))):
        with writing() as session:
            provider = providers.create(
                session, provider_values(base_url=upstream.base_url), actor="ann", policy=container.current().outbound
            )
            credentials.store(session, provider, "sk-CANARY-0123456789", vault=container.vault(), actor="ann")
            models.create(session, {"provider": "acme", "model_id": "m-1", "display_name": "M", "type": "text"}, actor="ann")
            prompt_templates.create(
                session, FORM | {"temperature": None, "max_tokens": None, "preferred_model": "acme/m-1", "cache_minutes": 60}, actor="ann"
            )
        yield app


def test_a_template_is_added_edited_compared_and_put_back(ann):
    assert ann.post("/admin/prompts/new", FORM).location.endswith("/admin/prompts/summary/")
    edited = FORM | {"system": "Be brief.\nBe kind.", "note": "Kinder", "row_version": "1"}
    assert ann.post("/admin/prompts/summary/edit", edited).status_code == 302
    page = html.unescape(ann.get("/admin/prompts/summary/").text)
    assert "<ins>+ Be kind.</ins>" in page
    assert "Kinder" in page
    ann.post("/admin/prompts/summary/restore", {"version": "1"})
    assert prompt_templates.find_current(db.session(), "summary").system == "Be brief."
    assert "Version 3" in ann.get("/admin/prompts/summary/").text


def test_what_cannot_be_saved_is_said_at_its_field_and_nothing_is_lost(ann):
    response = ann.post("/admin/prompts/new", FORM | {"user": "Hello {{name}}", "temperature": "hot", "max_tokens": "many"})
    page = html.unescape(response.text)
    assert response.status_code == 422
    assert "{{name}}, which is no placeholder" in page or "must be a number such as 0.2" in page
    assert "Hello {{name}}" in page
    stale = ann.post("/admin/prompts/incident-analysis/edit", FORM | {"system": "x", "row_version": "7"})
    assert (stale.status_code, "newer version" in stale.text) == (422, True)


def test_who_was_overtaken_sees_what_changed_and_saves_again(ann, bob):
    ann.post("/admin/prompts/new", FORM)
    assert (
        bob.post("/admin/prompts/summary/edit", FORM | {"system": "Be brief.\nBe kind.", "title": "Sums", "row_version": "1"}).status_code
        == 302
    )
    form = FORM | {"system": "Be brief.\nBe exact."}
    response = ann.post("/admin/prompts/summary/edit", form | {"row_version": "1"})
    page = html.unescape(response.text)
    assert (response.status_code, "Changed since version 1" in page, "By bob@example.com" in page) == (422, True, True)
    assert "<ins>+ Be kind.</ins>" in page
    assert ("Be exact." in page, "because you had left it alone: Title." in page, 'value="Sums"' in page) == (True, True, True)
    assert 'name="row_version" value="2"' in page
    assert ann.post("/admin/prompts/summary/edit", form | {"row_version": "2"}).status_code == 302
    assert [row.system for row in prompt_templates.list_versions(db.session(), "summary")] == [
        "Be brief.\nBe exact.",
        "Be brief.\nBe kind.",
        FORM["system"],
    ]


@pytest.mark.parametrize("version", ["0", "-1", "99999999999999", "x"])
def test_a_version_that_never_was_changes_nothing(ann, version):
    response = ann.post("/admin/prompts/incident-analysis/edit", FORM | {"system": "x", "row_version": version})
    assert (response.status_code, len(prompt_templates.list_versions(db.session(), "incident-analysis"))) == (422, 1)


def previewed(visitor, **fields):
    return html.unescape(visitor.post("/admin/prompts/incident-analysis/preview", fields, headers={"HX-Request": "true"}).text)


def test_a_preview_shows_the_words_that_would_be_sent(bob):
    page = previewed(bob, sample="disk-full")
    assert 'value="disk-full" selected' in page
    assert "Local rules" in page
    assert "Status: open" in page.partition("Question</h3>")[2]


def test_a_preview_takes_kept_incidents_and_text_of_ones_own_and_stores_nothing(ann, eve):
    with writing() as session:
        saved_id = saved_incidents.save(session, "The night of the disks", incident_from(DISK), actor="ann").id
    assert "Disk usage at 97 %" in previewed(eve, sample=f"kept-{saved_id}").partition("Question</h3>")[2]
    preview = previewed(eve, sample=f"kept-{saved_id}", incident="Queue <b>stands</b> still\nSince noon.")
    assert "plain text: the first line is the title" in preview
    assert "Queue <b>stands</b> still" in preview.partition("Question</h3>")[2]
    assert "Queue &lt;b&gt;stands" in eve.post("/admin/prompts/incident-analysis/preview", {"incident": "Queue <b>stands</b> still"}).text
    assert "begins like JSON but is not" in previewed(eve, incident='{"title": ')
    assert len(saved_incidents.list_all(db.session())) == 1


def test_the_preview_of_an_older_version_has_its_words(ann):
    ann.post("/admin/prompts/new", FORM)
    ann.post("/admin/prompts/summary/edit", FORM | {"system": "Be kind.", "row_version": "1"})
    response = html.unescape(ann.post("/admin/prompts/summary/preview", {"version": "1"}).text)
    assert '<pre class="prompt-text" tabindex="0">Be brief.</pre>' in response


def test_a_viewer_looks_and_changes_nothing(eve):
    page = eve.get("/admin/prompts/").text
    assert ("Incident analysis" in page, "New template" in page) == (True, False)
    assert "Edit" not in eve.get("/admin/prompts/incident-analysis/").text.split("<main")[1].split("</main")[0]
    assert eve.get("/admin/prompts/new").status_code == 403
    for action in ("deactivate", "delete", "restore"):
        assert eve.post(f"/admin/prompts/incident-analysis/{action}").status_code == 403
    assert eve.post("/admin/prompts/cache/clear").status_code == 403


def test_a_remembered_answer_says_so_costs_nothing_and_can_be_passed_by(desk, upstream):
    api = api_for(desk, "runs:write")
    body = {"incident": DISK, "template": "summary"}
    first, second = api.post("/runs", body).json, api.post("/runs", body).json
    assert (first["cached"], second["cached"], second["cached_from"]) == (False, True, first["id"])
    assert (second["cost"], second["usage"], second["recommendations"]) == (None, {}, first["recommendations"])
    assert len(upstream.requests) == 1
    uncached = api.post("/runs", body | {"cache": False}).json
    assert (uncached["cached"], len(upstream.requests)) == (False, 2)
    changed = api.post("/runs", body | {"incident": DISK | {"title": "Disk usage at 98 %"}}).json
    assert (changed["cached"], len(upstream.requests)) == (False, 3)
    stored = db.session.execute(text("SELECT * FROM cached_responses")).all()
    assert "sk-CANARY" not in str(stored)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    page = html.unescape(ann.get(f"/admin/run/{second['id']}", follow_redirects=True).text)
    assert "answered from the cache" in page
    assert "2 answers remembered" in ann.get("/admin/prompts/").text
    ann.post("/admin/prompts/cache/clear")
    assert api.post("/runs", body).json["cached"] is False


def test_t10_applications_of_different_projects_know_nothing_of_each_others_runs(desk, upstream):
    first, second = (of_project(desk, slug) for slug in ("one", "two"))
    callers, body = (first, second, api_for(desk, "runs:write")), {"incident": DISK, "template": "summary"}
    runs = [caller.post("/runs", body).json for caller in callers]
    assert [run["cached"] for run in runs] == [False, False, False]
    statuses = [[caller.get(f"/runs/{run['id']}").status_code for run in runs] for caller in callers]
    assert statuses == [[200, 404, 404], [404, 200, 404], [404, 404, 200]]
    again = first.post("/runs", body).json
    assert (again["cached_from"], len(upstream.requests)) == (runs[0]["id"], 3)


def of_project(app, slug: str) -> Api:
    with writing() as session:
        projects.create(session, {"slug": slug, "display_name": slug}, actor="ann")
        row, token = api_tokens.create(session, "a test", ["runs:write"], actor="tests")
        row.project = slug
    return Api(app.test_client(), token)


def test_a_failure_is_not_remembered(desk, upstream):
    api = api_for(desk, "runs:write")
    upstream.says(error(401))
    for _ in range(2):
        assert api.post("/runs", {"incident": DISK, "template": "summary"}).json["cached"] is False
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "member", ["url", "base_url", "host", "headers", "path", "system", "user", "request_template", "api_key", "driver"]
)
def test_a_request_sets_no_address_header_path_or_template_text(desk, upstream, member):
    response = api_for(desk, "runs:write").post("/runs", {"incident": DISK, "template": "summary", member: "https://evil.example/"})
    assert (response.status_code, upstream.accepted) == (400, 0)


def test_incidents_are_analyzed_from_files_and_pipes(desk, upstream, tmp_path):
    runner = desk.test_cli_runner()
    file = tmp_path / "incident.json"
    file.write_text(json.dumps(DISK))
    local = runner.invoke(args=["incidents", "analyze", str(file)])
    assert (local.exit_code, "1. [" in local.stdout, "local rules" in local.stdout) == (0, True, True)
    piped = runner.invoke(args=["incidents", "analyze", "-", "--model", "acme/m-1", "--json"], input="Disk is full\nOn db-1")
    assert (piped.exit_code, json.loads(piped.stdout)["model"]) == (0, "acme/m-1")
    upstream.says(error(401))
    failed = runner.invoke(args=["incidents", "analyze", str(file), "--model", "acme/m-1"])
    assert (failed.exit_code, "does not accept the key" in failed.stderr, "Traceback" in failed.output) == (1, True, False)
    fallback = runner.invoke(args=["incidents", "analyze", str(file), "--template", "summary"])
    assert (fallback.exit_code, "so the local rules did" in fallback.stderr) == (0, True)
    for arguments in ((str(tmp_path / "gone"),), ("-",), (str(file), "--model", "no-such"), (str(file), "--template", "no-such")):
        result = runner.invoke(args=["incidents", "analyze", *arguments], input="")
        assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1), result.output
