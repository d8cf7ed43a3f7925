"""Export to a spreadsheet and import in a real browser: compare, confirm, apply."""

import csv
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_models_are_taken_away_edited_and_brought_in(ann, tmp_path):
    ann.goto("/admin/exchange/")
    with ann.expect_download() as download:
        ann.get_by_role("link", name="CSV").click()
    file = tmp_path / "models.csv"
    download.value.save_as(file)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    row = next(row for row in rows if (row["provider"], row["model_id"]) == ("mistral", "mistral-small-2603"))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow(row | {"input_per_1m": "7.5", "currency": "USD"})

    ann.get_by_label("File").set_input_files(file)
    ann.get_by_role("button", name="Compare").click()
    expect(ann.locator("tbody")).to_contain_text("$7.50 per 1M tokens")
    expect(ann.get_by_text("1 added")).to_be_visible()
    ann.get_by_role("button", name="Apply").click()
    ann.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(ann.get_by_text(re.compile("Imported: 1 added, 0 changed"))).to_be_visible()
    expect(ann.get_by_role("link", name="Imported models.csv")).to_be_visible()
