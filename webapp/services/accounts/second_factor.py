"""The second factor: codes of an authenticator (TOTP, RFC 6238), each good once, and recovery codes for the day the telephone is gone."""

import hmac
import re
import secrets
import unicodedata
from datetime import datetime

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import Invalid, KeysLocked
from webapp.models import RecoveryCode, User
from webapp.security import tokens
from webapp.security.vault import SecretContext, Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import Target

STEP_S = 30
# A clock may be half a minute off in either direction.
STEP_OFFSETS = (0, -1, 1)
CODE_COUNT, CODE_LENGTH = 10, 16
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # What nobody misreads: 16 of them are 79 bits.
APP, RECOVERY = "app", "recovery"
LOCKED_MESSAGE = (
    "Codes of an authenticator app cannot be checked just now, because the desk does not have the key that encrypts them. "
    "Use a recovery code, or ask an admin to take the second factor away."
)
SEPARATORS = re.compile(r"[\s\-]+")


def begin_enrollment(session: Session, user: User, *, vault: Vault) -> str:
    """A new secret for an authenticator. It counts from its first right code on; until then whatever was there before does."""
    secret = pyotp.random_base32()
    user.totp_pending = vault.encrypt(secret, _secret_place(user, "totp_pending"))
    session.flush()
    audit_log.record(session, "accounts:second_factor:begin", actor=user.email, target=_user_target(user))
    return secret


def get_pending_secret_or_none(session: Session, user: User, *, vault: Vault) -> str | None:
    """The secret that waits for its first code."""
    text = session.execute(select(User.totp_pending).where(User.id == user.id)).scalar_one()
    return None if text is None else vault.decrypt(text, _secret_place(user, "totp_pending"))


def provisioning_uri(secret: str, user: User) -> str:
    """What the QR code says to an authenticator."""
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name="Modeldesk")


def confirm_enrollment(session: Session, user: User, code: str, *, vault: Vault, now: datetime) -> list[str]:
    """Turns the waiting secret on with its first code; gives new recovery codes. Raises `Invalid` at `code`."""
    secret = get_pending_secret_or_none(session, user, vault=vault)
    step = _matching_step(secret, normalize_code(code), now) if secret is not None else None
    if secret is None or step is None:
        raise Invalid.field("code", "is not the one that the authenticator shows now; check the clock of the device")
    user.totp_secret, user.totp_pending = vault.encrypt(secret, _secret_place(user, "totp_secret")), None
    user.totp_since, user.totp_step = now, step
    audit_log.record(session, "accounts:second_factor:turn_on", actor=user.email, target=_user_target(user))
    return _replace_codes(session, user)


def renew_codes(session: Session, user: User) -> list[str]:
    """New recovery codes; the earlier ones end."""
    if user.totp_since is None:
        raise Invalid("Turn the second factor on first.")
    audit_log.record(session, "accounts:recovery_codes:renew", actor=user.email, target=_user_target(user))
    return _replace_codes(session, user)


def remove(session: Session, user: User, *, actor: str) -> None:
    """Takes the second factor away, by its owner or by an admin when the device is lost. Raises `Invalid` if there is none."""
    if user.totp_since is None:
        raise Invalid(f"{user.email} has no second factor.")
    user.totp_secret = user.totp_pending = user.totp_since = user.totp_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    audit_log.record(session, "accounts:second_factor:remove", actor=actor, target=_user_target(user))


def verify_code(session: Session, user: User, code: str, *, vault: Vault, now: datetime) -> str | None:
    """Which kind of code this is (`app`, `recovery`), and uses it up; None for a wrong one, which is noted in the trail.

    Inside a writing transaction, with the user's row locked: two requests with the same code cannot both get through. Recovery codes
    work with a locked vault too; an authenticator's do not (raises `KeysLocked`).
    """
    typed = normalize_code(code)
    row = session.get_one(User, user.id, with_for_update=True, populate_existing=True)
    if row.totp_since is None:
        return None
    kind = _use_app_code(session, row, typed, vault=vault, now=now) or _use_recovery_code(session, row, typed, now)
    if kind is None:
        audit_log.record(session, "accounts:second_factor:refuse", actor=row.email, target=_user_target(row))
    return kind


def count_unused_codes(session: Session, user_id: int) -> int:
    unused = (RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.execute(select(func.count()).select_from(RecoveryCode).where(*unused)).scalar_one()


def normalize_code(code: str) -> str:
    """One spelling, before anything is compared or marked as used."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", code[:100])).casefold()


def _decrypt_secret(vault: Vault, user: User, ciphertext: str) -> str:
    try:
        return vault.decrypt(ciphertext, _secret_place(user, "totp_secret"))
    except KeysLocked:
        raise KeysLocked(LOCKED_MESSAGE) from None


def _use_app_code(session: Session, user: User, typed: str, *, vault: Vault, now: datetime) -> str | None:
    if not re.fullmatch(r"[0-9]{6}", typed, re.ASCII):
        return None
    text = session.execute(select(User.totp_secret).where(User.id == user.id)).scalar_one()
    step = _matching_step(_decrypt_secret(vault, user, text or ""), typed, now)
    if step is None or (user.totp_step is not None and step <= user.totp_step):
        return None  # A code is good once, and none that is older than the last one.
    user.totp_step = step
    return APP


def _matching_step(secret: str, typed: str, now: datetime) -> int | None:
    """The half minute whose code this is, if it is near. All are compared, so that time says nothing of which."""
    present, found, totp = int(now.timestamp()) // STEP_S, None, pyotp.TOTP(secret)
    for offset in STEP_OFFSETS:
        right = hmac.compare_digest(totp.generate_otp(present + offset).encode(), typed.encode("utf-8", "surrogatepass"))
        found = present + offset if right and found is None else found
    return found


def _use_recovery_code(session: Session, user: User, typed: str, now: datetime) -> str | None:
    unused = (RecoveryCode.user_id == user.id, RecoveryCode.digest == tokens.digest_of(typed), RecoveryCode.used_at.is_(None))
    used = session.execute(update(RecoveryCode).where(*unused).values(used_at=now).returning(RecoveryCode.id)).scalars().all()
    if not used:
        return None
    audit_log.record(session, "accounts:recovery_code:use", actor=user.email, target=_user_target(user))
    return RECOVERY


def _replace_codes(session: Session, user: User) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    made = ["".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)) for _ in range(CODE_COUNT)]
    session.add_all(RecoveryCode(user_id=user.id, digest=tokens.digest_of(code)) for code in made)
    session.flush()
    return ["-".join(code[at : at + 4] for at in range(0, CODE_LENGTH, 4)) for code in made]


def _secret_place(user: User, field: str) -> SecretContext:
    """Bound to the person: moved into the row of somebody else, a secret opens nothing."""
    return SecretContext(user.id, "second factor", field)


def _user_target(user: User) -> Target:
    return Target("user", user.id, user.email)
