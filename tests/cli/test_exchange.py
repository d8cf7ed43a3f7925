"""Export and import of the whole registry: identical, exact, all or nothing, with line numbers in errors, and never keys."""

import csv
import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import yaml
from environment import running
from factories import bulk_catalogue, model_values, price_values, provider_values
from sqlalchemy import select, text

from webapp.config.settings import ROOT
from webapp.domain.shared.errors import Malformed
from webapp.extensions import db
from webapp.models import Provider
from webapp.price_sources import bounded_yaml
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.pricing import prices
from webapp.services.transfer import registry_import, registry_yaml

CANARY = "sk-CANARY-0123456789"


def invoke(app, *arguments):
    return app.test_cli_runner().invoke(args=["registry", *map(str, arguments)])


def tables() -> dict[str, list]:
    db.session.rollback()
    names = ("providers", "models", "model_aliases", "prices", "price_rates", "credentials", "audit_events")
    return {name: db.session.execute(text(f"SELECT * FROM {name} ORDER BY id")).all() for name in names}


@pytest.fixture
def desk(app):
    """An app with a key, a secret-looking header, a corrected price, a scheduled price and an alias pattern."""
    with writing() as session:
        values = provider_values(config={"extra_headers": {"X-Team": "header-value"}, "json_mode": "prompt"})
        provider = providers.create(session, values, actor="ann")
        credentials.store(session, provider, CANARY, vault=container.vault(), actor="ann")
        model = models.create(
            session, model_values(provider="acme", aliases=["rocket-*", "rocket"], quirks={"temperature": False}), actor="ann"
        )
        first = prices.add(session, model.id, price_values(), actor="ann")
        rates = [
            {"meter": "input", "amount": "2.000000000001", "per": 1_000_000, "above": 200_000},
            {"meter": "input", "amount": "1", "per": 1_000},
        ]
        prices.add(session, model.id, price_values(rates=rates, corrects=first.id, note="Typing mistake"), actor="ann")
        prices.add(session, model.id, price_values(effective_from="2027-01-01T00:00:00Z", state="free", rates=[]), actor="ann")
        providers.set_primary(session, provider.id, actor="ann")
    return app


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_an_export_imported_elsewhere_is_exported_the_same_byte_for_byte(desk, empty_settings, tmp_path, suffix):
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    assert invoke(desk, "export", first).exit_code == 0
    db.session.remove()
    for target_app in running(empty_settings):
        result = invoke(target_app, "import", first)
        assert result.exit_code == 0, result.output
        assert "0 changed" in result.stdout
        invoke(target_app, "export", second)
        assert second.read_bytes() == first.read_bytes()
        again = invoke(target_app, "import", first)
        assert "0 added, 0 changed" in again.stdout
        model = container.registry().refresh().by_name["acme/test-model"]
        assert [str(rate.amount) for rate in model.prices[0].rates] == ["2.000000000001", "1"]
        assert target_app.extensions is not desk.extensions


def test_no_key_and_no_header_is_in_an_export(desk, tmp_path):
    for suffix in ("yaml", "json"):
        exported = invoke(desk, "export", "--format", suffix).stdout
        assert CANARY not in exported
        assert "header-value" not in exported
        assert "ciphertext" not in exported


def test_a_dry_run_says_what_would_change_and_changes_nothing(desk, tmp_path):
    file = tmp_path / "c.yaml"
    invoke(desk, "export", file)
    document = yaml.safe_load(file.read_text())
    next(model for model in document["models"] if model["model_id"] == "test-model")["display_name"] = "Renamed"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    before = tables()
    result = invoke(desk, "import", file, "--dry-run")
    assert (result.exit_code, "changed  model     acme/test-model: display_name" in result.stdout) == (0, True), result.output
    assert tables() == before
    assert invoke(desk, "import", file).exit_code == 0
    assert container.registry().refresh().by_name["acme/test-model"].display_name == "Renamed"
    headers = db.session.execute(select(Provider.config).where(Provider.slug == "acme")).scalar_one()
    assert headers["extra_headers"] == {"X-Team": "header-value"}  # A file never contains headers, so an import never removes them.


HEAD = "format: modeldesk-registry\nversion: 1\n"
MODEL = "models:\n- provider: openai\n  model_id: new\n  display_name: New\n  type: text\n"
PRICE = (
    "  prices:\n  - state: priced\n    currency: USD\n    effective_from: '2026-01-01T00:00:00Z'\n"
    "    rates:\n    - meter: input\n      per: 1000000\n"
)
WRONG = {
    "a float": (HEAD + MODEL + PRICE + "      amount: 1.5\n", "line 15"),
    "a negative amount": (HEAD + MODEL + PRICE + "      amount: '-1'\n", "line 15"),
    "an unknown field": (HEAD + MODEL + "  colour: red\n", "line 8"),
    "an unknown type": (HEAD + MODEL.replace("type: text", "type: smell"), "line 7"),
    "an unknown provider": (HEAD + MODEL.replace("openai", "nobody"), "line 4"),
    "a key": (HEAD + "providers:\n- slug: x\n  display_name: X\n  driver: openai\n  api_key: sk-1\n", "line 4"),
    "a role": (HEAD + "roles: []\n", "line 3"),
    "twice the same name": (HEAD + MODEL + "  type: text\n", "line 8"),
    "an alias": (HEAD + "providers: &a []\nmodels: *a\n", "line 3"),
    "another origin": (
        HEAD + "providers:\n- slug: openai\n  display_name: OpenAI\n  driver: openai\n  base_url: https://evil.example/v1\n",
        "line 7",
    ),
    "a private address": (HEAD + "providers:\n- slug: x\n  display_name: X\n  driver: openai\n  base_url: https://10.0.0.1/v1\n", "line 7"),
    "no list": (HEAD + "models: 5\n", "line 3"),
    "no format": ("models: []\n", "line 1"),
    "no object": ("- 1\n", "must be an object"),
    "no yaml": ("a: [\n", "line 2"),
    "code": ("!!python/object/apply:os.system ['true']\n", "must be an object"),
}


SHEET = "provider,model_id,display_name,type,input_per_1m,currency,price_from\n"
WRONG_SHEETS = {
    "an amount": (f"{SHEET}openai,gpt-4o,GPT,text,1e3,USD,\n", "line 2: input_per_1m"),
    "a type": (f"{SHEET}openai,n,N,smell,,,\n", "line 2: type"),
    "an unknown provider": (f"{SHEET}\nnobody,x,X,text,,,\n", "line 3: provider"),
    "twice": (f"{SHEET}openai,n,N,text,,,\nopenai,n,N,text,,,\n", "was on line 2"),
    "the past": (f"{SHEET}openai,gpt-4o,GPT-4o,text,1,USD,2025-01-01T00:00:00Z\n", "line 2: price_from"),
    "a key column": ("provider,model_id,api_key\nopenai,x,sk-1\n", "line 1: api_key never"),
    "an unknown column": ("provider,model_id,colour\nopenai,x,red\n", "line 1: “colour” is no column"),
    "no id": ("provider,display_name\nopenai,x\n", "line 1: model_id is missing"),
    "a new model without its name": ("provider,model_id\nopenai,x\n", "line 2: display_name"),
}


@pytest.mark.parametrize(("name", "ending"), [(name, "yaml") for name in WRONG] + [(name, "csv") for name in WRONG_SHEETS])
def test_t12_what_is_wrong_is_named_by_its_line_and_nothing_is_imported(app, tmp_path, name, ending):
    content, line = (WRONG if ending == "yaml" else WRONG_SHEETS)[name]
    file = tmp_path / f"wrong.{ending}"
    file.write_text(content)
    before = tables()
    result = invoke(app, "import", file)
    assert (result.exit_code, line in result.stderr, "Traceback" in result.output) == (1, True, False), result.output
    assert tables() == before


def test_every_wrong_line_is_named_at_once(app, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(
        HEAD + MODEL.replace("type: text", "type: smell") + "- provider: openai\n  model_id: ''\n  display_name: X\n  type: text\n"
    )
    errors = invoke(app, "import", file).stderr
    assert "line 7" in errors
    assert "line 9" in errors


def test_a_price_that_exists_is_corrected_by_saying_so_and_never_replaced(app, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(HEAD + MODEL + PRICE + "      amount: '1'\n")
    assert invoke(app, "import", file).exit_code == 0
    file.write_text(HEAD + MODEL + PRICE + "      amount: '2'\n")
    refused = invoke(app, "import", file)
    assert (refused.exit_code, "corrects_previous" in refused.stderr) == (1, True)
    second = PRICE.removeprefix("  prices:\n").replace("  - state", "  - corrects_previous: true\n    state")
    file.write_text(HEAD + MODEL + PRICE + "      amount: '1'\n" + second + "      amount: '2'\n")
    assert invoke(app, "import", file).exit_code == 0
    model = container.registry().refresh().by_name["openai/new"]
    assert [str(price.rates[0].amount) for price in model.prices] == ["2"]


def test_a_large_catalogue_is_read_and_written(empty_app, tmp_path):
    parsed = registry_yaml.parse_registry(json.dumps(bulk_catalogue(300)))
    with writing(refresh=False) as session:
        report = registry_import.apply(session, parsed, registry_import.ImportContext("ann", container.current().outbound))
    assert report.count("added") == 601


# Models as CSV.


def rows_of(file) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def put(file, rows: list[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def sheet(desk, tmp_path):
    """Export the models to a CSV file. One of them has a description that looks like a formula."""
    with writing() as session:
        models.create(session, model_values(model_id="formula", description="=1+1\n@home", sort_order=-5), actor="ann")
    file = tmp_path / "models.csv"
    assert invoke(desk, "export", file).exit_code == 0
    return file


def test_models_as_csv_come_back_the_same_byte_for_byte_and_change_nothing(desk, sheet, empty_settings, tmp_path):
    before = sheet.read_bytes()
    assert b"'=1+1" in before
    assert CANARY.encode() not in before
    imported = invoke(desk, "import", sheet)
    assert "0 added, 0 changed" in imported.stdout, imported.output
    assert invoke(desk, "export", sheet).exit_code == 0
    assert sheet.read_bytes() == before
    providers_file, second_file = tmp_path / "providers.json", tmp_path / "second.csv"
    invoke(desk, "export", providers_file)
    providers_file.write_text(json.dumps(json.loads(providers_file.read_text()) | {"models": []}))
    db.session.remove()
    for target_app in running(empty_settings):
        assert invoke(target_app, "import", providers_file).exit_code == 0
        result = invoke(target_app, "import", sheet)
        assert result.exit_code == 0, result.output
        invoke(target_app, "export", second_file)
        assert second_file.read_bytes() == before


def test_a_rate_that_a_row_changes_becomes_a_new_price_and_the_past_keeps_its_own(desk, sheet):
    rows = rows_of(sheet)
    row = next(row for row in rows if row["model_id"] == "test-model")
    assert (row["input_per_1m"], row["currency"]) == ("1000", "USD")
    assert '"above":200000' in row["more_rates"]
    row["input_per_1m"] = "2"
    put(sheet, [row])
    before = tables()
    dry_run = invoke(desk, "import", sheet, "--dry-run")
    assert "input: $1 per 1,000 tokens -> $2 per 1M tokens" in dry_run.stdout, dry_run.output
    assert tables() == before
    assert invoke(desk, "import", sheet).exit_code == 0
    after = tables()
    assert after["prices"][: len(before["prices"])] == before["prices"]
    assert len(after["prices"]) == len(before["prices"]) + 1
    assert "Imported" not in dry_run.stdout
    actions = [event.action for event in after["audit_events"][len(before["audit_events"]) :]]
    assert actions == ["registry:price:add", "catalog:file:import"]


def test_a_column_that_is_left_out_leaves_things_as_they_are(app, tmp_path):
    file = tmp_path / "few.csv"
    file.write_text("provider;model_id;display_name\nopenai;gpt-4o;Renamed\n")
    result = invoke(app, "import", file)
    assert "changed  model     openai/gpt-4o: display_name" in result.stdout, result.output
    assert "display_name: GPT-4o -> Renamed" in result.stdout
    assert "0 added, 1 changed" in result.stdout


# Files that attack the parser.

DEEP = {
    "brackets": "[" * 200_000,
    "objects": "{a: " * 200_000,
    "lists in lists": "- " * 200_000,
    "a deep value": HEAD + "models: " + "[" * 200_000,
    "complex names": "? " * 200_000,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP.keys())
def test_t29_a_file_that_goes_down_without_end_is_refused_by_its_line_and_ends_no_process(text):
    """Runs in its own process, because an unprotected parser crashes the process."""
    script = (
        "import sys; from webapp.domain.shared.errors import Malformed\n"
        "from webapp.services.transfer import registry_yaml as catalog_text\n"
        "try: catalog_text.parse_registry(sys.stdin.read())\nexcept Malformed as error: print(error.detail)"
    )
    result = subprocess.run([sys.executable, "-c", script], input=text, text=True, capture_output=True, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.match(r"Line \d+: (nested too deep|a name must be text)\.", result.stdout)


def test_t29_control_the_reader_itself_dies_of_such_a_file():
    script = "import yaml; yaml.compose('[' * 200_000, Loader=yaml.CSafeLoader)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT).returncode == -signal.SIGSEGV


def test_t29_a_file_of_more_values_than_any_catalogue_is_refused(monkeypatch):
    monkeypatch.setattr(bounded_yaml, "MAX_NODES", 1_000)
    with pytest.raises(Malformed, match="holds more than 1,000 values"):
        registry_yaml.parse_registry(f"models: [{'1,' * 2_000}1]")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: 1\n---\nb: 2\n", "a second document"), ("? [a]\n: 1\n", "a name must be text"), ("5: 1\n", "a name must be text")],
)
def test_what_is_no_catalogue_is_said(text, said):
    with pytest.raises(Malformed, match=said):
        registry_yaml.parse_registry(text)


def test_a_canceled_price_is_still_canceled_where_its_export_is_imported(app, empty_settings, tmp_path):
    with writing() as session:
        model_id = models.create(session, model_values(provider="openai", model_id="postponed"), actor="ann").id
        prices.add(session, model_id, price_values(), actor="ann")
        scheduled = prices.add(session, model_id, price_values(effective_from="2099-01-01T00:00:00Z", state="free", rates=[]), actor="ann")
        prices.cancel(session, scheduled.id, actor="ann")
    first_file, second_file = tmp_path / "first.yaml", tmp_path / "second.yaml"
    invoke(app, "export", first_file)
    assert first_file.read_text().count("cancels_previous: true") == 1
    db.session.remove()
    for target_app in running(empty_settings):
        assert invoke(target_app, "import", first_file).exit_code == 0
        assert invoke(target_app, "import", first_file).stdout.count("added ") == 0
        invoke(target_app, "export", second_file)
        assert container.registry().refresh().by_name["openai/postponed"].price_at(datetime(2100, 1, 1, tzinfo=UTC)).state == "priced"
    assert second_file.read_bytes() == first_file.read_bytes()
