"""E15: guesses over several workers of two servers on one database, many at once: no more than ten are looked at."""

import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from http.cookiejar import CookieJar

import pytest
from serving import serving

from webapp.services.throttle import PER_ACCOUNT

ANN = "ann@example.com"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_settings(request):
    return request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")


def guesses(port: int, count: int, statuses: list[int]) -> None:
    """A stranger's browser: the page first, for its token, then one guess after the other."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    url = f"http://127.0.0.1:{port}/login"
    page = opener.open(url, timeout=30).read().decode()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
    for number in range(count):
        data = urllib.parse.urlencode({"csrf_token": token, "email": ANN, "password": f"wrong {number}"}).encode()
        try:
            statuses.append(opener.open(url, data, timeout=30).status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)


def tried(settings, folder, count, **options) -> list[int]:
    statuses: list[int] = []
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(settings, folder, **options)).port for _ in range(2)]
        threads = [threading.Thread(target=guesses, args=(port, count // 8, statuses)) for port in ports * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return statuses


def test_e15_no_more_than_ten_guesses_are_looked_at_by_all_workers_together(either_settings, tmp_path, scale, report):
    statuses = tried(either_settings, tmp_path, scale(48, 2_000), workers=scale(2, 4))
    looked_at = statuses.count(422)
    report(f"{len(statuses)} guesses over 2 servers: {looked_at} looked at, {statuses.count(429)} refused, {statuses.count(503)} busy")
    assert 1 <= looked_at <= PER_ACCOUNT
    assert set(statuses) <= {422, 429, 503}


def test_e15_control_workers_that_count_for_themselves_look_at_more(settings, tmp_path, report):
    statuses = tried(settings, tmp_path, 80, workers=2, application="experiments.forgetful:app")
    report(f"{len(statuses)} guesses: {statuses.count(422)} looked at")
    assert statuses.count(422) > PER_ACCOUNT
