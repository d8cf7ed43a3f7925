"""The second factor: one-time codes of an authenticator app (TOTP, RFC 6238), and recovery codes for a lost device."""

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
# A device clock can be 30 seconds off in either direction.
STEP_OFFSETS = (0, -1, 1)
CODE_COUNT, CODE_LENGTH = 10, 16
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # Without characters that look alike. 16 characters have 79 bits.
APP, RECOVERY = "app", "recovery"
LOCKED_MESSAGE = (
    "Codes of an authenticator app cannot be checked just now, because the desk does not have the key that encrypts them. "
    "Use a recovery code, or ask an admin to take the second factor away."
)
SEPARATORS = re.compile(r"[\s\-]+")


def begin_enrollment(session: Session, user: User, *, vault: Vault) -> str:
    """Return a new secret for an authenticator app.

    It takes effect with its first correct code. Until then, the previous state stays in force.
    """
    secret = pyotp.random_base32()
    user.totp_pending = vault.encrypt(secret, _secret_context(user, "totp_pending"))
    session.flush()
    audit_log.record(session, "accounts:second_factor:begin", actor=user.email, target=_user_target(user))
    return secret


def get_pending_secret_or_none(session: Session, user: User, *, vault: Vault) -> str | None:
    """Return the secret that waits for its first code."""
    text = session.execute(select(User.totp_pending).where(User.id == user.id)).scalar_one()
    return None if text is None else vault.decrypt(text, _secret_context(user, "totp_pending"))


def provisioning_uri(secret: str, user: User) -> str:
    """Return the `otpauth` URI for the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name="Modeldesk")


def confirm_enrollment(session: Session, user: User, code: str, *, vault: Vault, now: datetime) -> list[str]:
    """Activate the pending secret with its first code and return new recovery codes. Raises `Invalid` at `code`."""
    secret = get_pending_secret_or_none(session, user, vault=vault)
    step = _matching_step(secret, normalize_code(code), now) if secret is not None else None
    if secret is None or step is None:
        raise Invalid.field("code", "is not the one that the authenticator shows now; check the clock of the device")
    user.totp_secret, user.totp_pending = vault.encrypt(secret, _secret_context(user, "totp_secret")), None
    user.totp_since, user.totp_step = now, step
    audit_log.record(session, "accounts:second_factor:turn_on", actor=user.email, target=_user_target(user))
    return _replace_codes(session, user)


def renew_codes(session: Session, user: User) -> list[str]:
    """Return new recovery codes; the previous ones become invalid. Raises `Invalid` if there is no second factor."""
    if user.totp_since is None:
        raise Invalid("Turn the second factor on first.")
    audit_log.record(session, "accounts:recovery_codes:renew", actor=user.email, target=_user_target(user))
    return _replace_codes(session, user)


def remove(session: Session, user: User, *, actor: str) -> None:
    """Remove the second factor, for its owner, or for an admin when the device is lost. Raises `Invalid` if there is none."""
    if user.totp_since is None:
        raise Invalid(f"{user.email} has no second factor.")
    user.totp_secret = user.totp_pending = user.totp_since = user.totp_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    audit_log.record(session, "accounts:second_factor:remove", actor=actor, target=_user_target(user))


def verify_code(session: Session, user: User, code: str, *, vault: Vault, now: datetime) -> str | None:
    """Use up a code and return its kind (`app`, `recovery`), or None for an incorrect code, which is recorded as an audit event.

    Requires a writing transaction. It locks the user's row, so that two requests with the same code cannot both succeed. Recovery codes
    also work with a locked vault; codes of an authenticator app raise `KeysLocked`.
    """
    normalized = normalize_code(code)
    row = session.get_one(User, user.id, with_for_update=True, populate_existing=True)
    if row.totp_since is None:
        return None
    kind = _use_app_code(session, row, normalized, vault=vault, now=now) or _use_recovery_code(session, row, normalized, now)
    if kind is None:
        audit_log.record(session, "accounts:second_factor:refuse", actor=row.email, target=_user_target(row))
    return kind


def count_unused_codes(session: Session, user_id: int) -> int:
    unused = (RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.execute(select(func.count()).select_from(RecoveryCode).where(*unused)).scalar_one()


def normalize_code(code: str) -> str:
    """Return the canonical spelling of a code, which is compared and marked as used."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", code[:100])).casefold()


def _decrypt_secret(vault: Vault, user: User, ciphertext: str) -> str:
    try:
        return vault.decrypt(ciphertext, _secret_context(user, "totp_secret"))
    except KeysLocked:
        raise KeysLocked(LOCKED_MESSAGE) from None


def _use_app_code(session: Session, user: User, code: str, *, vault: Vault, now: datetime) -> str | None:
    if not re.fullmatch(r"[0-9]{6}", code, re.ASCII):
        return None
    text = session.execute(select(User.totp_secret).where(User.id == user.id)).scalar_one()
    step = _matching_step(_decrypt_secret(vault, user, text or ""), code, now)
    if step is None or (user.totp_step is not None and step <= user.totp_step):
        return None  # A code works once, and codes older than the last used one are rejected.
    user.totp_step = step
    return APP


def _matching_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step (30 seconds) of this code if it is near `now`.

    All steps are compared, so that the response time does not reveal which one matched.
    """
    current_step, match, totp = int(now.timestamp()) // STEP_S, None, pyotp.TOTP(secret)
    for offset in STEP_OFFSETS:
        matches = hmac.compare_digest(totp.generate_otp(current_step + offset).encode(), code.encode("utf-8", "surrogatepass"))
        match = current_step + offset if matches and match is None else match
    return match


def _use_recovery_code(session: Session, user: User, code: str, now: datetime) -> str | None:
    unused = (RecoveryCode.user_id == user.id, RecoveryCode.digest == tokens.digest_of(code), RecoveryCode.used_at.is_(None))
    used_ids = session.execute(update(RecoveryCode).where(*unused).values(used_at=now).returning(RecoveryCode.id)).scalars().all()
    if not used_ids:
        return None
    audit_log.record(session, "accounts:recovery_code:use", actor=user.email, target=_user_target(user))
    return RECOVERY


def _replace_codes(session: Session, user: User) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)) for _ in range(CODE_COUNT)]
    session.add_all(RecoveryCode(user_id=user.id, digest=tokens.digest_of(code)) for code in codes)
    session.flush()
    return ["-".join(code[start : start + 4] for start in range(0, CODE_LENGTH, 4)) for code in codes]


def _secret_context(user: User, field: str) -> SecretContext:
    """Return the encryption context of the user. A secret that is copied to another user's row cannot be decrypted."""
    return SecretContext(user.id, "second factor", field)


def _user_target(user: User) -> Target:
    return Target("user", user.id, user.email)
