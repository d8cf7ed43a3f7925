"""Shared caches must not store any response to an authenticated client, for every URL and status."""

import re

from environment import PASSWORD, api_for
from factories import Visitor

GIVEN = {
    "id": "1",
    "row_id": "1",
    "number": "1",
    "public_id": "x",
    "name": "incident-analysis",
    "format": "csv",
    "form": "json",
    "export_type": "csv",
}


def addresses(app, *, api: bool) -> list[str]:
    """Return the paths of all GET routes, with parameters that exist for some and not for others."""
    paths = []
    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and rule.rule.startswith("/api/") is api and not rule.rule.startswith(("/static", "/admin/static")):
            path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
            paths.append(re.sub(r"<(?:\w+:)?(\w+)>", lambda match: GIVEN.get(match[1], "1"), path))
    return paths


def words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def test_t35_no_page_for_somebody_who_is_known_may_be_kept(app):
    ann, statuses = Visitor(app, "ann@example.com", PASSWORD), set()
    paths = [*addresses(app, api=False), "/admin/nowhere", "/admin/x.css", "/admin/model/details/?id=999999"]
    for path in paths:
        if path not in ("/logout", "/healthz", "/readyz"):
            response = ann.get(path)
            statuses.add(response.status_code)
            assert response.headers["Cache-Control"] == "no-store", path
            assert "Cookie" in response.headers.get("Vary", "") or "modeldesk=" not in response.headers.get("Set-Cookie", ""), path
    assert {200, 302, 404} <= statuses


def test_t35_answers_of_the_api_are_kept_by_nobody_but_who_asked(app):
    """Applications can cache responses and revalidate them with the `ETag`."""
    reader, anonymous = api_for(app, "registry:read", "usage:read"), app.test_client()
    statuses = set()
    for path in [*addresses(app, api=True), "/api/v1/nowhere"]:
        for response in (reader.client.get(path, headers={"Authorization": f"Bearer {reader.token}"}), anonymous.get(path)):
            statuses.add(response.status_code)
            directives = words(response.headers["Cache-Control"])
            assert directives <= {"private", "no-cache", "no-store"}, path
            assert directives & {"private", "no-store"}, path
            assert "no-store" in directives or "authorization" in words(response.headers.get("Vary", "")), path
    assert {200, 401, 404} <= statuses
