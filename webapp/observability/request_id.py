"""Id of the current request, for logs and audit rows."""

from contextvars import ContextVar
from random import getrandbits

request_id: ContextVar[str] = ContextVar("request_id", default="")


def new_request_id() -> str:
    return f"{getrandbits(64):016x}"  # Not a secret. Secure random numbers would take as long as a whole response.
