"""Schema version of a database, and the guard that rejects writes to any other version than the current one."""

from pathlib import Path

from sqlalchemy import Connection, text

from webapp.config.settings import ROOT
from webapp.domain.shared.errors import SchemaVersionMismatch

VERSION_QUERY = text("SELECT version_num FROM alembic_version")


def list_versions(folder: Path) -> tuple[str, ...]:
    """Return the versions of all migrations, oldest first. They are read from the file names, so that no worker loads Alembic."""
    return tuple(path.name.split("_")[2] for path in sorted(folder.glob("*_*_*_*.py")))


KNOWN_VERSIONS = list_versions(ROOT / "migrations" / "versions")


def is_newer(version: str) -> bool:
    return version not in KNOWN_VERSIONS


def require_current_version(connection: Connection) -> None:
    """Raise `SchemaVersionMismatch` unless the tables have the current version.

    Every write transaction checks it, because another version of Modeldesk can migrate the tables at any time.
    """
    version = connection.execute(VERSION_QUERY).scalar_one_or_none()
    if version != KNOWN_VERSIONS[-1]:
        raise SchemaVersionMismatch(newer=version is not None and is_newer(version))
