"""Connection tests and model discovery against a provider on loopback. No page contains a key."""

import base64
import html
import re
from dataclasses import replace

import pytest
from environment import PASSWORD, api_for, running
from factories import Visitor, model_values, provider_values
from fake_provider import Upstream, error, reply
from sqlalchemy import select, text
from vendor_protocols import DIALECTS

from webapp.domain.credentials.key_access import PERSONAL, PROJECT
from webapp.extensions import db
from webapp.models import Model, ProviderCheck
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.credentials.credentials import SHARED_HOLDER, Holder
from webapp.services.projects import projects

CANARY = "sk-CANARY-77f3a1c2d4e5b6a7"


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def desk(settings, upstream):
    """An app whose operator allows the provider on loopback."""
    yield from running(replace(settings, outbound_allow=frozenset({upstream.place})))


@pytest.fixture
def provider(desk, upstream):
    with writing() as session:
        values = provider_values(base_url=upstream.base_url, allow_personal_keys=True)
        row = providers.create(session, values, actor="ann", policy=container.current().outbound)
        credentials.store(session, row, CANARY, vault=container.vault(), actor="ann")
        models.create(session, {"provider": "acme", "model_id": "m-1", "display_name": "Ours", "type": "text"}, actor="ann")
        models.create(
            session, {"provider": "acme", "model_id": "gone", "display_name": "Gone", "type": "text", "active": False}, actor="ann"
        )
    return row.id


@pytest.fixture
def ann(desk):
    return Visitor(desk, "ann@example.com", PASSWORD)


def test_a_test_says_that_it_works_is_kept_and_costs_no_completion(ann, provider, upstream):
    upstream.says(reply(200, DIALECTS["openai"].models))
    response = ann.post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    assert (response.status_code, "lists 2 models" in response.text, "costs nothing" in response.text) == (200, True, True)
    assert [path for _, path, _, _ in upstream.requests] == ["/v1/models"]
    row = db.session.execute(select(ProviderCheck)).scalar_one()
    assert (row.ok, row.how, row.models, row.key_source, row.actor) == (True, "listed", 2, "shared", "ann@example.com")
    assert "Works" in ann.get("/admin/provider/?search=acme").text


def test_a_test_says_that_it_is_older_than_the_key(ann, provider, upstream):
    upstream.says(error(401, "Incorrect"))
    ann.post(f"/admin/provider/{provider}/check")
    page = f"/admin/provider/details/?id={provider}"
    assert "A key was entered since this test" not in ann.get(page).text
    ann.post(f"/admin/provider/{provider}/keys", {"api_key": "sk-another-0123456789", "owner": "", "address": f"http://{upstream.place}"})
    assert "A key was entered since this test" in ann.get(page).text


def test_a_test_that_fails_says_what_to_do_and_shows_no_key(ann, provider, upstream):
    upstream.says(error(401, f"Incorrect API key provided: {CANARY}"))
    page = ann.post(f"/admin/provider/{provider}/check", page=f"/admin/provider/details/?id={provider}", follow_redirects=True).text
    assert "does not accept the key" in page
    assert CANARY not in page
    assert CANARY not in db.session.execute(select(ProviderCheck.detail)).scalar_one()


def test_t19_a_key_that_the_provider_repeats_beside_its_answer_is_not_kept(ann, provider, upstream):
    """The provider repeats the key as the request id, which people pass on when they ask for help."""
    upstream.says(reply(401, DIALECTS["openai"].models, headers={"x-request-id": f"req-{CANARY}"}))
    response = ann.post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    row = db.session.execute(select(ProviderCheck)).scalar_one()
    assert (row.ok, row.request_id, CANARY in response.text) == (False, "req-***", False)


def test_t19_a_key_that_the_provider_lists_as_a_model_is_not_shown_and_not_stored(ann, provider, upstream):
    data = [{"id": f"m-{CANARY}", "object": "model", "created": 1, "owned_by": "x"}]
    upstream.says(reply(200, {"object": "list", "data": data}))
    page = ann.get(f"/admin/provider/{provider}/discover").text
    assert ("m-***" in page, CANARY in page) == (True, False)
    ann.post(f"/admin/provider/{provider}/discover", {"model": [f"m-{CANARY}", "m-***"], "type:m-***": "text"})
    assert not [name for name in db.session.execute(select(Model.model_id)).scalars() if CANARY in name]


def test_without_a_key_nothing_is_sent(ann, provider, upstream):
    with writing() as session:
        credentials.remove(session, session.get(type(providers.find(session, provider)), provider), actor="ann")
    response = ann.post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    assert ("has no key" in response.text, "Nothing was sent" in response.text, upstream.accepted) == (True, True, 0)


def test_discovered_models_are_new_known_or_gone_and_come_in_inactive_unless_ticked(ann, provider, upstream):
    listed = {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in ("m-1", "m-2", "embed-3")],
    }
    upstream.says(reply(200, listed))
    page = html.unescape(ann.get(f"/admin/provider/{provider}/discover").text)
    for words in ("New: 2", "Known: 1", "No longer listed: 1"):
        assert words in page
    assert re.search(r'name="type:embed-3".*?<option value="embedding" selected>', page, re.DOTALL)
    form = {"model": ["m-2", "embed-3", "m-1"], "active": ["m-2"], "type:m-2": "text", "type:embed-3": "embedding"}
    ann.post(f"/admin/provider/{provider}/discover", form)
    query = select(Model.model_id, Model.display_name, Model.type, Model.is_active).where(Model.provider_id == provider)
    assert set(map(tuple, db.session.execute(query))) == {
        ("m-1", "Ours", "text", True),
        ("gone", "Gone", "text", False),
        ("m-2", "m-2", "text", True),
        ("embed-3", "embed-3", "embedding", False),
    }
    assert len(upstream.requests) == 1  # The list is cached, so that a page does not send a request.


def test_a_listed_file_path_can_be_added_and_what_cannot_be_added_says_why_before_it_is_selected(ann, provider, upstream):
    names = ("/m/a.gguf", "@cf/meta/llama", "m//b", "C:\\models\\c.gguf", "ours")
    upstream.says(
        reply(200, {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in names]})
    )
    with writing() as session:
        models.create(session, model_values(provider="acme", model_id="m-9", aliases=["ours"]), actor="ann")
    page = html.unescape(ann.get(f"/admin/provider/{provider}/discover").text)
    assert re.findall(r'name="model" value="([^"]+)"', page) == ["/m/a.gguf", "@cf/meta/llama"]
    assert "Cannot be added: 3" in page
    for reason in ("must not contain //", "must be 1 to 200 letters", "is an alias of another model of this provider"):
        assert reason in page
    ann.post(f"/admin/provider/{provider}/discover", {"model": ["/m/a.gguf"], "type:/m/a.gguf": "text", "active": ["/m/a.gguf"]})
    assert container.registry().resolve("/m/a.gguf").ref == "acme//m/a.gguf"


def test_a_listed_id_that_differs_only_in_case_is_added_after_its_confirmation(ann, provider, upstream):
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in ("M-1", "New", "NEW")]
    upstream.says(reply(200, {"object": "list", "data": listed}))
    address = f"/admin/provider/{provider}/discover"
    page = html.unescape(ann.get(address).text)
    keys = dict(re.findall(r'name="confirm" value="(\w+)">\s*<span class="form-check-label">(\S+) differs from', page))
    assert sorted(keys.values()) == ["M-1", "NEW", "New"]
    form = {"model": ["M-1", "New", "NEW"], "type:M-1": "text"}
    question = ann.post(address, form)
    assert (question.status_code, "M-1 differs from m-1, a model of this provider, only in case." in question.text) == (409, True)
    assert 'name="type:M-1" value="text"' in question.text
    ann.post(address, form | {"confirm": re.findall(r'name="confirm" value="(\w+)"', question.text)})
    ids = set(db.session.execute(select(Model.model_id).where(Model.provider_id == provider)).scalars())
    assert ids == {"m-1", "gone", "M-1", "New", "NEW"}


def test_adding_a_listed_id_that_is_in_use_at_another_provider_asks_first(ann, provider, upstream):
    upstream.says(reply(200, {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "x"}]}))
    address, form = f"/admin/provider/{provider}/discover", {"model": ["gpt-4o"], "type:gpt-4o": "text", "active": ["gpt-4o"]}
    question = ann.post(address, form)
    assert (question.status_code, "<code>gpt-4o</code>" in question.text) == (409, True)
    assert container.registry().resolve("gpt-4o").ref == "openai/gpt-4o"
    ann.post(address, form | {"confirm": re.findall(r'name="confirm" value="(\w+)"', question.text)})
    assert container.registry().resolve("acme/gpt-4o").ref == "acme/gpt-4o"


@pytest.mark.parametrize(
    "form", [{"model": ["no-such"]}, {"model": ["m-2"], "type:m-2": "colour"}, {}], ids=["unlisted", "odd type", "nothing"]
)
def test_what_makes_no_sense_adds_nothing(ann, provider, upstream, form):
    upstream.says(reply(200, DIALECTS["openai"].models))
    before = db.session.execute(text("SELECT count(*) FROM models")).scalar_one()
    ann.post(
        f"/admin/provider/{provider}/discover",
        {**form, "model": [*form.get("model", []), *(["m-2"] if form.get("model") == ["no-such"] else [])]},
    )
    assert db.session.execute(text("SELECT count(*) FROM models")).scalar_one() == before


def list_many(upstream, count):
    names = [f"vendor/model-{number:05}" for number in range(count)] + ["m-1", "bad//id", "half \ud800", "x" * 400]
    upstream.says(reply(200, {"object": "list", "data": [{"id": name} for name in names]}))


@pytest.fixture
def long_list(upstream):
    list_many(upstream, 1_200)


def listed_ids(page):
    return re.findall(r'name="model" value="([^"]+)"\s+aria', page)


def test_a_list_of_50_000_models_comes_in_pages_of_500_that_can_be_searched(ann, provider, upstream):
    list_many(upstream, 49_990)
    address = f"/admin/provider/{provider}/discover"
    first = ann.get(address)
    assert ("New: 49,990" in first.text, len(listed_ids(first.text)), len(first.text) < 1_000_000) == (True, 500, True)
    assert "Page 1 of 100:" in first.text
    last = ann.post(address, {"page": "100"})
    assert "models 49,501 to 49,995" in " ".join(last.text.split())
    found = ann.post(address, {"page": "1", "q": "MODEL -0123", "state": "new"}).text
    assert listed_ids(found) == [f"vendor/model-0123{digit}" for digit in range(10)]
    assert "No model matches" in ann.post(address, {"page": "1", "q": "no such"}).text
    assert len(upstream.requests) == 1


def test_the_review_names_the_ids_that_cannot_be_added_and_why(ann, provider, upstream, long_list):
    page = html.unescape(ann.post(f"/admin/provider/{provider}/discover", {"page": "1", "state": "blocked"}).text)
    reasons = {
        name.strip(): reason for name, reason in re.findall(r'<td class="discover-model">([^<]+)<div class="form-hint">(.+?)</div>', page)
    }
    assert reasons.keys() == {"bad//id", "half \\ud800", "x" * 300}
    assert reasons["bad//id"].startswith("The id must not contain //")


def test_ticks_are_kept_on_the_way_to_another_page_and_all_are_added(ann, provider, upstream, long_list):
    address = f"/admin/provider/{provider}/discover"
    ticked = {"model": "vendor/model-00001", "type:vendor/model-00001": "image", "active": "vendor/model-00001"}
    page = ann.post(address, {**ticked, "page": "2"}).text
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert ticked.items() <= hidden.items()
    assert "Ticked on other pages, and added too: 1." in page
    back = ann.post(address, {**ticked, "page": "1"}).text
    assert re.search(r'name="model" value="vendor/model-00001" checked', back)
    ann.post(address, {**ticked, "model": ["vendor/model-00001", "vendor/model-00700"]})
    query = select(Model.model_id, Model.type, Model.is_active).where(Model.model_id.startswith("vendor/"))
    assert set(map(tuple, db.session.execute(query))) == {("vendor/model-00001", "image", True), ("vendor/model-00700", "text", False)}


def test_what_cannot_be_added_is_said_on_the_same_page_with_its_ticks(ann, provider, upstream, long_list):
    address = f"/admin/provider/{provider}/discover"
    response = ann.post(address, {"model": ["vendor/model-00001"], "type:vendor/model-00001": "colour"})
    assert (response.status_code, "must be one of" in response.text) == (422, True)
    assert 'value="vendor/model-00001" checked' in response.text
    many = [f"vendor/model-{number:05}" for number in range(1_001)]
    assert "at most 1,000 models can be added at once" in ann.post(address, {"model": many}).text


def test_a_provider_that_cannot_list_says_so(ann, provider, upstream):
    upstream.says(error(500))
    response = ann.get(f"/admin/provider/{provider}/discover?anew=1")
    assert (response.status_code, "could not be asked" in response.text) == (502, True)


@pytest.mark.parametrize("path", ["/admin/my-keys/", "/admin/provider/{}/keys"])
def test_t15_a_key_that_was_typed_for_one_address_is_not_stored_for_another(desk, ann, provider, path):
    """An editor moves the provider while another user enters the key."""
    page = ann.get("/admin/my-keys/" if "my" in path else f"/admin/provider/details/?id={provider}").text
    address = re.search(r'name="address" value="([^"]+)"', page)[1]
    assert f"<code>{address}</code>" in page
    with writing() as session:
        providers.update(session, provider, {"base_url": "https://evil.example/v1"}, actor="bob")
    form = {"provider": provider, "api_key": "sk-typed-0123456789", "owner": "", "address": address}
    target = "/admin/my-keys/store" if "my" in path else path.format(provider)
    message = html.unescape(ann.post(target, form, page="/admin/my-keys/", follow_redirects=True).text)
    assert "leads to https://evil.example now, not where the page said. Nothing was stored" in message
    assert db.session.execute(text("SELECT count(*) FROM credentials")).scalar_one() == 0
    ann.post(target, form | {"address": "https://evil.example"}, page="/admin/my-keys/")
    assert db.session.execute(text("SELECT count(*) FROM credentials")).scalar_one() == 1


def test_a_viewer_asks_no_provider(desk, provider, upstream):
    eve = Visitor(desk, "eve@example.com", PASSWORD)
    for method, path in ((eve.post, "check"), (eve.get, "discover"), (eve.post, "discover")):
        assert method(f"/admin/provider/{provider}/{path}").status_code == 403
    assert "Test connection" not in eve.get(f"/admin/provider/details/?id={provider}").text
    assert upstream.accepted == 0


def test_ones_own_key_is_entered_used_and_removed_by_nobody_else(desk, ann, provider, upstream):
    personal_key = "sk-CANARY-of-ann-0123456789"
    ann.post(
        "/admin/my-keys/store",
        {"provider": provider, "api_key": personal_key, "address": f"http://{upstream.place}"},
        page="/admin/my-keys/",
    )
    upstream.says(reply(200, DIALECTS["openai"].models))
    ann.post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    Visitor(desk, "bob@example.com", PASSWORD).post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    assert [headers["authorization"] for _, _, headers, _ in upstream.requests] == [f"Bearer {personal_key}", f"Bearer {CANARY}"]
    page = ann.get("/admin/my-keys/").text
    assert ("6789" in page, personal_key in page) == (True, False)
    ann.post("/admin/my-keys/remove", {"provider": provider}, page="/admin/my-keys/")
    assert "No key of yours" in ann.get("/admin/my-keys/").text


def test_t19_t20_t21_keys_of_all_holders_are_in_no_page_answer_log_export_or_trail(desk, ann, provider, upstream, logged):
    upstream.says(error(401, f"no: {CANARY}"))
    with writing() as session:
        row = providers.find(session, provider)
        projects.create(session, {"slug": "billing", "display_name": "Billing"}, actor="ann")
        for holder in (SHARED_HOLDER, Holder(PERSONAL, "ann@example.com"), Holder(PROJECT, "billing")):
            credentials.store(session, row, CANARY, vault=container.vault(), actor="ann", holder=holder)
        ciphertexts = session.execute(text("SELECT ciphertext FROM credentials")).scalars().all()
    ann.post(f"/admin/provider/{provider}/check", headers={"HX-Request": "true"})
    api = api_for(desk, "registry:read", "registry:write", "runs:write", "usage:read")
    api.post("/runs", {"incident": {"title": "Disk full"}, "model": "acme/m-1"})
    secrets = (CANARY, base64.b64encode(CANARY.encode()).decode(), *ciphertexts)
    visitors = [ann, Visitor(desk, "bob@example.com", PASSWORD), Visitor(desk, "eve@example.com", PASSWORD)]
    response_count = 0
    for address in addresses(desk, provider):
        responses = (
            [api.get(address.removeprefix("/api/v1"))] if address.startswith("/api/v1") else [visitor.get(address) for visitor in visitors]
        )
        for response in responses:
            response_count += 1
            assert not any(secret in response.get_data(as_text=True) for secret in secrets), address
    assert response_count > 80
    audit_rows = db.session.execute(text("SELECT before, after FROM audit_events")).all()
    assert not any(secret in str(row) for row in audit_rows for secret in secrets)
    assert not any(secret in logged.text for secret in secrets)


def addresses(app, provider) -> list[str]:
    """Return every URL that accepts GET, with a row in place of each variable."""
    urls = []
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.endpoint in ("static", "admin.static") or rule.rule.startswith("/setup"):
            continue
        path = re.sub(
            r"<(?:[a-z]+:)?(\w+)>",
            lambda match: {"ref": "openai/gpt-4o", "slug": "openai", "export_type": "csv"}.get(match[1], str(provider)),
            rule.rule,
        )
        urls += [path, f"{path}?id={provider}", f"{path}?id=1"] if path.endswith("/") and path.startswith("/admin") else [path]
    return urls
