"""Changes to what a provider's key is used for need permission to write keys (T15)."""

import pytest
from factories import provider_values

from webapp.domain.shared.errors import Forbidden, Invalid
from webapp.extensions import db
from webapp.models import Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers
from webapp.services.credentials import credentials

INVITE = {"path": "/organization/invites", "request_template": {"role": "owner", "note": "{{user}}"}, "response_paths": {"text": "value"}}
BOB = "bob@example.com"


def made() -> Provider:
    """Return a provider with a key."""
    with writing() as session:
        provider = providers.create(session, provider_values(driver="custom"), actor="ann")
        credentials.store(session, provider, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
    return provider


def edit(provider, actor=BOB, **values):
    with writing() as session:
        return providers.update(session, provider.id, values, actor=actor)


@pytest.mark.parametrize("actor", [BOB, "eve@example.com"])
def test_t15_an_editor_cannot_have_a_key_used_for_anything_but_a_chat(app, actor):
    provider = made()
    with pytest.raises(Forbidden, match="Only admins"):
        edit(provider, actor, config=INVITE)
    assert db.session.get(Provider, provider.id).config == {}
    edit(provider, "ann@example.com", config=INVITE)
    edit(provider, actor, display_name="New name", config=INVITE)
    for values in ({"config": INVITE | {"path": "/files"}}, {"base_url": "https://api.acme.example/v2"}):
        with pytest.raises(Forbidden):
            edit(provider, actor, **values)
    edit(provider, actor, config={})
    edit(provider, "token:ci", config=INVITE)


def test_t15_nor_a_key_of_the_environment(app):
    with pytest.raises(Forbidden), writing() as session:
        providers.create(session, provider_values(driver="custom", config=INVITE, required_environment=["ACME_API_KEY"]), actor=BOB)
    with writing() as session:
        provider = providers.create(session, provider_values(driver="custom", config=INVITE), actor=BOB)
    with pytest.raises(Forbidden):
        edit(provider, required_environment=["ACME_API_KEY"])
    edit(provider, "ann@example.com", required_environment=["ACME_API_KEY"])
    edit(provider, sort_order=3)


@pytest.mark.parametrize("path", ["/../x", "/a/../x", "/a/..", "/./a", "//evil.example/x", "/a//b", "/a/."])
def test_t15_a_path_never_leads_up(app, path):
    with pytest.raises(Invalid, match=r"config\.path"), writing() as session:
        providers.create(session, provider_values(driver="custom", config={"path": path}), actor="ann")


@pytest.mark.parametrize("path", ["/v1/../x", "/..", "/v1/./x"])
def test_t15_nor_does_a_base_url(app, path):
    with pytest.raises(Invalid, match=r"base_url|path of the address"), writing() as session:
        providers.create(session, provider_values(base_url=f"https://api.acme.example{path}"), actor="ann")
