"""The id of the request that is being answered, so that logs and audit rows can name it."""

from contextvars import ContextVar
from random import getrandbits

request_id: ContextVar[str] = ContextVar("request_id", default="")


def new_request_id() -> str:
    return f"{getrandbits(64):016x}"  # It tells requests apart and is no secret: the system's entropy costs as much as an answer.
