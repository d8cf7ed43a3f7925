"""Headers of every response, and errors as pages, problem documents and toasts."""

import re
from dataclasses import replace

import pytest
from environment import PASSWORD, running, settings_for
from factories import Visitor, model_values

from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

PAGES = ["/login", "/setup", "/nothing-here", "/admin/"]


@pytest.mark.parametrize("path", PAGES)
def test_t35_every_page_carries_the_headers(client, path):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert ("default-src 'none'" in policy, "unsafe" in policy, "frame-ancestors 'none'" in policy) == (True, False, True)
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"], headers["Cache-Control"]) == ("nosniff", "DENY", "no-store")
    assert {"Cookie", "HX-Request"} <= {name.strip() for name in headers["Vary"].split(",")}
    assert "require-trusted-types-for 'script'; trusted-types default" in policy
    assert "Strict-Transport-Security" not in headers
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-Id"])
    assert "Access-Control-Allow-Origin" not in headers


def test_over_tls_browsers_are_told_to_stay_there_also_behind_a_proxy_that_ends_it(settings):
    for app in running(replace(settings, base_url="https://desk.example")):
        assert app.test_client().get("/login").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_each_answer_has_its_own_number_and_its_own_nonce(client):
    first, second = client.get("/login"), client.get("/login")
    for name in ("X-Request-Id", "Content-Security-Policy"):
        assert first.headers[name] != second.headers[name]


def test_a_request_id_that_a_stranger_sends_is_not_taken_over(client):
    assert client.get("/login", headers={"X-Request-Id": "evil\x0b"}).headers["X-Request-Id"] != "evil\x0b"


def test_static_files_may_be_kept(client):
    with client.get("/static/css/app.css") as response:
        assert (response.status_code, "max-age=31536000" in response.headers["Cache-Control"]) == (200, True)


@pytest.mark.parametrize("path", ["/static/../webapp/app.py", "/static/%2e%2e/wsgi.py", "/static//etc/passwd", "/static/.."])
def test_t34_nothing_but_static_files_is_served_as_such(client, path):
    assert client.get(path).status_code in (301, 308, 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/login", 405), ("POST", "/login", 400), ("GET", "/logout", 405), ("TRACE", "/", 405)],
)
def test_errors_are_pages_that_say_what_to_do(client, method, path, status):
    response = client.open(path, method=method)
    assert (response.status_code, f"Error {status}" in response.text or method == "TRACE") == (status, True)
    assert response.headers["X-Request-Id"] in response.text


def test_a_method_that_is_not_allowed_says_which_are(client):
    assert {"GET", "POST"} <= set(client.put("/login").headers["Allow"].replace(",", " ").split())


def test_a_viewer_is_told_that_the_role_does_not_allow_it(eve):
    response = eve.get("/admin/model/new/")
    assert (response.status_code, "Your role does not allow this" in response.text) == (403, True)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "", "a b"])
@pytest.mark.parametrize("path", ["/login", "/admin/", "/api/v1/models", "/healthz", "/nothing"])
def test_t08_a_foreign_host_gets_a_400_and_no_address(client, host, path):
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 400
    assert host not in response.text or not host.strip()
    assert "Location" not in response.headers


def test_a_form_that_is_too_large_is_refused(client):
    assert client.post("/login", data={"email": "a" * 1_100_000}).status_code == 413


@pytest.fixture
def broken(settings):
    for app in running(settings):
        app.add_url_rule("/api/v1/broken", "broken_api", lambda: 1 / 0)
        app.add_url_rule("/broken", "broken", lambda: int("a secret value"))
        yield app.test_client()


def test_a_bug_shows_a_number_and_nothing_of_the_inside(broken):
    page, problem = broken.get("/broken"), broken.get("/api/v1/broken")
    for response in (page, problem):
        assert (response.status_code, response.headers["X-Request-Id"] in response.text) == (500, True)
        assert not re.search(r"secret|Traceback|ZeroDivision|ValueError|\.py", response.text)
    assert problem.content_type == "application/problem+json"


def test_a_fragment_gets_its_error_as_a_toast(broken):
    response = broken.get("/broken", headers={"HX-Request": "true"})
    assert (response.status_code, response.text, "toast" in response.headers["HX-Trigger"]) == (500, "", True)


# Two workers


def test_whoever_changes_something_through_one_worker_sees_it_at_once_through_another(settings):
    slow = settings_for(settings.database_url, settings.instance_path, revision_poll=0.5)
    for first_worker in running(slow):
        ann = Visitor(first_worker, "ann@example.com", PASSWORD)
        for second_worker in running(slow):
            registry = container.registry()
            container.current().refresher.stop()  # Stopped, so that it does not refresh.
            with first_worker.app_context():
                row_id = container.registry().get_model("openai/gpt-4o").id
                with writing() as session:
                    models.update(session, row_id, {"display_name": "Renamed just now"}, actor="ann")
            ann.post("/logout")
            assert registry.get_model("openai/gpt-4o").display_name != "Renamed just now"
            browser = second_worker.test_client()
            browser.set_cookie("modeldesk_revision", ann.client.get_cookie("modeldesk_revision").value)
            browser.get("/login")
            assert registry.get_model("openai/gpt-4o").display_name == "Renamed just now"


@pytest.mark.parametrize("cookie", ["", "-1", "1" * 400, "９", "x", "1e9", "999999999999999"])
def test_a_made_up_revision_harms_nothing(client, cookie):
    client.set_cookie("modeldesk_revision", cookie)
    assert client.get("/login").status_code == 200


def test_the_other_workers_follow_within_a_second(settings):
    for worker in running(settings):
        registry = container.registry()
        for _ in running(settings):
            with writing() as session:
                models.create(session, model_values(), actor="ann")
            for _ in range(100):
                if registry.get_model("test-model"):
                    break
                container.current().refresher._stopped.wait(0.01)
            assert registry.get_model("test-model"), worker
