"""How often passwords may be tried: counted in the database, so that all workers and hosts share one count, and refused when in doubt.

A guess of a stranger counts against the account that it names, whether there is one or not, against what one network may guess of it,
against the address it comes from, and against all. Whoever has signed in before in the same browser, is signed in, or has given the right
password and now gives a code, has a count of their own and no other: strangers can use up what strangers share, and keep nobody out who is
known. An owner in a new browser is a stranger too: guesses from one network leave room for them, guesses from several need not.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from webapp.models import LoginAttempt

WINDOW = timedelta(minutes=5)
PER_ACCOUNT, PER_NETWORK, PER_ADDRESS, OVERALL = 10, 5, 100, 1_000  # Why these: docs/adr/0017.
MAX_AUDITED = 20  # Lines in the trail about guesses that were used up: a stranger must not be able to fill it.
AUTHENTICATED_KINDS = frozenset(
    {"session", "new code", "code"}
)  # Kinds of guesses that only somebody can make who is through the first door.
_LOCK = 7_215_004  # One writer at a time on PostgreSQL; SQLite has but one.


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who is to be tried, from where, and in which browser if it is known. Other kinds than passwords at the door count apart."""

    account: str
    address: str
    device: str | None = None
    kind: str = "account"

    def limits(self) -> list[tuple[str, int]]:
        """What it counts against, and how often that may be: the account or the browser, then what strangers share."""
        own = (_key(f"device:{self.device}" if self.device else f"{self.kind}:{self.account}"), PER_ACCOUNT)
        if self.device or self.kind in AUTHENTICATED_KINDS:
            return [own]
        network = _network(self.address)
        part = (_key(f"from {network} {self.kind}:{self.account}"), PER_NETWORK)
        return [own, part, (_key(f"address:{network}"), PER_ADDRESS), (_key("all"), OVERALL)]


def register(session: Session, guess: Attempt, now: datetime) -> timedelta | None:
    """Counts the guess and lets it through (None), or says how long to wait and counts nothing. Before any password is looked at."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    session.execute(delete(LoginAttempt).where(LoginAttempt.at <= now - WINDOW))
    for key, most in guess.limits():
        count, oldest = session.execute(select(func.count(), func.min(LoginAttempt.at)).where(LoginAttempt.key == key)).one()
        if count >= most:
            return max(timedelta(seconds=1), oldest + WINDOW - now)
    session.add_all(LoginAttempt(key=key, at=now) for key, _ in guess.limits())
    return None


def should_audit(session: Session, guess: Attempt, now: datetime) -> bool:
    """Whether the guess just let through is the last one for a while (at its account, in its browser, or from its network), and so many
    were not told of yet. Counts that it is told of now: once for an account, and so many in all.

    Whether there is such an account makes no difference to any of it, or the time it takes would tell (T02).
    """
    own = guess.limits()[:2]
    if not any(_count(session, key) >= most for key, most in own):
        return False
    told = ((_key(f"told:{guess.account}"), 1), (_key("told"), MAX_AUDITED))
    if any(_count(session, key) >= most for key, most in told):
        return False
    session.add_all(LoginAttempt(key=key, at=now) for key, _ in told)
    return True


def _count(session: Session, key: str) -> int:
    return session.execute(select(func.count()).where(LoginAttempt.key == key)).scalar_one()


def forget(session: Session, guess: Attempt) -> None:
    """After a right password: what its sender guessed wrong before. Addresses and the whole stay counted.

    What other networks guessed of the account stays counted too, or each sign-in of its owner would give them as many guesses again.
    """
    own, *shared = (key for key, _ in guess.limits())
    if not shared:
        session.execute(delete(LoginAttempt).where(LoginAttempt.key == own))
        return
    mine = session.execute(select(LoginAttempt.at).where(LoginAttempt.key == shared[0])).scalars().all()
    session.execute(delete(LoginAttempt).where(LoginAttempt.key == own, LoginAttempt.at.in_(mine)))  # Both rows have one moment.
    session.execute(delete(LoginAttempt).where(LoginAttempt.key == shared[0]))


def _network(address: str) -> str:
    """What one stranger has: an IPv4 address, or the 2^64 addresses of an IPv6 network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)


def _key(what: str) -> str:
    """No address of a person or a machine stands in the table."""
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()
