"""Search in lists ignores case in every script, on both engines, as the API does."""

import pytest
from environment import PASSWORD, api_for
from factories import Visitor, model_values, price_values, provider_values

from webapp.models import text_search
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices
from webapp.services.projects import projects

SEARCHES = [
    ("model", "модель"),
    ("model", "НОВАЯ модель"),
    ("model", "GRÖSSE"),
    ("model", "größe"),
    ("model", "ЗАВОД"),
    ("model", "STRASSE"),
    ("model", "straße"),
    ("provider", "завод"),
    ("price", "модель"),
    ("price", "ПРИМЕЧАНИЕ"),
    ("project", "ΠΡΌΒΑ"),
    ("project", "ΣΤΊΧΟΣ"),
    ("token", "БОТ"),
    ("run", "ДИСК"),
]


@pytest.fixture
def people(either_app):
    """An admin and an API client, and one row of each list, named in Cyrillic, Greek or German."""
    api = api_for(either_app, "registry:read", "registry:write", "runs:write")
    with writing() as session:
        providers.create(session, provider_values(display_name="Завод"), actor="ann")
        values = model_values(provider="acme", display_name="Новая Модель Größe", aliases=["strasse-1"])
        model = models.create(session, values, actor="ann")
        prices.add(session, model.id, price_values(note="Примечание"), actor="ann")
        projects.create(session, {"slug": "proba", "display_name": "Πρόβα", "description": "Στίχος"}, actor="ann")
        api_tokens.create(session, "Бот", ["registry:read"], actor="ann")
    assert api.post("/runs", {"incident": {"title": "Диск заполнен"}}).status_code == 201
    return Visitor(either_app, "ann@example.com", PASSWORD), api


def total(visitor, view, word):
    text = visitor.get(f"/admin/{view}/", query_string={"search": word}).text
    return text.partition("<tbody")[2].count("<tr")


def test_every_list_is_searched_without_regard_to_case_in_any_script(people):
    ann, _ = people
    assert [(view, word, total(ann, view, word)) for view, word in SEARCHES] == [(view, word, 1) for view, word in SEARCHES]


def test_servers_without_case_folding_find_the_same(people, monkeypatch):
    ann, _ = people
    monkeypatch.setattr(text_search, "CASEFOLD_SINCE", (1_000,))
    assert [(view, word, total(ann, view, word)) for view, word in SEARCHES] == [(view, word, 1) for view, word in SEARCHES]


def test_the_admin_and_the_api_find_the_same_models(people):
    ann, api = people
    for word in ("модель", "НОВАЯ", "GRÖSSE", "größe", "STRASSE", "straße", "ﬆrasse"):
        found_by_api = api.get("/models", query_string={"q": word}).json["total"]
        assert (word, total(ann, "model", word), found_by_api) == (word, 1, 1)


def test_a_search_takes_its_text_literally(people):
    ann, _ = people
    assert {word: total(ann, "model", word) for word in ("%", "модел_", "мод%ль", "/модель")} == dict.fromkeys(
        ("%", "модел_", "мод%ль", "/модель"), 0
    )
