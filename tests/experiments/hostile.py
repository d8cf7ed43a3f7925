"""Hostile requests for E9: the words and bodies of threats T25 to T34, in every input of the API and the pages."""

import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from experiments.attack import Request, form

DEEP = 100_000
NUMBERS = (
    "-1",
    "0",
    "1",
    "1.5",
    "99999999999999999999",
    str(2**31),
    str(2**53),
    str(2**63),
    str(-(2**63) - 1),
    "1e400",
    "1e1000000",
    "NaN",
    "Infinity",
    "sNaN",
    "１２",
    "٣",
    "1_000",
    "0x10",
    " 7 ",
    "+7",
    "9" * 400,
    "true",
    "null",
)
SCRIPTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "'-alert(1)-'",
    "{{7*7}}",
    "{% for x in y %}",
    "${7*7}",
    "%(x)s",
    "{0.__class__}",
    "%n%n%s",
    "![x](http://127.0.0.1:9/?x)",
    "\x1b[31mred",
)
SQL = ("' OR '1'='1", "1;DROP TABLE users", "x' UNION SELECT password_hash FROM users--", "%", "_", "\\", "*/--", "1) OR (1=1")
CELLS = ("=cmd|' /C calc'!A0", "+1", "@SUM(1)", "\t=1", "-1+1")
ODD = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: a=b",
    "\n",
    "\u202etxt.exe",
    "\u200b",
    "\ufeff",
    "\ufdd0",
    "\U0010ffff",
    "ß" * 300,
    "e" + "\u0301" * 500,
    "openаi",
    "漢字" * 200,
    "x" * 3_000,
    "../../etc/passwd",
    "..%2f..%2f",
    "%00",
    "%c0%ae%c0%ae/",
    "\\..\\..",
    "CON",
    "//evil.example/",
    "http://evil.example",
    "[]",
    "{}",
    "[object Object]",
    "a[]=1",
    "__class__",
    "constructor",
    "\ud800",
)
WORDS = (*NUMBERS, *SCRIPTS, *SQL, *CELLS, *ODD)

BODIES: dict[str, bytes] = {
    "open lists": b"[" * DEEP,
    "deep lists": b'{"model":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "NaN": b'{"model":NaN}',
    "infinite": b'{"usage":{"input":1e400}}',
    "2^63": b'{"model":"gpt-4o","usage":{"input":9223372036854775808}}',
    "5,000 digits": b'{"usage":{"input":' + b"9" * 5_000 + b"}}",
    "huge exponent": b'{"usage":{"input":1e1000000}}',
    "lone surrogate": b'{"model":"\\ud800","usage":{}}',
    "surrogate name": b'{"\\udfff":1}',
    "broken UTF-8": b'{"model":"\xff"}',
    "UTF-16": '{"model":"x"}'.encode("utf-16"),
    "a mark": b"\xef\xbb\xbf{}",
    "twice": b'{"model":"a","model":"b"}',
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "number": b"7",
    "nothing": b"",
    "NUL": b'{"model":"a\\u0000b"}',
    "raw NUL": b'{"model":"a\0b"}',
    "proto": b'{"__proto__":{"admin":true},"constructor":{}}',
    "half": b'{"model":',
    "gzip": b"\x1f\x8b\x08\x00\x00",
}
KINDS = ("text/plain", "application/xml", "multipart/form-data", "application/json; charset=utf-7", "application/x-www-form-urlencoded", "")
HEADERS: tuple[dict[str, str], ...] = (
    {"Authorization": "Bearer é\x01"},
    {"Authorization": "Bearer " + "x" * 4_000},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "bearer"},
    {"Authorization": "Bearer ' OR 1=1--"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1:99999999"},
    {"Host": "[::1"},
    {"Host": ""},
    {"Host": "a b"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-For": "' OR 1=1"},
    {"X-Forwarded-Proto": "https,http"},
    {"X-Original-URL": "/admin/"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"If-Match": "*"},
    {"If-Match": '"' + "9" * 500 + '"'},
    {"If-Match": 'W/"\x01"'},
    {"If-None-Match": ", ,," * 300},
    {"If-Modified-Since": "never"},
    {"Range": "bytes=0-,-1,5-2"},
    {"Accept": "*/" + "*" * 500},
    {"Accept-Language": "x" * 2_000},
    {"Accept-Encoding": "gzip;q=NaN"},
    {"Cookie": "modeldesk=" + "x" * 3_000},
    {"Cookie": "modeldesk_revision=" + "9" * 300},
    {"Cookie": "modeldesk_revision=٣; modeldesk_device=a.b.c; =;;"},
    {"Referer": "javascript:alert(1)"},
    {"Origin": "null"},
    {"Origin": "http://[bad"},
    {"HX-Request": "true", "HX-Target": "\x7f"},
    {"HX-Current-URL": "http://[bad"},
    {"Idempotency-Key": "x" * 5_000},
    {"Idempotency-Key": "\x01"},
    {"Expect": "200-maybe"},
    {"Content-Length": "-1"},
    {"Content-Length": "abc"},
    {"Content-Length": "1" * 40, "Connection": "close"},
    {"Connection": "close, x-foo"},
    {"X-Long": "x" * 20_000},
    {"Bad Name": "x"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Upgrade": "h2c", "Connection": "Upgrade"},
    {"Content-Encoding": "gzip"},
)
TARGETS = (
    "/static/../../etc/passwd",
    "/static/..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/wsgi.py",
    "/static/..%5c..%5cwsgi.py",
    "/static/%00",
    "/static/%c0%ae%c0%ae/wsgi.py",
    "/static/CON",
    "/static/a:b",
    "/admin/static/..%2f..%2fapp.py",
    "/console",
    "/.git/config",
    "/.env",
    "//api/v1/models",
    "/api//v1/models",
    "/api/v1/../admin/",
    "/api/v1/models/",
    "/api/v1/models/%2e%2e%2f",
    "/api/v1/models/a//b///c",
    "/api/v1/models/%ED%A0%80",
    "/api/v1/models/%FF",
    "/api/v1/models/%",
    "/api/v1/models/%zz",
    "/api/v1/providers/%00",
    "/setup/%00",
    "/setup/" + "x" * 3_000,
    "/login?next=%0d%0aX:1",
    "/login?next=//evil",
    "/healthz?" + "a&" * 1_000,
    "/readyz/x",
    "/metrics?x=%ff",
    "http://evil.example/",
    "*",
    "/?" + "x" * 7_000,
    "/" + "x" * 9_000,
    "/%",
    "/admin/%ff",
    "/api/v1/cost?model=%ff&input_tokens=1",
    "/api/v1/cost?model=gpt-4o&input_tokens=1&input_tokens=2",
    "/api/v1/models?limit=" + "9" * 400,
    "/api/v1/usage/summary?since=9999-12-31T23:59:59Z&until=0001-01-01T00:00:00Z",
    "/api/v1/explain?model=gpt-4o&at=9999-12-31T23:59:59.999999-23:59",
    "/api/v1/explain?model=gpt-4o&at=0001-01-01T00:00:00%2B23:59",
    "/api/v1/models?cursor=" + "A" * 3_000,
    "/api/v1/models?cursor=eyJhIjoxfQ",
)
METHODS = ("TRACE", "PROPFIND", "CONNECT", "get", "FOO", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD")
LISTS = ("provider", "model", "price", "user", "token", "audit", "project", "run")
LIST_PARAMETERS = ("page", "page_size", "sort", "desc", "search", "id", "url", "flt_", "flt1_", "flt0", "endpoint", "_external", "modal")


def encoded(word: str) -> str:
    return quote(word.encode("utf-8", "surrogatepass"), safe="")


def bodies(document: dict[str, Any]) -> Iterator[Request]:
    """Yield every body, and every content type, for every API operation that takes a body."""
    for path, methods in document["paths"].items():
        target = "/api/v1" + re.sub(r"\{\w+\}", "1", path)
        for method, operation in methods.items():
            if "requestBody" not in operation:
                continue
            headers = {"Content-Type": "application/json", "Idempotency-Key": "one"}
            for name, body in BODIES.items():
                yield Request(method.upper(), target, headers, body, name)
            for kind in KINDS:
                yield Request(method.upper(), target, headers | {"Content-Type": kind}, b"a=1&b=2")


def words_in_addresses(document: dict[str, Any]) -> Iterator[Request]:
    """Yield every word as every query parameter and as every path parameter."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                for word in WORDS:
                    if parameter["in"] == "path":
                        yield Request(method.upper(), "/api/v1" + re.sub(r"\{\w+\}", lambda _, word=word: encoded(word), path))
                    elif parameter["in"] == "query":
                        yield Request(method.upper(), f"/api/v1{path}?model=gpt-4o&{parameter['name']}={encoded(word)}")


def odd_requests() -> Iterator[Request]:
    """Yield URLs, methods and headers that no client sends by accident."""
    for target in TARGETS:
        yield Request("GET", target)
    for method in METHODS:
        for target in ("/", "/login", "/api/v1/models", "/api/v1/cost", "/static/x", "/healthz"):
            yield Request(method, target)
    for headers in HEADERS:
        for method, target in (
            ("GET", "/api/v1/models/gpt-4o"),
            ("POST", "/api/v1/usage"),
            ("GET", "/login"),
            ("POST", "/login"),
            ("GET", "/admin/model/"),
        ):
            yield Request(method, target, headers, b"{}" if method == "POST" else None)
    yield from oversize()


def oversize() -> Iterator[Request]:
    """Yield bodies over the size limit: declared in advance, in chunks, or not declared (T29)."""
    kind = {"Content-Type": "application/json"}
    yield Request("POST", "/api/v1/cost", kind, b'{"model":"' + b"x" * 1_000_000 + b'"}', "1 MB and a little")
    yield Request("POST", "/api/v1/cost", kind | {"Content-Length": "10000000000", "Connection": "close"}, b"", "says 10 GB")
    piece = b"%x\r\n%b\r\n" % (250_000, b"x" * 250_000)
    yield Request("POST", "/api/v1/cost", kind | {"Transfer-Encoding": "chunked"}, piece * 5 + b"0\r\n\r\n", "in pieces")
    yield Request("POST", "/api/v1/cost", kind | {"Transfer-Encoding": "chunked"}, b"zz\r\n\r\n", "bad pieces")
    # RFC 9112 requires 501 for an unknown transfer coding. The server returns it before Modeldesk sees the request.
    yield Request("POST", "/api/v1/cost", kind | {"Transfer-Encoding": "gzip, x"}, b"", "may be 501")
    parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % number for number in range(1_001)) + b"--b--\r\n"
    yield Request("POST", "/login", {"Content-Type": "multipart/form-data; boundary=b"}, parts, "1,001 parts")
    yield Request("POST", "/login", {"Content-Type": "multipart/form-data"}, parts[:500], "no boundary")
    yield Request("POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, b"email=" + b"x" * 600_000, "large form")


def lists() -> Iterator[Request]:
    """Yield hostile values for Flask-Admin's parameters: paging, sorting, filters, exports and lookups."""
    for name in LISTS:
        for parameter in LIST_PARAMETERS:
            for word in WORDS:
                yield Request("GET", f"/admin/{name}/?{parameter}={encoded(word)}")
        for word in WORDS:
            for path in (
                "details/?id=",
                "edit/?id=",
                "export/csv/?search=",
                "export/csv/?sort=",
                "ajax/lookup/?name=x&query=",
                "new/?model=",
            ):
                yield Request("GET", f"/admin/{name}/{path}{encoded(word)}")
            yield Request("GET", f"/admin/{name}/export/{encoded(word)}/")


def filters(keys: dict[str, list[str]]) -> Iterator[Request]:
    """Yield every filter of every list with every word."""
    for name, filter_keys in keys.items():
        for key in filter_keys:
            for word in WORDS:
                yield Request("GET", f"/admin/{name}/?flt0_{encoded(key)}={encoded(word)}")


def changes(token: str) -> Iterator[Request]:
    """Yield Flask-Admin's requests that change rows, for rows that do not exist."""
    for name in LISTS:
        for word in WORDS:
            yield form("POST", f"/admin/{name}/ajax/update/", [("csrf_token", token), ("list_form_pk", word), (word, word)])
            yield form("POST", f"/admin/{name}/ajax/update/", [("csrf_token", token), ("list_form_pk", "1"), ("display_name", word)])
            yield form("POST", f"/admin/{name}/action/", [("csrf_token", token), ("action", word), ("rowid", "1"), ("url", word)])
            yield form("POST", f"/admin/{name}/action/", [("csrf_token", token), ("action", "deactivate"), ("rowid", word)])
            yield form("POST", f"/admin/{name}/delete/", [("csrf_token", token), ("id", word)])


def views(rules: list[tuple[str, str]], token: str) -> Iterator[Request]:
    """Yield every page with every word as its URL variables."""
    for method, rule in rules:
        if "<" not in rule:
            continue
        for word in WORDS:
            target = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule)
            target = re.sub(r"<[^>]+>", lambda _, word=word: encoded(word), target)
            yield Request("GET", target) if method == "GET" else form("POST", target, [("csrf_token", token), ("to", word)])


def filled_forms(forms: list[tuple[str, str, list[str]]], token: str) -> Iterator[Request]:
    """Yield every form with every word in each field, and in all fields at once."""
    for method, target, names in forms:
        for word in WORDS:
            for name in (*names, None):
                fields = [(field, word if name in (field, None) else "1") for field in names if field != "csrf_token"]
                if method == "POST":
                    yield form("POST", target, [("csrf_token", token), *fields])
                else:
                    yield Request(
                        "GET", target.partition("?")[0] + "?" + "&".join(f"{encoded(field)}={encoded(word)}" for field, word in fields)
                    )


def some(requests: Iterator[Request], count: int, seed: int) -> list[Request]:
    """Return a random sample of `count` requests, or all of them if there are fewer."""
    candidates = list(requests)
    return candidates if len(candidates) <= count else random.Random(seed).sample(candidates, count)
