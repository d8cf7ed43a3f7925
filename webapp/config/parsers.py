"""Parsers of single settings. The message of a `ValueError` continues a sentence that starts with the setting's name."""

import re

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from webapp.domain.accounts.permissions import ROLES


def parse_database_url(text: str) -> str:
    if text.startswith("sqlite:///") and len(text) > len("sqlite:///") and ":memory:" not in text:
        return text
    if text.startswith("postgresql+psycopg://") and _is_valid_url(text):
        return text
    raise ValueError("must be sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME")


def _is_valid_url(text: str) -> bool:
    try:
        make_url(text)
    except (ValueError, ArgumentError):  # Their messages contain the value.
        return False
    return True


def parse_roles(text: str) -> frozenset[str]:
    roles = frozenset(role.strip() for role in text.split(",") if role.strip())
    if not roles <= set(ROLES):
        raise ValueError(f"must be some of {', '.join(ROLES)}, separated by commas")
    return roles


def parse_issuer(text: str) -> str:
    """Return the issuer unchanged, because it is compared with the issuer in every token."""
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9._~:@!$&'()*+,;=/-]*)?", text, re.ASCII) or len(text) > 500:
        raise ValueError("must be the issuer's address as the provider spells it, such as https://id.example.com/realms/staff")
    return text


def parse_role_mapping(text: str) -> dict[str, str]:
    pairs = [entry.strip().rpartition("=") for entry in text.split(",") if entry.strip()]
    if not all(value and role in ROLES for value, _, role in pairs):
        raise ValueError(f"must be pairs such as desk-admins=admin, with the roles {', '.join(ROLES)}, separated by commas")
    return {value.strip(): role for value, _, role in pairs}


def parse_public_url(text: str) -> str:
    if not re.fullmatch(r"https?://([a-z0-9.\-_]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[^\s?#]*)?", text, re.IGNORECASE | re.ASCII):
        raise ValueError("must be an address such as https://modeldesk.example.com")
    return text.rstrip("/")
