"""The last-good copy: complete or absent, readable only by its owner, and never a cause of failure."""

import json
import os
import time
from pathlib import Path

import pytest
from factories import NOW, a_model, a_provider

from webapp.domain.catalog.entities import Catalog, TokenInfo
from webapp.registry.last_good import LastGoodFile

CATALOG = Catalog(
    (a_provider(),), (a_model(),), (TokenInfo("abcdefghij", "ci", b"\x01" * 32, frozenset({"runs:write"})),), (), "one", 3, "check"
)


@pytest.fixture
def copies(tmp_path):
    return LastGoodFile(tmp_path / "deep" / "copy.json")


def test_a_copy_reads_back_equal_without_the_check_of_the_key(copies):
    copies.save(CATALOG, NOW)
    copy = copies.load()
    assert (copy.as_of, copy.catalog.key_check) == (NOW, None)
    assert (copy.catalog.models, copy.catalog.tokens, copy.catalog.revision) == (CATALOG.models, CATALOG.tokens, 3)
    assert copies.path.stat().st_mode & 0o777 == 0o600


def test_there_is_no_copy_before_the_first(copies):
    assert (copies.exists(), copies.load()) == (False, None)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "null", "[]", "7", '{"format": 1}', '{"format": 2}', "\udce9"],
    ids=["empty", "cut off", "null", "list", "number", "only a format", "another format", "not UTF-8"],
)
def test_a_damaged_file_is_no_copy(copies, damage):
    copies.path.parent.mkdir()
    copies.path.write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert copies.load() is None


@pytest.mark.parametrize("value", [None, 7, "x", [], {}])
@pytest.mark.parametrize("name", ["providers", "models", "tokens", "as_of"])
def test_a_copy_with_a_damaged_part_is_no_copy_or_an_empty_one(copies, name, value):
    copies.save(CATALOG, NOW)
    document = json.loads(copies.path.read_text())
    document[name] = [value] if isinstance(document[name], list) else value
    copies.path.write_text(json.dumps(document))
    assert copies.load() is None


def test_an_amount_that_is_none_makes_it_no_copy(copies):
    copies.save(CATALOG, NOW)
    copies.path.write_text(copies.path.read_text().replace('"amount":"1"', '"amount":"one"'))
    assert copies.load() is None


def test_a_folder_that_cannot_be_written_to_harms_nothing(tmp_path):
    (tmp_path / "file").touch()
    LastGoodFile(tmp_path / "file" / "copy.json").save(CATALOG, NOW)
    LastGoodFile(Path("/proc/none/copy.json")).save(CATALOG, NOW)


def test_half_a_copy_of_a_process_that_was_killed_is_cleared_away_and_that_of_one_that_writes_is_not(copies):
    copies.save(CATALOG, NOW)
    stale, fresh = (copies.path.with_name(f".copy.json.{name}") for name in ("left", "fresh"))
    for file in (stale, fresh):
        file.write_text("{")
    os.utime(stale, (time.time() - 120,) * 2)
    copies.save(CATALOG, NOW)
    assert sorted(os.listdir(copies.path.parent)) == [fresh.name, "copy.json"]


def test_a_failed_write_leaves_the_old_copy_and_no_rubbish(copies):
    copies.save(CATALOG, NOW)
    copies.path.unlink()
    copies.path.mkdir()
    (copies.path / "in the way").touch()
    copies.save(CATALOG, NOW)
    assert os.listdir(copies.path.parent) == ["copy.json"]
