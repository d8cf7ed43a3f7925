"""`catalog sync`: reports the differences, and opens a proposal with `--propose`."""

import json

import pytest


@pytest.fixture
def run(app):
    return app.test_cli_runner()


def test_it_says_what_differs_and_changes_nothing(run, app, tmp_path):
    file = tmp_path / "prices.json"
    row = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 1e-05}
    file.write_text(json.dumps({"gpt-4o": row, "openai/new-one": row}))
    report = run.invoke(args=["catalog", "sync", "litellm", "--file", str(file)])
    assert report.exit_code == 0, report.output
    assert "changed  openai/gpt-4o" in report.output
    assert "Input: $2.50 per 1M tokens -> $5 per 1M tokens (+100.0 %)" in report.output
    assert "1 new, 1 changed, 0 gone." in report.output
    opened = run.invoke(args=["catalog", "sync", "litellm", "--file", str(file), "--propose"])
    assert "Opened the proposal 1: 1 new, 1 changed, 0 gone." in opened.output
    assert "/admin/proposals/1/" in opened.output


def test_what_is_wrong_is_one_line(run, tmp_path):
    missing = run.invoke(args=["catalog", "sync", "litellm", "--file", str(tmp_path / "none.json")])
    assert (missing.exit_code, "cannot be read" in missing.output) == (1, True)
    assert run.invoke(args=["catalog", "sync", "litellm"]).exit_code == 2
    assert run.invoke(args=["catalog", "sync", "nothing"]).exit_code == 2
