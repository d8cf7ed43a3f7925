"""Which version of the tables a database holds, and the refusal to write into any other than ours."""

from pathlib import Path

from sqlalchemy import Connection, text

from webapp.config.settings import ROOT
from webapp.domain.shared.errors import SchemaVersionMismatch

VERSION_QUERY = text("SELECT version_num FROM alembic_version")


def list_versions(folder: Path) -> tuple[str, ...]:
    """All versions that these migrations lead to, the oldest first, by the names of their files: no worker loads Alembic for it."""
    return tuple(path.name.split("_")[2] for path in sorted(folder.glob("*_*_*_*.py")))


KNOWN_VERSIONS = list_versions(ROOT / "migrations" / "versions")


def is_newer(version: str) -> bool:
    return version not in KNOWN_VERSIONS


def require_current_version(connection: Connection) -> None:
    """Raises `OtherVersion` unless the tables are those of this version. Asked in every transaction that writes: another version
    may migrate them at any moment, and what this one would write then nobody knows."""
    version = connection.execute(VERSION_QUERY).scalar_one_or_none()
    if version != KNOWN_VERSIONS[-1]:
        raise SchemaVersionMismatch(newer=version is not None and is_newer(version))
