"""Fixtures of the evaluation tests: an app with four local providers, which respond at once, fail, are slow, or return active content."""

import json
from dataclasses import replace

import pytest
from environment import running
from factories import price_values, provider_values
from fake_provider import Upstream, after, completion, error, reply

from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.pricing import prices

INJECTED = "<script>alert(1)</script> ![x](http://127.0.0.1:9/?q) \x1b[31mred\u202eltr"
SLOW_S = 0.5


@pytest.fixture
def upstreams():
    providers_by_name = {name: Upstream() for name in ("quick", "failing", "slow", "tricky")}
    providers_by_name["failing"].says(error(500))
    providers_by_name["slow"].says(after(SLOW_S, reply()))
    advice = {"recommendations": [{"type": "cpu", "priority": "low", "title": INJECTED, "description": INJECTED, "actions": [INJECTED]}]}
    providers_by_name["tricky"].says(reply(200, completion(json.dumps(advice))))
    yield providers_by_name
    for upstream in providers_by_name.values():
        upstream.stop()


def desk_with(settings, upstreams):
    allowed = frozenset(upstream.place for upstream in upstreams.values())
    for app in running(replace(settings, outbound_allow=allowed)):
        with writing() as session:
            for name, upstream in upstreams.items():
                values = provider_values(slug=name, display_name=name.title(), base_url=upstream.base_url)
                provider = providers.create(session, values, actor="ann", policy=container.current().outbound)
                credentials.store(session, provider, "sk-CANARY-0123456789", vault=container.vault(), actor="ann")
                model = models.create(
                    session, {"provider": name, "model_id": f"{name}-m", "display_name": name, "type": "text"}, actor="ann"
                )
                if name != "tricky":
                    prices.add(session, model.id, price_values(), actor="ann")
        yield app


@pytest.fixture
def desk(settings, upstreams):
    yield from desk_with(settings, upstreams)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_desk(request, upstreams):
    yield from desk_with(request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings"), upstreams)
