"""The error tree: named by what a caller can do, translated to HTTP once (`web/errors.py`), every message safe to show.

ModeldeskError
├── Invalid               the values make no sense: correct them (422, or 400 for a malformed request)
│   └── Malformed         not even the form is right
├── NotFound              there is no such thing
│   └── UnknownModel      no model answers to this ref; carries suggestions
├── Conflict              it clashes with what is there
│   ├── AmbiguousModel    several models answer to this ref; carries them
│   ├── InUse             other rows depend on it; carries them
│   └── Stale             somebody else changed it meanwhile (412)
├── Forbidden             you may not
└── Unavailable           not now: try later
    ├── DatabaseUnreachable
    ├── OtherVersion      the tables are of another version
    ├── KeysLocked        the encryption key is missing or wrong
    └── TooManyAtOnce     others are being served just now (429)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One value that must be corrected. `field` is a path such as `usage.input` or `rates[0].amount`."""

    field: str
    message: str


class ModeldeskError(Exception):
    """The base of all errors that people may read. `code` is for programs, the message for people."""

    status = 500
    code = "error"

    def __init__(self, detail: str, *, code: str | None = None):
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code

    def extra(self) -> dict[str, object]:
        """More members of the problem document."""
        return {}


class Invalid(ModeldeskError):
    """The values make no sense. `errors` says which and why."""

    status = 422
    code = "invalid"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, code: str | None = None):
        super().__init__(detail, code=code)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Iterable[FieldError]) -> "Invalid":
        """Several fields are wrong."""
        found = list(errors)
        return cls("; ".join(f"{error.field} {error.message}" for error in found[:5]), found)

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        """One field is wrong."""
        return cls(f"{field} {message}", [FieldError(field, message)])

    def extra(self) -> dict[str, object]:
        return {"errors": [{"field": error.field, "message": error.message} for error in self.errors]}


class Malformed(Invalid):
    """The request is not even of the right form."""

    status = 400
    code = "malformed"


class NotFound(ModeldeskError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class UnknownModel(NotFound):
    """No model answers to this ref. Nothing is guessed; `suggestions` are refs that look alike."""

    code = "unknown_model"

    def __init__(self, ref: str, suggestions: Sequence[str] = ()):
        hint = f" Did you mean {' or '.join(suggestions[:3])}?" if suggestions else ""
        super().__init__(f"No model is named {quote_text(ref)}.{hint}")
        self.ref = ref
        self.suggestions = tuple(suggestions)

    def extra(self) -> dict[str, object]:
        return {"suggestions": list(self.suggestions)}


class Conflict(ModeldeskError):
    """It clashes with what is there."""

    status = 409
    code = "conflict"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, code: str | None = None):
        super().__init__(detail, code=code)
        self.errors = tuple(errors)

    def extra(self) -> dict[str, object]:
        return {"errors": [{"field": error.field, "message": error.message} for error in self.errors]}


class AmbiguousModel(Conflict):
    """Several models answer to this ref: say which, by its canonical ref."""

    code = "ambiguous_model"

    def __init__(self, ref: str, candidates: Sequence[str]):
        super().__init__(f"{quote_text(ref)} is ambiguous: it could be {', '.join(candidates)}. Use one of these refs.")
        self.ref = ref
        self.candidates = tuple(candidates)

    def extra(self) -> dict[str, object]:
        return {"candidates": list(self.candidates)}


class InUse(Conflict):
    """Other rows depend on it. `users` names them."""

    code = "in_use"

    def __init__(self, detail: str, users: Sequence[str]):
        super().__init__(detail)
        self.users = tuple(users)

    def extra(self) -> dict[str, object]:
        return {"users": list(self.users)}


class Stale(Conflict):
    """Somebody else changed the row since it was read."""

    status = 412
    code = "stale"


class Forbidden(ModeldeskError):
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class Unavailable(ModeldeskError):
    """Not now. `retry_after` is in seconds."""

    status = 503
    code = "unavailable"
    retry_after = 5


class DatabaseUnreachable(Unavailable):
    """The database does not answer, or its file was moved, deleted or replaced. Reads go on from the snapshot."""

    code = "database_unreachable"

    def __init__(self, detail: str = "The database cannot be reached just now. Nothing was changed; try again shortly."):
        super().__init__(detail)


class SchemaVersionMismatch(Unavailable):
    """The database's tables are those of another version of Modeldesk: this one reads what it can, and writes nothing."""

    code = "database_other_version"
    retry_after = 60

    def __init__(self, *, newer: bool):
        super().__init__(
            "The database was made by a newer version of Modeldesk, so nothing was changed. Start that version, or restore a backup."
            if newer
            else "The database's tables are of an older version, so nothing was changed. Run `.venv/bin/flask --app wsgi prepare`."
        )


class KeysLocked(Unavailable):
    """The encryption key is missing, malformed or wrong; what needs no key goes on."""

    code = "keys_locked"
    retry_after = 60


class TooManyConcurrentCalls(Unavailable):
    """What takes long is being done for others already; in a moment there is room again."""

    status = 429
    code = "too_many_requests"
    retry_after = 2


def quote_text(text: str, limit: int = 80) -> str:
    """Somebody's text, safe to put into a sentence: printable, quoted and short."""
    clean = "".join(character if character.isprintable() else "�" for character in text[: limit + 1])
    return f"“{clean[:limit]}…”" if len(clean) > limit else f"“{clean}”"
