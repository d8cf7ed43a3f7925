"""Base URLs of providers."""

from dataclasses import replace

import pytest
from environment import PASSWORD, api_for, running
from factories import Visitor, a_provider
from fake_provider import Upstream, reply
from sqlalchemy import select
from vendor_protocols import DIALECTS

from webapp.domain.credentials.environment_keys import read_environment_keys
from webapp.extensions import db
from webapp.models import Provider
from webapp.services.credentials import endpoints

OLLAMA = a_provider("ollama", driver="ollama")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://localhost:11434"),
        ("gpu-1", "http://gpu-1:11434"),
        ("gpu-1:8080", "http://gpu-1:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("https://ollama.acme.example", "https://ollama.acme.example"),
    ],
)
def test_the_environment_says_where_ollama_is_if_the_database_does_not(given, address):
    environment = read_environment_keys({"OLLAMA_HOST": given}, {})
    assert endpoints.base_url_of(OLLAMA, environment) == address
    assert endpoints.base_url_variable(OLLAMA, environment) == ("OLLAMA_HOST" if given else None)
    placed = a_provider("ollama", driver="ollama", base_url="http://gpu-2:11434")
    assert (endpoints.base_url_of(placed, environment), endpoints.base_url_variable(placed, environment)) == ("http://gpu-2:11434", None)


def test_a_run_on_the_address_of_the_environment_says_so(settings):
    upstream = Upstream().says(reply(200, DIALECTS["ollama"].complete()))
    environment = read_environment_keys({"OLLAMA_HOST": upstream.place}, {})
    for app in running(replace(settings, outbound_allow=frozenset({upstream.place}), environment=environment)):
        provider_id = db.session.execute(select(Provider.id).where(Provider.slug == "ollama")).scalar_one()
        api = api_for(app, "registry:read", "registry:write", "runs:write")
        assert api.request("PATCH", f"/admin/providers/{provider_id}", json={"base_url": None}).status_code == 200
        run = api.post("/runs", {"incident": {"title": "Disk full"}, "model": "ollama/llama3.2"}).json
        assert (run["source"], [path for _, path, _, _ in upstream.requests]) == ("environment", ["/api/chat"])
        page = Visitor(app, "eve@example.com", PASSWORD).get(f"/admin/provider/details/?id={provider_id}").text
        assert f"http://{upstream.place}, as OLLAMA_HOST of the server&#39;s environment says" in page
    upstream.stop()
