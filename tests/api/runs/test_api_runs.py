"""Runs through the API, on the built-in rules."""

import pytest

DISK = {"title": "Disk usage above 95 % on db-primary", "severity": "critical", "metadata": {"used_percent": 97.5}}


def test_a_run_is_answered_when_finished_and_can_be_read_again(api):
    made = api.post("/runs", {"incident": DISK})
    assert made.status_code == 201
    assert (made.json["status"], made.json["driver"], made.json["model"]) == ("succeeded", "local", None)
    assert "disk" in {advice["type"] for advice in made.json["recommendations"]}
    again = api.get(made.headers["Location"].removeprefix("/api/v1"))
    assert again.json == made.json
    assert api.get(f"/runs/{made.json['id']}", headers={"If-None-Match": again.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("run_id", ["nope", "run_" + "0" * 24, "%00", "x" * 500])
def test_a_run_that_never_was_is_not_found(api, run_id):
    assert api.get(f"/runs/{run_id}").status_code == 404


BAD = [{"severity": "odd"}, {"title": ""}, {"title": None}, {"alerts": "none"}, {"metadata": []}, {"surprise": 1}, {"title": "a\u0000b"}]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_an_incident_that_makes_no_sense_is_refused_at_its_field(api, bad):
    answer = api.post("/runs", {"incident": DISK | bad})
    assert answer.status_code in (400, 422)
    assert next(iter(bad)) in answer.json["errors"][0]["field"]


EXTRA = [
    ({"base_url": "https://evil.example"}, 400),
    ({"api_key": "x"}, 400),
    ({"model": "nope"}, 404),
    ({"template": "nope"}, 404),
    ({"model": 1.5}, 422),
]


@pytest.mark.parametrize(("extra", "status"), EXTRA)
def test_a_caller_cannot_choose_where_a_run_goes(api, extra, status):
    assert api.post("/runs", {"incident": DISK, **extra}).status_code == status
