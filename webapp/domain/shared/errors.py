"""The error tree, named by what a caller can do. `web/errors.py` translates it to HTTP. Every message is safe to show.

ModeldeskError
├── Invalid                     the values are invalid: correct them (422, or 400 for a malformed request)
│   └── Malformed               the request has the wrong form
├── NotFound                    the object does not exist
│   └── UnknownModel            no model matches this ref; carries suggestions
├── Conflict                    the request conflicts with the current state
│   ├── AmbiguousModel          several models match this ref; carries them
│   ├── ConfirmationRequired    the caller must confirm the consequences; carries them
│   ├── InUse                   other rows depend on this one; carries them
│   └── Stale                   another user changed the row in the meantime (412)
├── Forbidden                   the caller lacks the permission
└── Unavailable                 temporarily unavailable: try later
    ├── DatabaseUnreachable
    ├── DiskFull                there is no room for the change
    ├── SchemaVersionMismatch   the tables belong to another version
    ├── KeysLocked              the encryption key is missing or wrong
    └── TooManyConcurrentCalls  the server is busy with other calls (429)
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid value. `field` is a path such as `usage.input` or `rates[0].amount`."""

    field: str
    message: str


class ModeldeskError(Exception):
    """The base class of all errors that users can see. `code` is for programs, the message for people."""

    status = 500
    code = "error"

    def __init__(self, detail: str, *, code: str | None = None):
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code

    def extra(self) -> dict[str, object]:
        """Return additional members of the problem document."""
        return {}


class Invalid(ModeldeskError):
    """The values are invalid. `errors` lists the fields and the reasons."""

    status = 422
    code = "invalid"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, code: str | None = None):
        super().__init__(detail, code=code)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Iterable[FieldError]) -> "Invalid":
        """Return an error about several fields."""
        collected = list(errors)
        return cls("; ".join(f"{error.field} {error.message}" for error in collected[:5]), collected)

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        """Return an error about one field."""
        return cls(f"{field} {message}", [FieldError(field, message)])

    def extra(self) -> dict[str, object]:
        return {"errors": [{"field": error.field, "message": error.message} for error in self.errors]}


class Malformed(Invalid):
    """The request has the wrong form."""

    status = 400
    code = "malformed"


def combine_errors(errors: Sequence[Invalid]) -> Invalid:
    """Return one error about the fields of all: malformed if one of them is."""
    kind = Malformed if any(isinstance(error, Malformed) for error in errors) else Invalid
    return kind.of(field_error for error in errors for field_error in error.errors)


class NotFound(ModeldeskError):
    """The object does not exist."""

    status = 404
    code = "not_found"


class UnknownModel(NotFound):
    """No model matches this ref. Modeldesk never guesses; `suggestions` are similar refs."""

    code = "unknown_model"

    def __init__(self, ref: str, suggestions: Sequence[str] = (), hint: str = ""):
        question = f"Did you mean {' or '.join(suggestions[:3])}?" if suggestions else ""
        super().__init__(" ".join(filter(None, (f"No model is named {quote_text(ref)}.", question, hint))))
        self.ref = ref
        self.suggestions = tuple(suggestions)

    def extra(self) -> dict[str, object]:
        return {"suggestions": list(self.suggestions)}


class Conflict(ModeldeskError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, code: str | None = None):
        super().__init__(detail, code=code)
        self.errors = tuple(errors)

    def extra(self) -> dict[str, object]:
        return {"errors": [{"field": error.field, "message": error.message} for error in self.errors]}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A consequence of a change that the caller must confirm: a `code` for programs, and a sentence for people."""

    code: str
    message: str

    @property
    def key(self) -> str:
        """The text that confirms exactly this sentence. It does not match after the consequence changed."""
        return hashlib.sha256(f"{self.code}\n{self.message}".encode()).hexdigest()[:24]

    def document(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "key": self.key}


class ConfirmationRequired(Conflict):
    """The change has consequences that the caller has not confirmed. The same request with their keys is accepted."""

    code = "confirmation_required"

    def __init__(self, confirmations: Sequence[Confirmation]):
        super().__init__(" ".join(confirmation.message for confirmation in confirmations))
        self.confirmations = tuple(confirmations)

    def extra(self) -> dict[str, object]:
        return {"confirmations": [confirmation.document() for confirmation in self.confirmations]}


def require_confirmed(confirmations: Sequence[Confirmation], confirmed: Collection[str]) -> None:
    """Raise `ConfirmationRequired` with all of the confirmations if the key of one is not among the confirmed ones."""
    if any(confirmation.key not in confirmed for confirmation in confirmations):
        raise ConfirmationRequired(confirmations)


class AmbiguousModel(Conflict):
    """Several models match this ref. The caller must use a canonical ref."""

    code = "ambiguous_model"

    def __init__(self, ref: str, candidates: Sequence[str]):
        super().__init__(f"{quote_text(ref)} is ambiguous: it could be {', '.join(candidates)}. Use one of these refs.")
        self.ref = ref
        self.candidates = tuple(candidates)

    def extra(self) -> dict[str, object]:
        return {"candidates": list(self.candidates)}


class InUse(Conflict):
    """Other rows depend on this one. `users` names them."""

    code = "in_use"

    def __init__(self, detail: str, users: Sequence[str]):
        super().__init__(detail)
        self.users = tuple(users)

    def extra(self) -> dict[str, object]:
        return {"users": list(self.users)}


class Stale(Conflict):
    """Another user changed the row since it was read."""

    status = 412
    code = "stale"


class Forbidden(ModeldeskError):
    """The caller is authenticated but lacks the permission."""

    status = 403
    code = "forbidden"


class Unavailable(ModeldeskError):
    """The service is temporarily unavailable. `retry_after` is in seconds."""

    status = 503
    code = "unavailable"
    retry_after = 5


class DatabaseUnreachable(Unavailable):
    """The database does not respond, or its file was moved, deleted or replaced. Reads continue from the snapshot."""

    code = "database_unreachable"

    def __init__(self, detail: str = "The database cannot be reached just now. Nothing was changed; try again shortly."):
        super().__init__(detail)


class DiskFull(Unavailable):
    """The disk has no room for a change. Reads continue, and changes are accepted again when there is room."""

    code = "disk_full"
    retry_after = 60

    def __init__(
        self, detail: str = "The disk of the database is full, so nothing was changed. Free some space on the server, then try again."
    ):
        super().__init__(detail)


class SchemaVersionMismatch(Unavailable):
    """The tables belong to another version of Modeldesk. This version reads what it can and writes nothing."""

    code = "database_other_version"
    retry_after = 60

    def __init__(self, *, newer: bool):
        super().__init__(
            "The database was made by a newer version of Modeldesk, so nothing was changed. Start that version, or restore a backup."
            if newer
            else "The database's tables are of an older version, so nothing was changed. Run `.venv/bin/flask --app wsgi prepare`."
        )


class KeysLocked(Unavailable):
    """The encryption key is missing, malformed or wrong. Features that need no key still work."""

    code = "keys_locked"
    retry_after = 60


class TooManyConcurrentCalls(Unavailable):
    """The slots for slow calls are all in use. A slot is free again after a short time."""

    status = 429
    code = "too_many_requests"
    retry_after = 2


def quote_text(text: str, limit: int = 80) -> str:
    """Return untrusted text that is safe in a sentence: printable, quoted and short."""
    clean = "".join(character if character.isprintable() else "�" for character in text[: limit + 1])
    return f"“{clean[:limit]}…”" if len(clean) > limit else f"“{clean}”"
