"""The limit on password attempts. The counts are in the database, so all workers and hosts share them. In doubt, an attempt is denied.

An anonymous attempt counts against the account that it names, whether or not the account exists. It also counts against three more limits:
its network for that account, its network, and all attempts. Three kinds of attempts have only their own count: those of a browser with an
earlier sign-in, those of a signed-in user, and the codes after a correct password. So anonymous clients can exhaust the shared limits, but
they cannot lock out a known user. An owner in a new browser counts as anonymous. Attempts from one network leave room for the owner;
attempts from several networks might not.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from webapp.models import LoginAttempt

WINDOW = timedelta(minutes=5)
PER_ACCOUNT, PER_NETWORK, PER_ADDRESS, OVERALL = 10, 5, 100, 1_000  # docs/adr/0017 explains these numbers.
MAX_AUDITED = 20  # Audit events about exhausted attempts. An anonymous client must not be able to fill the audit log.
AUTHENTICATED_KINDS = frozenset({"session", "new code", "code"})  # Kinds of attempts that require a correct password or a session.
_LOCK = 7_215_004  # Serializes writers on PostgreSQL; SQLite has only one.


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to sign in: account, client address, and browser if it is known. Each `kind` is counted separately."""

    account: str
    address: str
    device: str | None = None
    kind: str = "account"

    def limits(self) -> list[tuple[str, int]]:
        """Return the keys that the attempt counts against, with their limits: the account or browser, then the shared limits."""
        account_limit = (_key(f"device:{self.device}" if self.device else f"{self.kind}:{self.account}"), PER_ACCOUNT)
        if self.device or self.kind in AUTHENTICATED_KINDS:
            return [account_limit]
        network = _network(self.address)
        network_limit = (_key(f"from {network} {self.kind}:{self.account}"), PER_NETWORK)
        return [account_limit, network_limit, (_key(f"address:{network}"), PER_ADDRESS), (_key("all"), OVERALL)]


def register(session: Session, attempt: Attempt, now: datetime) -> timedelta | None:
    """Count the attempt and return None, or return the time to wait and count nothing. Call it before the password is checked."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    session.execute(delete(LoginAttempt).where(LoginAttempt.at <= now - WINDOW))
    for key, limit in attempt.limits():
        count, oldest = session.execute(select(func.count(), func.min(LoginAttempt.at)).where(LoginAttempt.key == key)).one()
        if count >= limit:
            return max(timedelta(seconds=1), oldest + WINDOW - now)
    session.add_all(LoginAttempt(key=key, at=now) for key, _ in attempt.limits())
    return None


def should_audit(session: Session, attempt: Attempt, now: datetime) -> bool:
    """Return whether to audit this attempt: it exhausted a limit of its account, browser or network, and the audit quota is not used up.

    A true result uses up the quota: one event for each account, and `MAX_AUDITED` in total. The result and the time taken do not depend on
    whether the account exists, because a difference would reveal it (T02).
    """
    limits = attempt.limits()[:2]
    if not any(_count(session, key) >= limit for key, limit in limits):
        return False
    quotas = ((_key(f"told:{attempt.account}"), 1), (_key("told"), MAX_AUDITED))
    if any(_count(session, key) >= limit for key, limit in quotas):
        return False
    session.add_all(LoginAttempt(key=key, at=now) for key, _ in quotas)
    return True


def _count(session: Session, key: str) -> int:
    return session.execute(select(func.count()).where(LoginAttempt.key == key)).scalar_one()


def forget(session: Session, attempt: Attempt) -> None:
    """Delete the failed attempts of this client after a correct password. Counts of addresses and of all attempts stay.

    Attempts from other networks on the account stay counted too. Otherwise each sign-in of the owner would give them new attempts.
    """
    account_key, *shared_keys = (key for key, _ in attempt.limits())
    if not shared_keys:
        session.execute(delete(LoginAttempt).where(LoginAttempt.key == account_key))
        return
    # An attempt has the same time in the rows of both keys.
    times = session.execute(select(LoginAttempt.at).where(LoginAttempt.key == shared_keys[0])).scalars().all()
    session.execute(delete(LoginAttempt).where(LoginAttempt.key == account_key, LoginAttempt.at.in_(times)))
    session.execute(delete(LoginAttempt).where(LoginAttempt.key == shared_keys[0]))


def _network(address: str) -> str:
    """Return the network of one client: an IPv4 address, or a /64 network of IPv6 (2^64 addresses)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def _key(name: str) -> str:
    """Return the digest of a limit's name, so that the table contains no email or IP address."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
