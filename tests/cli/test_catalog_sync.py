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
    assert "Input: $2.50 per 1M tokens -> $5 per 1M tokens (+100.0%)" in report.output
    assert "1 new, 1 changed, 0 gone." in report.output
    opened = run.invoke(args=["catalog", "sync", "litellm", "--file", str(file), "--propose"])
    assert "Opened the proposal 1: 1 new, 1 changed, 0 gone." in opened.output
    assert "/admin/proposals/1/" in opened.output
    for output in (report.output, opened.output):
        assert "Web searches: $10 per 1,000 searches -> -" in report.output
        assert "1 marked: A rate disappears" in output
        assert "Records: 2 read, 0 left out." in output
        assert "Price fields: 4 in rates, 0 named in notes." in output


def test_every_record_that_is_left_out_is_counted_and_a_file_without_prices_is_an_error(run, tmp_path):
    file = tmp_path / "prices.json"
    row = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06}
    file.write_text(json.dumps({"gpt-4o": row, "x": 1, "y": {"mode": "chat"}, "b//d": row}))
    for options in ((), ("--propose",)):
        report = run.invoke(args=["catalog", "sync", "litellm", "--file", str(file), *options])
        assert "Records: 1 read, 3 left out." in report.output
        assert "3 problems in the source, such as x: is left out" in report.output
    file.write_text(json.dumps({"gpt-4o": row | {"input_cost_per_token": "0.1"}}))
    for options in ((), ("--propose",)):
        report = run.invoke(args=["catalog", "sync", "litellm", "--file", str(file), *options])
        assert (report.exit_code, "no price that can be read" in report.output) == (2, True)


def test_it_names_what_stays_and_compares_with_the_last_other_source(run, tmp_path):
    litellm, models_dev = tmp_path / "litellm.json", tmp_path / "api.json"
    litellm.write_text(json.dumps({"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.7e-06}}))
    models_dev.write_text(json.dumps({"openai": {"name": "OpenAI", "models": {"gpt-4o": {"cost": {"input": 2.6, "output": 10}}}}}))
    run.invoke(args=["catalog", "sync", "litellm", "--file", str(litellm), "--propose"])
    report = run.invoke(args=["catalog", "sync", "models.dev", "--file", str(models_dev)])
    assert "Web searches: $10 per 1,000 searches, not stated by this source: stays" in report.output
    assert "1 marked: A second source states another amount" in report.output


def test_what_is_wrong_is_one_line(run, tmp_path):
    missing = run.invoke(args=["catalog", "sync", "litellm", "--file", str(tmp_path / "none.json")])
    assert (missing.exit_code, "cannot be read" in missing.output) == (1, True)
    assert run.invoke(args=["catalog", "sync", "litellm"]).exit_code == 2
    assert run.invoke(args=["catalog", "sync", "nothing"]).exit_code == 2
