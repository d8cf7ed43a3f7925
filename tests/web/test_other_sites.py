"""Forms that another site sends (T06): refused by what the browser says of their origin, whatever token they carry."""

import pytest
from factories import csrf_token
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import Model

OWN = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


def switch(visitor, headers):
    token = csrf_token(visitor.get("/admin/").text)
    number = db.session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()
    status = visitor.client.post(f"/admin/model/{number}/active?to=0", data={"csrf_token": token}, headers=headers).status_code
    db.session.rollback()
    return status, db.session.get(Model, number).is_active


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost.evil.example"}, {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "anything"},
        OWN | {"Sec-Fetch-Site": "cross-site"}, OWN | {"Origin": "https://evil.example"},
    ],
)  # fmt: skip
def test_t06_a_good_token_does_not_help_a_form_of_another_site(bob, headers):
    assert switch(bob, headers) == (403, True)


@pytest.mark.parametrize("headers", [{}, OWN, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:8000"}])
def test_t06_forms_of_this_desk_are_taken(bob, headers):
    assert switch(bob, headers) == (302, False)


def test_t06_signing_in_is_refused_as_well(client):
    token = csrf_token(client.get("/login").text)
    answer = client.post("/login", data={"csrf_token": token, "email": "a@b.example"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "sent by another site" in answer.text
