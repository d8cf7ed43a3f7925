"""The run history: it can be searched, and never changed."""

import pytest

from webapp.domain.incidents.incidents import incident_from
from webapp.runtime.run_pipeline import RunOptions, run_incident
from webapp.services.credentials.key_access import OPERATOR
from webapp.services.runs import records

LIST = "/admin/run/"


@pytest.fixture
def made(app):
    """Run three incidents on the built-in rules."""
    titles = ("Disk full on db-1", "<b>Memory</b> short", "CPU busy")
    return [
        run_incident(incident_from({"title": title}), RunOptions(local=True, caller=OPERATOR), actor="bob@example.com").public_id
        for title in titles
    ]


def test_runs_are_listed_newest_first_with_their_titles_escaped(eve, made):
    page = eve.get(LIST).text
    assert page.index("CPU busy") < page.index("&lt;b&gt;Memory&lt;/b&gt;") < page.index("Disk full on db-1")
    assert "<b>Memory" not in page


def test_a_run_is_found_by_its_title_its_id_and_who_ran_it(eve, made):
    for search in ("db-1", made[0]):
        page = eve.get(LIST, query_string={"search": search}).text
        assert "Disk full on db-1" in page
        assert "CPU busy" not in page
    assert "CPU busy" in eve.get(f"{LIST}?search=bob@").text


FILTERS = {"status_equals=succeeded": True, "status_equals=failed": False, "driver_equals=local": True, "driver_equals=openai": False}


@pytest.mark.parametrize(("flt", "found"), FILTERS.items())
def test_runs_are_filtered(eve, made, flt, found):
    assert ("CPU busy" in eve.get(f"{LIST}?flt0_{flt}").text) is found


def test_pages_are_turned(eve, made):
    page = eve.get(f"{LIST}?page_size=20&page=0").text
    assert "Showing 1–3 of 3" in page


def test_a_run_has_a_page_under_its_public_id(eve, made):
    short = eve.get(f"{LIST}{made[0]}")
    assert short.status_code == 302
    assert "Disk full on db-1" in eve.get(short.location).text


@pytest.mark.parametrize("run_id", ["1", "1,2", "run_nope", "x" * 500, "\0", "%ED%A0%80", "../x"])
def test_an_id_that_is_none_leads_back_to_the_list(eve, made, run_id):
    assert eve.get(f"{LIST}details/", query_string={"id": run_id}).status_code == 302


@pytest.mark.parametrize(
    "query",
    [
        "page=100000000000000000000",
        "page=-5",
        "sort=99",
        "sort=x",
        "page_size=1000000",
        "search=%00",
        "search=%ED%A0%80",
        "endpoint=x",
        "flt0_status_equals=%00",
        "flt0_nope=1",
        "flt99=",
        "desc=x&sort=1",
    ],
)
def test_no_address_breaks_the_list(eve, made, query):
    assert eve.get(f"{LIST}?{query}").status_code in (200, 302)


@pytest.mark.parametrize("path", ["new/", "edit/?id=1", "delete/", "action/", "ajax/update/", "export/csv/"])
def test_there_is_no_way_to_change_or_delete_a_run(ann, made, session, path):
    ann.get(f"{LIST}{path}")
    ann.post(f"{LIST}{path}", {"id": made[0], "rowid": made[0], "action": "delete"})
    assert len(records.list_latest(session)) == 3


def test_a_stranger_is_sent_to_log_in(client, made):
    assert client.get(LIST).location.startswith("/login")
    assert client.get(f"{LIST}{made[0]}").location.startswith("/login")
