"""Try it: samples and pasted incidents on the built-in rules, and on a provider that speaks the real protocol."""

import json
import re
import sys
from dataclasses import replace

import pytest
from environment import by_hand
from fake_provider import KEY, Upstream, completion, error, reply
from sqlalchemy import text

from webapp.domain.incidents.samples import SAMPLES, SAMPLES_BY_SLUG
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers
from webapp.services.credentials import credentials
from webapp.services.runs import records

RUN, PREVIEW, PAGE = "/admin/try-it/run", "/admin/try-it/preview", "/admin/try-it/"
FRAGMENT = {"HX-Request": "true", "HX-Target": "div#run-result"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ![](http://evil.example/?x) {{7*7}}"
ADVICE = [{"type": "disk", "priority": "critical", "title": HOSTILE, "description": HOSTILE, "actions": [HOSTILE, "Free space"]}]


@pytest.fixture
def upstream():
    upstream = Upstream().says(reply(200, completion(json.dumps({"recommendations": ADVICE}))))
    yield upstream
    upstream.stop()


@pytest.fixture
def settings(settings, upstream):
    """Allow the app to call the provider on loopback."""
    return replace(settings, outbound_allow=frozenset({upstream.place}))


@pytest.fixture
def openai(app, upstream):
    """Point the OpenAI provider to loopback, with a key."""
    with writing() as session:
        provider = providers.get_by_slug_or_none(session, "openai")
        provider.base_url = upstream.base_url
        credentials.store(session, provider, KEY, vault=container.vault(), actor="tests")
    return upstream


def text_of(sample: str) -> str:
    return json.dumps(SAMPLES_BY_SLUG[sample].data)


def run(visitor, incident="Disk full\nIt is 97 % used.", model="openai/gpt-4o", headers=FRAGMENT):
    return visitor.post(RUN, {"incident": incident, "model": model}, page=PAGE, headers=headers)


def words(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.slug)
def test_each_sample_runs_on_the_local_rules(bob, session, sample):
    response = run(bob, json.dumps(sample.data), "@local")
    assert response.status_code == 200
    assert re.search(r"\b(Critical|High|Medium|Low)\b", words(response))
    record = records.list_latest(session, 1)[0]
    assert (record.status, record.driver, record.decided_by, record.actor) == ("succeeded", "local", "explicit choice", "bob@example.com")
    assert "No cost" in response.text


def test_there_are_at_least_eight_samples_to_choose_from(eve):
    assert eve.get(PAGE).text.count('class="sample"') >= 8


def test_a_sample_is_chosen_by_its_address_and_by_htmx(eve):
    assert "Disk usage above 95 % on db-primary" in eve.get(f"{PAGE}?sample=disk-full").text
    fragment = eve.get(f"{PAGE}?sample=disk-full", headers={"HX-Request": "true", "HX-Target": "div#tryit-incident"})
    assert "<html" not in fragment.text
    assert 'hx-swap-oob="innerHTML"' in fragment.text


def test_an_answer_shows_advice_tokens_and_the_exact_cost(bob, openai):
    content = words(run(bob))
    assert "1 recommendation from openai/gpt-4o" in content
    assert "Critical" in content
    assert "Input 100" in content
    assert "of which read from cache 60" in content
    assert "$0.000575" in content  # 30 + 10 tokens at $2.5, 60 at $1.25, 40 at $10 per million.
    assert "req-7" in content
    assert "the shared key stored in Modeldesk" in content
    assert openai.requests[0][2]["authorization"] == f"Bearer {KEY}"


def test_t26_what_a_model_wrote_is_text_and_nothing_else(bob, openai, session):
    fragment = run(bob).text
    page = bob.get(f"/admin/run/details/?id={records.list_latest(session, 1)[0].public_id}").text
    for html in (fragment, page):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "49" not in re.sub(r"\d+ms|[0-9a-f]{8,}", "", re.sub(r".*advice-text", "", html.split("advice-actions")[0], flags=re.DOTALL))


FAILURES = {
    "auth": (error(401, f"Incorrect API key provided: {KEY}"), "The provider does not accept the key: enter a valid one."),
    "invalid_response": (reply(200, b"<html>hello</html>"), "cannot be read"),
    "schema_mismatch": (reply(200, completion("I would rather not.")), "it is not JSON"),
    "bad_request": (error(400, "no"), "The provider refused the request"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failing_provider_says_so_in_words_and_the_run_is_recorded_as_failed(bob, openai, session, code):
    reply_script, message = FAILURES[code]
    openai.says(reply_script)
    response = run(bob)
    assert response.status_code == 200
    assert message in words(response)
    assert "recorded as failed" in response.text
    assert KEY not in response.text
    record = records.list_latest(session, 1)[0]
    assert (record.status, record.error_code, list(record.recommendations)) == ("failed", code, [])


def test_an_unreachable_provider_is_a_failed_run_without_recommendations(bob, openai, session):
    openai.stop()
    assert "The provider refused the connection" in words(run(bob))
    assert records.list_latest(session, 1)[0].status == "failed"


def test_an_answer_of_no_use_still_shows_what_it_cost(bob, openai):
    openai.says(reply(200, completion("I would rather not.")))
    assert "$0.000575" in run(bob).text


def test_when_modeldesk_chose_the_local_rules_step_in_and_it_says_so(bob, openai, session):
    with writing() as writer:
        providers.set_primary(writer, providers.get_by_slug_or_none(writer, "openai").id, actor="tests")
    openai.says(error(500, "oops"))
    content = words(run(bob, text_of("disk-full"), ""))
    assert "failed; the local rules answered" in content
    assert "Fell back" in content
    assert records.list_latest(session, 1)[0].status == "fell_back"


def test_a_provider_without_a_key_is_marked_and_fails_before_anything_is_sent(bob, app, session):
    page = bob.get(f"{PAGE}?model=anthropic/claude-sonnet-4-5").text
    assert re.search(r'<optgroup label="OpenAI \(no key\)">', page)
    content = words(run(bob, model="openai/gpt-4o"))
    assert "OpenAI has no key" in content
    assert "nothing was sent" in content
    assert records.list_latest(session, 1)[0].status == "failed"


def test_pasted_text_and_alertmanager_payloads_are_recognised(eve):
    headers = {"HX-Request": "true", "HX-Target": "div#run-preview"}
    text = eve.post(PREVIEW, {"incident": "Disk full\nOn db-1", "model": "@local"}, page=PAGE, headers=headers)
    assert "plain text: the first line is the title" in text.text
    payload = eve.post(PREVIEW, {"incident": text_of("alertmanager"), "model": "openai/gpt-4o"}, page=PAGE, headers=headers)
    assert "an Alertmanager webhook payload" in payload.text
    assert "You are an experienced site reliability engineer" in payload.text


def test_the_estimate_says_about_and_never_invents_a_price(eve, session):
    headers = {"HX-Request": "true", "HX-Target": "div#run-preview"}
    content = words(eve.post(PREVIEW, {"incident": "Disk full", "model": "openai/gpt-4o"}, page=PAGE, headers=headers))
    assert re.search(r"about 2\d\d tokens, ≈ \$0\.000\d+", content)
    assert re.search(r"at most about \$0\.02\d+", content)
    assert records.list_latest(session, 1) == []


def test_letting_modeldesk_choose_says_what_it_would_be_and_why(eve):
    content = words(eve.get(PAGE))
    assert "Local rules There is no primary provider and no OPENAI_API_KEY in the environment" in content


UNREADABLE = {"{": "begins like JSON but is not", "": "is empty", '{"titel": "x"}': "is not known here", "a\0b": "control"}


@pytest.mark.parametrize(("incident", "said"), UNREADABLE.items())
def test_what_cannot_be_read_is_said_at_the_field_and_kept(bob, session, incident, said):
    response = run(bob, incident, "@local", headers={})
    assert response.status_code == 422
    assert said in re.search(r'data-error-for="incident">([^<]*)<', response.text)[1]
    assert records.list_latest(session, 1) == []


@pytest.mark.parametrize("model", ["openai/nope", "openai/text-embedding-3-small", "x" * 5000, "\0"])
def test_a_model_that_cannot_run_is_said_at_the_choice(bob, session, model):
    response = run(bob, model=model)
    assert response.status_code == 422
    assert "Nothing ran" in response.text
    assert records.list_latest(session, 1) == []


def test_without_scripts_a_run_leads_to_its_page(bob):
    response = run(bob, text_of("disk-full"), "@local", headers={})
    assert response.status_code == 302
    page = bob.get(response.location)
    assert "Disk is 97 % used" in page.text
    assert "Run again" in page.text


def test_an_earlier_run_can_be_run_again(bob, session):
    run(bob, text_of("disk-full"), "@local")
    page = bob.get(f"{PAGE}?run={records.list_latest(session, 1)[0].public_id}").text
    assert "Disk usage above 95 % on db-primary" in page
    assert '<option value="@local" selected>' in page


def test_a_viewer_may_look_but_not_run(eve, session):
    page = eve.get(PAGE).text
    assert "may look but not run" in page
    assert 'id="run-button"' not in page
    assert run(eve, text_of("disk-full"), "@local").status_code == 403
    assert records.list_latest(session, 1) == []


def test_a_stranger_is_sent_to_log_in(client):
    assert client.get(PAGE).location.startswith("/login")


@pytest.mark.parametrize("path", [RUN, PREVIEW])
def test_a_forged_request_changes_nothing(bob, session, path):
    assert bob.client.post(path, data={"incident": "x", "model": "@local"}).status_code == 400
    assert records.list_latest(session, 1) == []


def test_a_model_whose_sdk_is_missing_is_shown_but_not_to_be_chosen_and_no_key_is_asked_for(bob, monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)  # Simulates a missing package.
    page = bob.get(f"{PAGE}?model=anthropic/claude-3-opus").text
    assert '<optgroup label="Anthropic (driver not installed)">' in page
    assert re.search(r'<option value="anthropic/claude-3-haiku" disabled>', page)
    assert re.search(r'<option value="anthropic/claude-3-opus" selected>', page)
    assert "Models of Anthropic cannot be run" in page
    assert "Enter a key" not in page


def test_a_run_without_a_key_does_not_speak_of_a_stored_one(bob):
    content = words(run(bob))
    assert "with no key" in content
    assert "key stored in Modeldesk" not in content


def test_a_cached_response_is_used_unless_the_form_says_to_ignore_it(ann, openai, session):
    with by_hand() as changing:
        changing.execute(text("UPDATE prompt_templates SET cache_minutes = 60"))
    assert 'name="skip_cache"' in ann.get(PAGE).text
    calls = []
    for more in ({}, {}, {"skip_cache": "1"}):
        form = {"incident": "Disk full", "model": "openai/gpt-4o", **more}
        assert ann.post(RUN, form, page=PAGE, headers=FRAGMENT).status_code == 200
        calls.append(len(openai.requests))
    assert calls == [1, 1, 2]
