"""T02: the time of a rejected sign-in does not disclose whether the account exists. Measured with production password hashes."""

import statistics
import time
from collections.abc import Callable, Mapping

import pytest
from experiments.attack import Request, Wire, form
from factories import csrf_token
from serving import Serving, serving

from webapp.app import create_app
from webapp.extensions import db
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts

KINDS = ("known", "inactive", "invited", "unknown")  # Invited users have no password yet.
EACH_ACCOUNT = 8  # Guesses per account, few enough that the throttle rejects none.


def fill(settings, count: int) -> None:
    app = create_app(settings)
    with app.app_context():
        with writing(refresh=False) as session:
            for number in range(count):
                accounts.create(session, f"known{number}@example.com", "viewer", actor="tests", password="A quiet harbour at dusk")
                disabled = accounts.create(
                    session, f"inactive{number}@example.com", "viewer", actor="tests", password="A quiet harbour at dusk"
                )
                accounts.set_active(session, disabled, False, actor="tests")
                accounts.create(session, f"invited{number}@example.com", "viewer", actor="tests")
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def quick_hashes() -> None:
    """Keep the production hasher, because this file measures its cost."""


def measured(served: Serving, count: int, statistic: Callable[[list[float]], float] = statistics.median) -> Mapping[str, float]:
    """Return the statistic of the times per kind, in seconds. The kinds alternate, so that other load on the machine affects them all."""
    wire, host, engine = Wire(served.port), f"127.0.0.1:{served.port}", served.engine()
    page = wire.ask(Request("GET", "/login").raw(host, {}), "GET")
    cookie, token = page.header("Set-Cookie").partition(";")[0], csrf_token(page.body.decode())
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(-2, count):
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM login_attempts")  # The throttle would reject a hundred guesses from one address.
        for kind in KINDS[number % 4 :] + KINDS[: number % 4]:
            email = f"{kind}{max(number, 0) // EACH_ACCOUNT}@example.com"
            fields = [("csrf_token", token), ("email", email), ("password", "not this one at all")]
            request = form("POST", "/login", fields).raw(host, {"Cookie": cookie})
            start = time.perf_counter()
            response = wire.ask(request, "POST")
            if number >= 0:  # The first rounds warm up the server.
                seconds[kind].append(time.perf_counter() - start)
            assert response.status == 422, response.body
    engine.dispose()
    wire.close()
    return {kind: statistic(durations) for kind, durations in seconds.items()}


def said(medians: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {median * 1e3:.1f} ms" for kind, median in medians.items())


def spread(medians: Mapping[str, float]) -> float:
    return max(medians.values()) / min(medians.values()) - 1


def test_t02_a_refused_sign_in_takes_as_long_for_every_kind_of_account(settings, tmp_path, scale, report):
    count = scale(8, 200)
    fill(settings, count // EACH_ACCOUNT + 1)
    with serving(settings, tmp_path, workers=1) as served:
        medians = measured(served, count, scale(min, statistics.median))  # With few samples, the minimum is least affected by other tests.
    report(f"{count} of each kind: {said(medians)}; {spread(medians):.1%} between them")
    assert spread(medians) <= scale(0.4, 0.05)  # Eight samples in parallel with other tests do not allow a lower limit.


def test_t02_control_a_desk_that_hashes_only_for_those_it_knows_tells(settings, tmp_path, report):
    fill(settings, 1)
    with serving(settings, tmp_path, workers=1, application="experiments.mutants.skips_unknown_accounts:app") as served:
        medians = measured(served, 3)
    report(f"{said(medians)}; {spread(medians):.0%} between them")
    assert spread(medians) > 1
