"""A provider names the environment variables that hold its key. An editor of the provider must not read the environment this way."""

from dataclasses import replace

import pytest
from environment import PASSWORD, api_for, running
from factories import Visitor
from fake_provider import Upstream, reply
from sqlalchemy import select
from vendor_protocols import DIALECTS

from webapp.config.loading import load
from webapp.domain.credentials.environment_keys import read_environment_keys
from webapp.extensions import db
from webapp.models import Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.credentials import credentials
from webapp.services.operations import seed

CANARY = "CANARY-of-the-environment-77f3a1c2d4e5b6a7"
# Variables of the machine, of other programs and of other vendors, and Modeldesk's own settings.
NAMES = ("AWS_SECRET_ACCESS_KEY", "PATH", "OPENAI_API_KEY", "GITHUB_TOKEN", "ACME_API_KEY", "OPENAI_MODEL")
OURS = ("MODELDESK_SECRET_KEY", "MODELDESK_ENCRYPTION_KEYS", "DATABASE_URL", "PGPASSWORD")
FORM = {"display_name": "Mine", "slug": "mine", "driver": "custom", "active": "y", "allow_shared_key": "y"}


@pytest.fixture
def evil():
    """The attacker's server, which the operator allows for another reason."""
    server = Upstream().says(reply(200, DIALECTS["openai"].models))
    yield server
    server.stop()


@pytest.fixture
def desk(settings, evil):
    environment = read_environment_keys(dict.fromkeys((*NAMES, *OURS), CANARY), {})
    yield from running(replace(settings, outbound_allow=frozenset({evil.place}), environment=environment))


def sent(evil) -> str:
    return str(evil.requests)


def look_around(visitor, provider_id):
    """Use every page that sends a request to a provider."""
    visitor.post(f"/admin/provider/{provider_id}/check")
    visitor.get(f"/admin/provider/{provider_id}/discover?anew=1")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("driver", ["custom", "openai", "copilot", "claude"])
def test_t15_t20_an_editor_cannot_have_a_variable_sent_to_a_server_of_his_own(desk, evil, name, driver):
    bob = Visitor(desk, "bob@example.com", PASSWORD)
    bob.post("/admin/provider/new/", FORM | {"driver": driver, "base_url": evil.base_url, "required_environment": name})
    provider = db.session.execute(select(Provider).where(Provider.slug == "mine")).scalar_one()
    assert provider.required_environment == [name]
    look_around(bob, provider.id)
    api_for(desk, "registry:read", "registry:write", "runs:write").post("/runs", {"incident": {"title": "Disk full"}, "model": "mine/m-1"})
    assert CANARY not in sent(evil)
    page = bob.get(f"/admin/provider/details/?id={provider.id}").text
    assert f"{name} of the server&#39;s environment is not sent to its address" in page


def test_t15_an_editor_cannot_move_a_provider_that_is_asked_with_a_variable(desk, evil):
    openai = db.session.execute(select(Provider).where(Provider.slug == "openai")).scalar_one()
    api = api_for(desk, "registry:read", "registry:write")
    assert api.request("PATCH", f"/admin/providers/{openai.id}", json={"base_url": evil.base_url}).status_code == 200
    look_around(Visitor(desk, "bob@example.com", PASSWORD), openai.id)
    assert CANARY not in sent(evil)


@pytest.mark.parametrize("name", OURS)
def test_t20_a_setting_of_modeldesk_cannot_even_be_named(desk, name):
    bob = Visitor(desk, "bob@example.com", PASSWORD)
    response = bob.post("/admin/provider/new/", FORM | {"base_url": "https://api.acme.example/v1", "required_environment": name})
    assert "a setting of Modeldesk itself, which is never sent to anybody" in response.text
    api = api_for(desk, "registry:read", "registry:write")
    values = {"slug": "mine", "display_name": "Mine", "driver": "custom", "required_environment": [name]}
    assert api.post("/admin/providers", values).json["errors"][0]["field"] == "required_environment[0]"
    assert db.session.execute(select(Provider).where(Provider.slug == "mine")).first() is None


def test_t15_copying_keys_from_the_environment_copies_none_for_another_address(desk, evil):
    values = {
        "slug": "mine",
        "display_name": "Mine",
        "driver": "custom",
        "base_url": evil.base_url,
        "required_environment": ["OPENAI_API_KEY"],
    }
    api_for(desk, "registry:read", "registry:write").post("/admin/providers", values)
    with writing() as session:
        result = seed.update_keys(session, container.settings().environment, vault=container.vault(), actor="ann")
    provider = db.session.execute(select(Provider).where(Provider.slug == "mine")).scalar_one()
    assert credentials.list_by_provider(db.session(), provider) == []
    assert any("mine: OPENAI_API_KEY is not copied" in note for note in result.notes)


def test_control_a_variable_that_the_operator_binds_to_the_address_is_sent_there(settings, evil):
    variables = {
        "DATABASE_URL": settings.database_url,
        "MODELDESK_SECRET_KEY": "Hq7dV2xN9rTb4LkYw8sPz3JmC6fGu5Ea",
        "ACME_API_KEY": CANARY,
        "MODELDESK_KEY_VARIABLES": f"ACME_API_KEY=http://{evil.place}",
    }
    for app in running(replace(settings, outbound_allow=frozenset({evil.place}), environment=load(variables).environment)):
        bob = Visitor(app, "bob@example.com", PASSWORD)
        bob.post("/admin/provider/new/", FORM | {"base_url": evil.base_url, "required_environment": "ACME_API_KEY"})
        provider_id = db.session.execute(select(Provider.id).where(Provider.slug == "mine")).scalar_one()
        look_around(bob, provider_id)
        assert f"Bearer {CANARY}" in sent(evil)
        assert CANARY not in bob.get(f"/admin/provider/details/?id={provider_id}").text
