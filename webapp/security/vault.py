"""Encryption of credentials. A ciphertext is bound to its row: it does not decrypt in another row, which Fernet alone would allow."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from webapp.domain.accounts.weak_secrets import PUBLISHED_SECRETS, is_weak
from webapp.domain.shared.errors import KeysLocked

SETTING_NAME = "MODELDESK_ENCRYPTION_KEYS"
CHECK_TEXT = "modeldesk key check"
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}=", re.ASCII)


@dataclass(frozen=True, slots=True)
class SecretContext:
    """The context of a secret: provider, the origin that can receive it, and the field."""

    provider_id: int
    origin: str
    field: str = "api_key"


class Vault:
    """Holds the encryption keys. The first key encrypts, all keys decrypt. Without a working key it is locked, and `reason` says why."""

    def __init__(self, keys: str | None, key_location: str = SETTING_NAME) -> None:
        """Load the keys. `key_location` names their source in messages: the setting, or the file."""
        self._key_location = key_location
        self._fernets: list[Fernet] = []
        self._raw: list[bytes] = []
        self.reason: str | None = None
        self._verified_check: str | None = None
        self._rejected_check: str | None = None
        try:
            self._load(keys)
        except (ValueError, binascii.Error):
            self._lock(f"{key_location} cannot be read, or is no comma-separated list of Fernet keys")

    def __repr__(self) -> str:
        return f"<Vault {'locked' if self.locked else 'unlocked'}>"

    def _load(self, keys: str | None) -> None:
        encoded = [key.strip() for key in (keys or "").split(",") if key.strip()]
        if not encoded:
            self._lock(f"{SETTING_NAME} is not set" if self._key_location == SETTING_NAME else f"{self._key_location} is missing or empty")
        for key in encoded:
            # Python's base64 ignores invalid characters, such as a line break in the middle.
            if KEY_PATTERN.fullmatch(key) is None:
                raise ValueError
            self._fernets.append(Fernet(key))
            self._raw.append(base64.urlsafe_b64decode(key))
        if encoded and self._is_weak_key(encoded[0]):  # A weak key is allowed in a later position, so that it can be rotated out.
            self._lock(
                f"the first of {self._key_location} is an example that others know, or follows a pattern: "
                "put a new key before it, and run `keys rotate`"
            )

    def _is_weak_key(self, key: str) -> bool:
        raw = self._raw[0].decode("latin-1")
        return key.lower() in PUBLISHED_SECRETS or len(set(raw)) < 8 or (raw.isascii() and raw.isprintable() and is_weak(raw))

    def _lock(self, reason: str) -> None:
        self._fernets, self._raw, self.reason = [], [], reason

    @property
    def locked(self) -> bool:
        return self.reason is not None

    @property
    def key_id(self) -> str:
        """Identifier of the first key, which does not reveal it."""
        self._require_unlocked()
        return _key_id(self._raw[0])

    @property
    def other_key_ids(self) -> tuple[str, ...]:
        """Identifiers of the keys after the first one."""
        return tuple(map(_key_id, self._raw[1:]))

    def lacks_key(self, key_id: str) -> bool:
        """Return whether the vault has keys, but not this one, so that its ciphertext cannot be read."""
        return not self.locked and key_id not in map(_key_id, self._raw)

    def encrypt(self, secret: str, context: SecretContext) -> str:
        self._require_unlocked()
        payload = json.dumps([context.provider_id, context.origin, context.field, secret]).encode()
        return self._fernets[0].encrypt(payload).decode()

    def decrypt(self, ciphertext: str, context: SecretContext) -> str:
        """Return the secret. Raises `KeysLocked` if no key fits, or if the ciphertext has another context."""
        self._require_unlocked()
        return self._decrypt(ciphertext, context)

    def _decrypt(self, ciphertext: str, context: SecretContext) -> str:
        try:
            provider_id, origin, field, secret = json.loads(MultiFernet(self._fernets).decrypt(ciphertext.encode()))
        except (InvalidToken, ValueError):
            raise KeysLocked("The stored key cannot be decrypted with the present encryption key. Enter it again.") from None
        if (provider_id, origin, field) != (context.provider_id, context.origin, context.field):
            raise KeysLocked("The stored key was made for another provider or address. Enter it again.")
        return str(secret)

    def is_current(self, ciphertext: str) -> bool:
        """Return whether the first key encrypted this, so that it can be read without the older keys."""
        self._require_unlocked()
        try:
            self._fernets[0].decrypt(ciphertext.encode())
        except (InvalidToken, ValueError):
            return False
        return True

    def reencrypt(self, ciphertext: str) -> str:
        """Encrypt the same secret with the first key, for the same context. Raises `KeysLocked` if no key can read it."""
        self._require_unlocked()
        try:
            return MultiFernet(self._fernets).rotate(ciphertext.encode()).decode()
        except (InvalidToken, ValueError):
            raise KeysLocked("No present encryption key can read this.") from None

    def fingerprint(self, secret: str) -> str:
        """Return a keyed fingerprint, which distinguishes secrets in the audit log and reveals nothing without the key."""
        self._require_unlocked()
        return hmac.new(self._raw[0], b"fingerprint" + secret.encode(), hashlib.sha256).hexdigest()[:12]

    def create_key_check(self) -> str:
        """Return a ciphertext that identifies this key later."""
        return self.encrypt(CHECK_TEXT, SecretContext(0, "", "check"))

    def verify_key_check(self, check: str) -> None:
        """Lock the vault while its keys cannot read the check of an earlier start. The check of another database can unlock it again."""
        if not self._fernets or check in (self._verified_check, self._rejected_check):
            return
        try:
            self._decrypt(check, SecretContext(0, "", "check"))
            self._verified_check, self._rejected_check, self.reason = check, None, None
        except KeysLocked:
            self._verified_check, self._rejected_check = None, check
            self.reason = f"{self._key_location} does not hold the key that this database was last used with"

    def _require_unlocked(self) -> None:
        if self.reason is not None:
            raise KeysLocked(f"Keys are locked: {self.reason}. Everything that needs no key goes on.")


def _key_id(raw: bytes) -> str:
    return hashlib.sha256(b"modeldesk key id" + raw).hexdigest()[:12]
