"""Parsers of settings. Each takes the text of one setting and raises `ValueError` with the rest of the sentence about it."""

import re
from collections.abc import Callable


def parse_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not all(re.fullmatch(r"[a-z0-9.\-_\[\]:*]+", name) for name in hosts):
        raise ValueError("must be a comma-separated list of host or host:port")
    return hosts


def seconds_parser(minimum: float, maximum: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) or not minimum <= float(text) <= maximum:
            raise ValueError(f"must be a number of seconds from {minimum:g} to {maximum:g}")
        return float(text)

    return check


def parse_switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError("must be on or off")
    return text.lower() == "on"


def integer_parser(minimum: int, maximum: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return check


def word_parser(max_length: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(r"[!-~]+", text) or len(text) > max_length:
            raise ValueError(f"must be at most {max_length} printable characters without a space")
        return text

    return check


def parse_label(text: str) -> str:
    if not text.isprintable() or len(text) > 40:
        raise ValueError("must be at most 40 printable characters")
    return text


def parse_storage(text: str) -> str:
    """Return the storage kind. Only the database exists (docs/adr/0022), but a request for another one must not be ignored silently."""
    if text != "database" and re.fullmatch(r"rediss?://\S+", text) is None:
        raise ValueError("must be database, or redis://... (attempts to sign in are counted in the database all the same)")
    return text.partition(":")[0]
