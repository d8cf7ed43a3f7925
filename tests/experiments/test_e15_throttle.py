"""E15: concurrent password guesses on several workers of two servers with one database. At most ten are checked, five per network."""

import http.client
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from http.cookiejar import CookieJar

import pytest
from environment import PASSWORD
from serving import serving

from webapp.services.accounts.login_throttle import PER_ACCOUNT, PER_NETWORK

ANN = "ann@example.com"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_settings(request):
    return request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")


class From(urllib.request.HTTPHandler):
    """A handler that connects from one of the loopback addresses. Modeldesk treats each of them as a separate network."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def http_open(self, request):
        return self.do_open(http.client.HTTPConnection, request, source_address=(self.address, 0))


def guesses(port: int, address: str, passwords: Iterable[str], statuses: list[int]) -> str:
    """Simulate an anonymous browser that loads the sign-in page and then guesses passwords in sequence. Return the last URL reached."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), From(address))
    url = final_url = f"http://127.0.0.1:{port}/login"
    page = opener.open(url, timeout=30).read().decode()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
    for password in passwords:
        data = urllib.parse.urlencode({"csrf_token": token, "email": ANN, "password": password}).encode()
        try:
            response = opener.open(url, data, timeout=30)
            statuses.append(response.status)
            final_url = response.url
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    return final_url


def tried(settings, folder, count, networks=8, **options) -> tuple[list[int], str]:
    """Send `count` guesses concurrently. Return the statuses, and the URL that the owner then reaches from another network."""
    statuses: list[int] = []
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(settings, folder, **options)).port for _ in range(2)]
        threads = [
            threading.Thread(
                target=guesses, args=(port, f"127.0.0.{2 + number % networks}", [f"wrong {guess}" for guess in range(count // 8)], statuses)
            )
            for number, port in enumerate(ports * 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses, guesses(ports[0], "127.0.0.99", [PASSWORD], [])


@pytest.mark.parametrize("networks", [8, 1])
def test_e15_no_more_than_ten_guesses_are_looked_at_by_all_workers_together(either_settings, tmp_path, scale, report, networks):
    statuses, final_url = tried(either_settings, tmp_path, scale(48, 2_000), networks, workers=scale(2, 4))
    checked = statuses.count(422)
    report(
        f"{len(statuses)} guesses of {networks} networks over 2 servers: {checked} looked at, {statuses.count(429)} refused, "
        f"{statuses.count(503)} busy; the owner then came to {final_url.rpartition('/login')[1] or 'the desk'}"
    )
    assert 1 <= checked <= (PER_NETWORK if networks == 1 else PER_ACCOUNT)
    assert set(statuses) <= {422, 429, 503}
    if networks == 1:
        assert final_url.endswith("/admin/")


def test_e15_control_workers_that_count_for_themselves_look_at_more(settings, tmp_path, report):
    statuses, _ = tried(settings, tmp_path, 80, workers=2, application="experiments.mutants.counts_in_memory:app")
    report(f"{len(statuses)} guesses: {statuses.count(422)} looked at")
    assert statuses.count(422) > PER_ACCOUNT
