"""The last-good copy of the registry on the local disk, which serves starts without a database. It contains no secrets."""

import glob
import json
import logging
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from webapp.domain.catalog.entities import Catalog
from webapp.domain.catalog.project_overrides import override_document, override_from
from webapp.domain.catalog.serializers import catalog_from, snapshot_document, token_document, token_from
from webapp.domain.shared.timestamps import format_timestamp

FORMAT = 1
STALE_AFTER_S = 60
log = logging.getLogger(__name__)


class LastGoodCopy(NamedTuple):
    """A catalog and the time at which the database last confirmed it."""

    catalog: Catalog
    as_of: datetime


class LastGoodFile:
    """One JSON file that is always replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return self.path.is_file()

    def save(self, catalog: Catalog, as_of: datetime) -> None:
        """Replace the copy. A disk error is logged and ignored, because the registry itself is in the database."""
        document = snapshot_document(catalog, catalog.models, catalog.providers)
        document |= {"format": FORMAT, "as_of": format_timestamp(as_of), "tokens": [token_document(token) for token in catalog.tokens]}
        document["overrides"] = [override_document(override) for override in catalog.overrides]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._delete_stale_files()
            self._replace(msgspec.json.encode(document))
        except OSError as error:
            log.warning("the last-good copy could not be written: %s", error.strerror)

    def _delete_stale_files(self) -> None:
        """Delete the partial copies that killed processes left in the folder."""
        for partial in self.path.parent.glob(f".{glob.escape(self.path.name)}.*"):
            with suppress(FileNotFoundError):  # Another process has deleted it.
                if partial.stat().st_mtime < time.time() - STALE_AFTER_S:
                    partial.unlink()

    def _replace(self, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # `mkstemp` sets mode 600.
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)  # Otherwise failed attempts would fill the disk.
            raise

    def load(self) -> LastGoodCopy | None:
        """Return the copy, or None if there is no readable one."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                return None
            tokens = tuple(token_from(token) for token in document["tokens"])
            overrides = tuple(override_from(override) for override in document.get("overrides", ()))
            return LastGoodCopy(replace(catalog_from(document, tokens), overrides=overrides), datetime.fromisoformat(document["as_of"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:  # A damaged copy counts as none.
            log.warning("the last-good copy could not be read: %s", type(error).__name__)
            return None
