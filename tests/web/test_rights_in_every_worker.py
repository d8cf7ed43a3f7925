"""Permissions are read from the database on every request (T04): a change applies to the next request in any process."""

import http.client
import re
import urllib.parse
from contextlib import ExitStack

import pytest
from environment import PASSWORD, running
from factories import Visitor
from serving import serving
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import User

BOB = "bob@example.com"


class Browser:
    """A browser whose requests reach several processes, as behind a load balancer."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def ask(self, port: int, method: str, path: str, **form: str) -> tuple[int, str, str]:
        """Return the status, the redirect target and the page."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urllib.parse.urlencode(form) if method == "POST" else None, headers)
        answer = connection.getresponse()
        page = answer.read().decode()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return answer.status, answer.headers.get("Location", ""), page

    def token(self, port: int, path: str) -> str:
        return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.ask(port, "GET", path)[2])[1]

    def sign_in(self, port: int) -> None:
        status, location, _ = self.ask(port, "POST", "/login", csrf_token=self.token(port, "/login"), email=BOB, password=PASSWORD)
        assert (status, location) == (302, "/admin/")


@pytest.mark.parametrize(
    ("path", "form", "answer"),
    [
        ("/admin/user/edit/?id={}", {"role": "viewer", "active": "y"}, (403, "")),
        ("/admin/user/{}/active?to=0", {}, (302, "/login?next=/admin/model/new/")),
    ],
    ids=["made a viewer", "switched off"],
)
def test_t04_a_change_of_rights_in_one_process_acts_on_the_next_request_in_every_other(settings, tmp_path, path, form, answer):
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(settings, tmp_path, workers=1)).port for _ in range(2)]
        bob = Browser()
        bob.sign_in(ports[0])
        for port in ports:
            assert bob.ask(port, "GET", "/admin/model/new/")[0] == 200
        token = bob.token(ports[1], "/admin/model/new/")
        for admin_app in running(settings):  # A third process, in which an admin makes the change.
            user_id = db.session.execute(select(User.id).where(User.email == BOB)).scalar_one()
            db.session.rollback()
            assert Visitor(admin_app, "ann@example.com", PASSWORD).post(path.format(user_id), form).status_code == 302
        for port in ports:
            assert bob.ask(port, "GET", "/admin/model/new/")[:2] == answer
        for port in ports:
            status, location, _ = bob.ask(port, "POST", "/admin/model/1/default", csrf_token=token)
            assert (status, location[:7]) in ((403, ""), (302, "/login?"))
