"""Reader of single settings from environment variables or from the files that they name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class ConfigError(Exception):
    """A setting is missing or invalid. The message names the variable and never contains its value."""


class SettingsReader:
    """Reads `NAME`, or the file named by `NAME_FILE`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def text(self, name: str) -> str | None:
        if path := self.environment.get(f"{name}_FILE"):
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{name}_FILE names a file that cannot be read.") from error
        return self.environment.get(name, "").strip() or None

    def parse(self, name: str, default: T, check: Callable[[str], T]) -> T:
        text = self.text(name)
        if text is None:
            return default
        try:
            return check(text)
        except ValueError as error:
            raise ConfigError(f"{name} {error}.") from None
