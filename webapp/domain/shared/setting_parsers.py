"""What a setting may say: each check takes the text of one, and raises `ValueError` with the rest of the sentence about it."""

import re
from collections.abc import Callable


def parse_hosts(text: str) -> tuple[str, ...]:
    found = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not all(re.fullmatch(r"[a-z0-9.\-_\[\]:*]+", name) for name in found):
        raise ValueError("must be a comma-separated list of host or host:port")
    return found


def seconds_parser(least: float, most: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) or not least <= float(text) <= most:
            raise ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        return float(text)

    return check


def parse_switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError("must be on or off")
    return text.lower() == "on"


def integer_parser(least: int, most: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return check


def word_parser(most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(r"[!-~]+", text) or len(text) > most:
            raise ValueError(f"must be at most {most} printable characters without a space")
        return text

    return check


def parse_label(text: str) -> str:
    if not text.isprintable() or len(text) > 40:
        raise ValueError("must be at most 40 printable characters")
    return text


def parse_storage(text: str) -> str:
    """There is one place only (docs/adr/0022). Another one that is asked for must not be passed over in silence."""
    if text != "database" and re.fullmatch(r"rediss?://\S+", text) is None:
        raise ValueError("must be database, or redis://... (attempts to sign in are counted in the database all the same)")
    return text.partition(":")[0]
