"""Files and threats that the documents name exist."""

import re

import pytest

from webapp.config.settings import ROOT
from webapp.domain.pricing.meters import METER_TABLE

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_security_table_names_tests_that_exist():
    paths = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / "security.md").read_text()))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).is_file()] == []


def test_every_threat_of_the_design_has_a_test_with_its_number():
    numbers = {number for path in (ROOT / "tests").rglob("test_*.py") for number in re.findall(r"_t(\d\d)_", path.read_text())}
    assert {f"{number:02}" for number in range(1, 41)} - numbers == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_inside_the_repository_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_page_on_prices_lists_every_meter():
    page = (ROOT / "docs" / "pricing.md").read_text()
    for name, meter in METER_TABLE.items():
        assert f"| `{name}` | {meter.label} | {meter.unit} |" in page
