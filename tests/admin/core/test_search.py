"""Search in lists ignores case in every script, as the API does."""

import pytest
from factories import model_values, price_values, provider_values

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
    ("provider", "завод"),
    ("price", "модель"),
    ("price", "ПРИМЕЧАНИЕ"),
    ("project", "ΠΡΌΒΑ"),
    ("token", "БОТ"),
    ("run", "ДИСК"),
]


@pytest.fixture
def rows(app, api):
    """One row of each list, named in Cyrillic, Greek or German."""
    with writing() as session:
        providers.create(session, provider_values(display_name="Завод"), actor="ann")
        values = model_values(provider="acme", display_name="Новая Модель Größe")
        model = models.create(session, values, actor="ann")
        prices.add(session, model.id, price_values(note="Примечание"), actor="ann")
        projects.create(session, {"slug": "proba", "display_name": "Πρόβα"}, actor="ann")
        api_tokens.create(session, "Бот", ["registry:read"], actor="ann")
    assert api.post("/runs", {"incident": {"title": "Диск заполнен"}}).status_code == 201


def total(visitor, view, word):
    text = visitor.get(f"/admin/{view}/", query_string={"search": word}).text
    return text.partition("<tbody")[2].count("<tr")


@pytest.mark.sqlite
def test_every_list_is_searched_without_regard_to_case_in_any_script(ann, rows):
    assert [(view, word, total(ann, view, word)) for view, word in SEARCHES] == [(view, word, 1) for view, word in SEARCHES]


@pytest.mark.sqlite
@pytest.mark.parametrize("word", ["модель", "НОВАЯ", "GRÖSSE", "größe"])
def test_the_admin_and_the_api_find_the_same_models(ann, api, rows, word):
    found_by_api = api.get("/models", query_string={"q": word}).json["total"]
    assert total(ann, "model", word) == found_by_api == 1


@pytest.mark.sqlite
@pytest.mark.parametrize("word", ["%", "модел_", "мод%ль"])
def test_a_search_still_takes_its_text_literally(ann, rows, word):
    assert total(ann, "model", word) == 0
