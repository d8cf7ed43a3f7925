"""E14 at the entry points: none stores a forbidden address, or connects to one that was written directly to the database."""

import json
from dataclasses import replace

import pytest
from environment import PASSWORD, api_for, by_hand, running
from factories import Visitor, provider_values
from fake_provider import Upstream
from sqlalchemy import select, text
from url_spellings import LOOPBACK, SPELLINGS

from webapp.extensions import db
from webapp.models import AuditEvent, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers

GOOD = "https://api.acme.example/v1"
FORM = {"slug": "acme", "display_name": "Acme", "driver": "custom", "active": "y"}


def made() -> int:
    with writing() as session:
        provider = providers.create(session, provider_values(base_url=GOOD), actor="ann")
        models.create(session, {"provider": "acme", "model_id": "m", "display_name": "M", "type": "text"}, actor="ann")
        return provider.id


@pytest.fixture
def provider(app) -> int:
    return made()


def addresses() -> set[str | None]:
    db.session.rollback()
    return set(db.session.execute(select(Provider.base_url)).scalars())


def by_api(api, provider, ann, url):
    return api.post("/admin/providers", provider_values(slug="other", base_url=url))


def by_api_edit(api, provider, ann, url):
    return api.request("PATCH", f"/admin/providers/{provider}", json={"base_url": url})


def by_import(api, provider, ann, url):
    file = {"format": "modeldesk-registry", "version": 1, "providers": [provider_values(slug="other", base_url=url)], "models": []}
    return api.post("/admin/import", data=json.dumps(file), headers={"Content-Type": "application/json"})


def by_form(api, provider, ann, url):
    return ann.post("/admin/provider/new/", FORM | {"slug": "other", "base_url": url})


def by_form_edit(api, provider, ann, url):
    return ann.post(f"/admin/provider/edit/?id={provider}", FORM | {"base_url": url, "move_confirmed": "y"})


@pytest.mark.parametrize("door", [by_api, by_api_edit, by_import, by_form, by_form_edit], ids=lambda door: door.__name__)
def test_e14_t16_no_door_stores_a_forbidden_address(app, provider, door):
    api, ann = api_for(app, "registry:read", "registry:write"), Visitor(app, "ann@example.com", PASSWORD)
    before, lines = addresses(), db.session.query(AuditEvent).count()
    answers = {url: door(api, provider, ann, url).status_code for spelling in SPELLINGS for url in (f"https://{spelling}/v1",)}
    assert {url: status for url, status in answers.items() if status not in (400, 422)} == {}
    assert (addresses(), db.session.query(AuditEvent).count()) == (before, lines)
    fine = door(api, provider, ann, "https://elsewhere.example/v1")
    assert fine.status_code in (200, 201, 302), fine.text  # Control: other addresses are accepted.
    assert "https://elsewhere.example/v1" in addresses()


@pytest.fixture
def listeners():
    """Return a provider that the operator allows, and one that is not allowed."""
    upstreams = Upstream(), Upstream()
    yield upstreams
    for upstream in upstreams:
        upstream.stop()


@pytest.fixture
def desk(settings, listeners):
    yield from running(replace(settings, outbound_allow=frozenset({listeners[0].place})))


def moved_behind_our_back(provider_id: int, url: str) -> None:
    with by_hand() as session:
        session.execute(
            text("UPDATE providers SET driver = 'ollama', base_url = :url, version = version + 1 WHERE id = :id"),
            {"url": url, "id": provider_id},
        )
        session.execute(text("UPDATE registry_state SET revision = revision + 1"))
    container.registry().refresh()


def test_e14_t17_what_somebody_wrote_into_the_database_is_not_dialled(desk, listeners):
    allowed, forbidden = listeners
    provider_id, ann = made(), Visitor(desk, "ann@example.com", PASSWORD)

    def used() -> list[int]:
        responses = [ann.post(f"/admin/provider/{provider_id}/{what}", headers={"HX-Request": "true"}) for what in ("check", "discover")]
        responses.append(ann.post("/admin/try-it/run", {"model": "acme/m", "incident": "Disk full"}, page="/admin/try-it/"))
        return [answer.status_code for answer in responses]

    for spelling in LOOPBACK:
        moved_behind_our_back(provider_id, f"http://{spelling}:{forbidden.port}")
        assert 500 not in used(), spelling
    assert (forbidden.accepted, allowed.accepted) == (0, 0)
    moved_behind_our_back(provider_id, f"http://{allowed.place}")
    used()
    assert len(allowed.requests) >= 3  # Control: each of the three requests does connect.
