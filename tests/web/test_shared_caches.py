"""What caches that many share may keep: of answers to somebody who is known nothing, whatever the address and the status."""

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
    """Every address that can be fetched, filled in so that some are there and some are not."""
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and rule.rule.startswith("/api/") is api and not rule.rule.startswith(("/static", "/admin/static")):
            path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
            found.append(re.sub(r"<(?:\w+:)?(\w+)>", lambda match: GIVEN.get(match[1], "1"), path))
    return found


def words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def test_t35_no_page_for_somebody_who_is_known_may_be_kept(app):
    ann, seen = Visitor(app, "ann@example.com", PASSWORD), set()
    paths = [*addresses(app, api=False), "/admin/nowhere", "/admin/x.css", "/admin/model/details/?id=999999"]
    for path in paths:
        if path not in ("/logout", "/healthz", "/readyz"):
            answer = ann.get(path)
            seen.add(answer.status_code)
            assert answer.headers["Cache-Control"] == "no-store", path
            assert "Cookie" in answer.headers.get("Vary", "") or "modeldesk=" not in answer.headers.get("Set-Cookie", ""), path
    assert {200, 302, 404} <= seen


def test_t35_answers_of_the_api_are_kept_by_nobody_but_who_asked(app):
    """Applications may keep them and ask whether they still hold: that is what the `ETag` is for."""
    reader, stranger = api_for(app, "registry:read", "usage:read"), app.test_client()
    seen = set()
    for path in [*addresses(app, api=True), "/api/v1/nowhere"]:
        for answer in (reader.client.get(path, headers={"Authorization": f"Bearer {reader.token}"}), stranger.get(path)):
            seen.add(answer.status_code)
            kept = words(answer.headers["Cache-Control"])
            assert kept <= {"private", "no-cache", "no-store"}, path
            assert kept & {"private", "no-store"}, path
            assert "no-store" in kept or "authorization" in words(answer.headers.get("Vary", "")), path
    assert {200, 401, 404} <= seen
