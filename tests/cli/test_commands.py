"""Commands: exit codes, one-line errors, and secrets that are shown once or never."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environment import PASSWORD, running, settings_for, unguard
from sqlalchemy import select, text

from webapp.config.loading import load
from webapp.config.settings import ROOT
from webapp.domain.credentials.environment_keys import read_environment_keys
from webapp.extensions import db
from webapp.models import ApiToken, AuditEvent, Credential, User
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.tokens import public_id_of
from webapp.services.accounts import accounts
from webapp.services.projects import projects


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *arguments, **more: runner.invoke(args=list(arguments), **more)


WRONG = [
    (2, "users", "create", "x@y.zz"),
    (2, "users", "create", "x@y.zz", "--role", "god"),
    (2, "users", "create", "no address", "--role", "viewer"),
    (2, "users", "create", "\udcff@y.zz", "--role", "viewer"),
    (1, "users", "create", "ann@example.com", "--role", "viewer"),
    (1, "users", "disable", "nobody@example.com"),
    (1, "users", "disable", "ann@example.com"),
    (1, "users", "reset-password", "nobody"),
    (2, "tokens", "create", "ci"),
    (2, "tokens", "create", "ci", "--scope", "all"),
    (2, "tokens", "create", "\n", "--scope", "registry:read"),
    (2, "tokens", "create", "ci", "--scope", "registry:read", "--expires-days", "0"),
    (2, "tokens", "revoke", "x"),
    (1, "tokens", "revoke", "999"),
    (1, "tokens", "revoke", "9" * 60),
    (2, "tokens", "create", "ci", "--scope", "registry:read", "--project", "A B"),
    (2, "tokens", "create", "ci", "--scope", "registry:read", "--project", "no-such-project"),
    (1, "registry", "show", "no-such"),
    (1, "registry", "show", ""),
    (2, "registry", "cost", "gpt-4o", "--input-tokens", "many"),
    (2, "registry", "cost", "gpt-4o", "--input-tokens", "-1"),
    (2, "registry", "cost", "gpt-4o", "--usage", "{"),
    (2, "registry", "cost", "gpt-4o", "--usage", "[" * 100_000),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"input": 1.5}'),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"input": NaN}'),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"input": 1e1000000}'),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"input": ' + "9" * 5000 + "}"),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"second": 8.4711}'),
    (2, "registry", "cost", "gpt-4o", "--usage", '{"second": 1e1000000}'),
    (2, "registry", "cost", "gpt-4o", "--service-tier", "auto"),
    (2, "registry", "cost", "gpt-4o", "--service-tier", "gold"),
    (2, "registry", "cost", "gpt-4o", "--attribute", "quality"),
    (2, "registry", "cost", "gpt-4o", "--attribute", "quality=high", "--attribute", "quality=low"),
    (2, "registry", "cost", "gpt-4o", "--at", "soon"),
    (1, "registry", "cost", "no-such"),
    (2, "users"),
    (2, "registry", "nothing"),
    (2, "nothing"),
]


@pytest.mark.parametrize(
    ("code", "arguments"), [(code, arguments) for code, *arguments in WRONG], ids=[" ".join(map(ascii, w[1:]))[:60] for w in WRONG]
)
def test_what_goes_wrong_ends_with_its_code_and_without_a_traceback(run, code, arguments):
    result = run(*arguments)
    assert (result.exit_code, "Traceback" in result.output, result.stdout if code == 1 else "") == (code, False, "")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.stderr.startswith("modeldesk: "):
        assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("users",), ("users", "create"), ("tokens", "create"), ("registry", "cost"), ("registry", "seed"), ("doctor",), ("prepare",)],
)
def test_every_command_explains_itself(run, arguments):
    result = run(*arguments, "--help")
    assert (result.exit_code, "Usage:" in result.stdout) == (0, True)


def test_a_bug_ends_with_one_line_that_says_where(app, monkeypatch):
    monkeypatch.setattr("webapp.services.accounts.accounts.find", None)
    result = app.test_cli_runner().invoke(args=["users", "disable", "ann@example.com"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert re.fullmatch(r"modeldesk: an error that nobody expected: TypeError at accounts\.py:\d+\. Please report it\.\n", result.stderr)


# Users and tokens.


def test_a_user_is_made_with_a_password_from_standard_input(run):
    result = run("users", "create", " New@Example.com", "--role", "editor", "--password-stdin", input=f"{PASSWORD}\n")
    assert (result.exit_code, result.stdout) == (0, "Created editor new@example.com.\n")
    assert accounts.authenticate(db.session(), "new@example.com", PASSWORD)


def test_a_password_that_is_too_short_is_refused_and_not_repeated(run):
    result = run("users", "create", "new@example.com", "--role", "editor", "--password-stdin", input="hunter2\n")
    assert (result.exit_code, "hunter2" in result.output) == (2, False)
    assert db.session.execute(select(User).where(User.email == "new@example.com")).all() == []


@pytest.mark.parametrize("arguments", [("create", "new@example.com", "--role", "viewer"), ("reset-password", "eve@example.com")])
def test_a_link_is_printed_that_works(run, app, arguments):
    result = run("users", *arguments)
    link = re.search(r"http://127\.0\.0\.1:8000(/setup/\S+)", result.stdout)[1]
    assert app.test_client().get(link).status_code == 200


def test_users_are_listed_by_their_number_and_without_secrets(run):
    lines = run("users", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "EMAIL", "ROLE", "STATE"]
    assert lines[1].split() == ["1", "ann@example.com", "admin", "active"]
    assert "argon2" not in "".join(lines)


def test_a_disabled_user_is_out(run, eve):
    assert run("users", "disable", eve.email).exit_code == 0
    assert eve.get("/admin/").status_code == 302


def test_an_operator_lets_somebody_in_again_who_then_may_do_more(run, eve):
    assert run("users", "disable", eve.email).exit_code == 0
    assert run("users", "enable", eve.email).stdout == "Enabled eve@example.com.\n"
    assert run("users", "set-role", eve.email, "admin").stdout == "eve@example.com is admin now.\n"
    user = db.session.execute(select(User).where(User.email == eve.email)).scalar_one()
    assert (user.is_active, user.role) == (True, "admin")


def test_a_link_that_an_operator_makes_is_in_the_trail(run):
    assert "/setup/" in run("users", "reset-password", "ann@example.com").stdout
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc())).scalars().first()
    assert (event.action, event.target_name, event.actor.startswith("cli:")) == ("accounts:user:make_link", "ann@example.com", True)


def test_no_link_is_printed_for_whoever_is_switched_off(run, eve):
    run("users", "disable", eve.email)
    result = run("users", "reset-password", eve.email)
    assert (result.exit_code == 0, "/setup/" in result.output, "Let the user in first" in result.output) == (False, False, True)


def test_a_token_is_printed_alone_works_and_can_be_revoked(run, app):
    with writing() as session:
        projects.create(session, {"slug": "web", "display_name": "Web"}, actor="ann")
    db.session.remove()
    result = run("tokens", "create", "ci", "--scope", "registry:read", "--scope", "runs:write", "--expires-days", "7", "--project", "web")
    token = result.stdout.strip()
    assert (result.stdout, result.stderr) == (f"{token}\n", "")
    assert public_id_of(token)
    row = db.session.execute(select(ApiToken)).scalar_one()
    assert (row.scopes, row.project, token in run("tokens", "list").stdout) == (["registry:read", "runs:write"], "web", False)
    db.session.remove()
    client, bearer = app.test_client(), {"Authorization": f"Bearer {token}"}
    container.registry().refresh()
    assert client.get("/api/v1/defaults", headers=bearer).status_code == 200
    assert run("tokens", "revoke", str(row.id)).stdout == "Revoked ci.\n"
    container.registry().refresh()
    assert client.get("/api/v1/defaults", headers=bearer).status_code == 401


# The registry.


def test_a_model_is_shown_in_words_and_as_the_api_answers(run):
    content, document = run("registry", "show", "gpt-4o"), json.loads(run("registry", "show", "gpt-4o", "--json").stdout)
    assert "openai/gpt-4o" in content.stdout
    assert (document["ref"], document["price"]["currency"]) == ("openai/gpt-4o", "USD")


def test_a_wrong_name_gets_suggestions(run):
    assert "Did you mean openai/gpt-4o-mini" in run("registry", "show", "gpt-4o-minni").stderr


def test_a_cost_is_exact_and_the_same_by_either_way_of_asking(run):
    first = run("registry", "cost", "gpt-4o", "--input-tokens", "1200", "--output-tokens", "350", "--at", "2026-11-21T00:00:00Z", "--json")
    usage = '{"input": 1200, "output": 350}'
    second = run("registry", "cost", "openai/gpt-4o", "--usage", usage, "--at", "2026-11-21T00:00:00Z", "--json")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert json.loads(first.stdout)["total"] == "0.0065"
    assert "0.0065 USD" in run("registry", "cost", "gpt-4o", "--usage", usage, "--at", "2026-11-21T00:00:00Z").stdout


def test_a_cost_names_its_tier_its_attributes_and_what_is_missing(run):
    asked = ["registry", "cost", "gpt-4o", "--input-tokens", "1200", "--at", "2026-11-21T00:00:00Z"]
    batch = json.loads(run(*asked, "--service-tier", "batch", "--attribute", "region=us", "--json").stdout)
    assert (batch["total"], batch["service_tier"], batch["attributes"]) == ("0.0015", "batch", {"region": "us"})
    assert json.loads(run(*asked, "--service-tier", "default", "--json").stdout)["total"] == "0.003"
    seconds = run("registry", "cost", "gpt-4o", "--usage", '{"input": 1200, "second": 8.47}', "--at", "2026-11-21T00:00:00Z").stdout
    assert "incomplete: No rate is known for seconds: the rest is counted." in seconds
    scale = run(*asked, "--service-tier", "scale").stdout
    assert "incomplete: It has no scale rates: this is the cost at standard rates." in scale


def test_a_model_is_shown_with_every_rate_and_its_conditions(run):
    assert "input 1.25 per 1,000,000 (batch rate)" in run("registry", "show", "gpt-4o").stdout


def test_seeding_again_adds_nothing(run):
    assert run("registry", "seed").stdout == "Nothing is missing.\n"


def test_a_rehearsal_of_the_seed_changes_nothing(empty_app):
    result = empty_app.test_cli_runner().invoke(args=["registry", "seed", "--dry-run"])
    assert (result.exit_code, "Would add provider openai" in result.stdout) == (0, True)
    assert db.session.execute(text("SELECT count(*) FROM models")).scalar_one() == 0


def test_keys_of_the_environment_are_stored_without_being_shown(settings):
    environment = read_environment_keys({"OPENAI_API_KEY": "sk-hunter2-0123456789"}, {})
    keyed_settings = settings_for(settings.database_url, settings.instance_path, environment=environment)
    for app in running(keyed_settings):
        result = app.test_cli_runner().invoke(args=["registry", "seed", "--update-keys"])
        assert (result.exit_code, "Added key openai from OPENAI_API_KEY" in result.stdout, "hunter2" in result.output) == (0, True, False)
        assert db.session.execute(select(Credential.last_four)).scalar_one() == "6789"


def test_the_doctor_finds_nothing_wrong_with_a_good_desk(run):
    result = run("doctor")
    assert (result.exit_code, "FAIL" in result.stdout, "The audit trail is whole." in result.stdout) == (0, False, True)


def test_the_doctor_finds_where_the_trail_was_changed(run):
    with writing() as session:
        unguard(session)
        session.execute(text("UPDATE audit_events SET actor = 'nobody' WHERE id = 1"))
    assert "changed by hand: event 1 was changed" in run("doctor").stdout


def test_the_doctor_finds_that_the_end_of_the_trail_was_cut_off(run):
    with writing() as session:
        unguard(session)
        session.execute(text("DELETE FROM audit_events"))
    result = run("doctor")
    assert (result.exit_code, "FAIL  The audit trail was changed by hand: all " in result.stdout) == (1, True)


@pytest.mark.sqlite  # tests/test_outage.py covers a stopped PostgreSQL.
def test_the_doctor_says_what_to_do_about_a_file_that_is_gone(run, settings):
    settings.sqlite_path.rename(settings.sqlite_path.with_suffix(".moved"))
    result = run("doctor")
    assert (result.exit_code, "put the file back" in result.stdout) == (1, True)


# Commands started as an operator starts them.


def flask(folder: Path, *arguments, **environment) -> subprocess.CompletedProcess:
    defaults = {
        "PATH": os.environ["PATH"],
        "MODELDESK_INSTANCE_PATH": str(folder / "instance"),
        "DATABASE_URL": f"sqlite:///{folder / 'desk.sqlite3'}",
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=defaults | environment, capture_output=True, text=True, timeout=60)


def test_a_first_start_prints_one_link_and_a_second_nothing_new(tmp_path):
    first, second = flask(tmp_path, "prepare"), flask(tmp_path, "prepare")
    assert (first.returncode, len(re.findall(r"/setup/\S{40,}", first.stdout)), second.returncode) == (0, 1, 0)
    assert "Seeded" not in second.stderr
    private = [tmp_path / "desk.sqlite3", *(tmp_path / "instance").iterdir()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in private if path.stat().st_mode & 0o077} == {}
    result = flask(tmp_path, "registry", "cost", "gpt-4o", "--input-tokens", "1000000")
    assert (result.returncode, "2.5 USD" in result.stdout, result.stderr) == (0, True, "")


@pytest.mark.parametrize(
    "setting",
    [
        {"MODELDESK_CACHE_TTL": "hunter2"},
        {"DATABASE_URL": "mysql://u:hunter2@h/x"},
        {"DATABASE_URL": "postgresql+psycopg://u:hunter2@h:port/x"},
        {"MODELDESK_SECRET_KEY": "hunter2"},
        {"MODELDESK_SECRET_KEY_FILE": "/hunter2"},
        {"DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:1/x"},
    ],
    ids=["time", "engine", "port", "secret", "file", "no secret"],
)
def test_a_bad_setting_ends_the_start_with_one_line(tmp_path, setting):
    result = flask(tmp_path, "users", "list", **setting)
    assert (result.returncode, result.stdout, "hunter2" in result.stderr) == (1, "", False)
    assert re.fullmatch(r"modeldesk: (MODELDESK|DATABASE)_\w+ [^\n]+\n", result.stderr), result.stderr


def test_a_database_that_does_not_answer_is_one_line(tmp_path):
    far = {
        "DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:1/x",
        "MODELDESK_SECRET_KEY": "an-honest-one-Hq7dV2xN9rTb4LkYw8sPz3JmC6fGu5Ea",
    }
    result = flask(tmp_path, "users", "list", **far)
    assert (result.returncode, result.stderr.count("\n"), "hunter2" in result.stderr) == (1, 1, False)
    prepared = flask(tmp_path, "prepare", **far)
    assert (prepared.returncode, "Serving what was last known" in prepared.stderr, "Traceback" in prepared.stderr) == (0, True, False)


def test_t24_a_key_that_is_lost_while_the_database_is_away_is_not_replaced_by_a_wrong_one(tmp_path):
    flask(tmp_path, "prepare")
    database, instance = tmp_path / "desk.sqlite3", tmp_path / "instance"
    for app in running(load({"MODELDESK_INSTANCE_PATH": str(instance), "DATABASE_URL": f"sqlite:///{database}"})):
        app.test_client().get("/readyz")  # An app that serves leaves a last-good copy.
    database.rename(tmp_path / "moved")
    key = (instance / "encryption-keys").rename(tmp_path / "key")
    run = flask(tmp_path, "prepare")
    assert (run.returncode, "is gone" in run.stderr, database.exists(), (instance / "encryption-keys").exists()) == (0, True, False, False)
    (tmp_path / "moved").rename(database)
    assert "the file encryption-keys in the instance folder is missing or empty" in flask(tmp_path, "doctor").stdout
    key.rename(instance / "encryption-keys")
    assert "Everything encrypted can be read" in flask(tmp_path, "doctor").stdout


def test_t24_a_key_file_that_others_may_read_is_named_at_the_start_and_by_the_doctor(tmp_path):
    flask(tmp_path, "prepare")
    (tmp_path / "instance" / "encryption-keys").chmod(0o644)
    secret_file = tmp_path / "given"
    secret_file.write_text((tmp_path / "instance" / "secret-key").read_text())
    secret_file.chmod(0o640)
    start = flask(tmp_path, "prepare", MODELDESK_SECRET_KEY_FILE=str(secret_file))
    errors = start.stderr
    assert (start.returncode, "encryption-keys holds a secret and can be read by others on this machine (mode 644)" in errors) == (0, True)
    assert ("given holds a secret" in errors, "(mode 640)" in errors) == (True, True)
    (tmp_path / "instance" / "encryption-keys").chmod(0o600)
    doctor = flask(tmp_path, "doctor", MODELDESK_SECRET_KEY_FILE=str(secret_file))
    assert (doctor.returncode, "chmod 600" in doctor.stdout, "encryption-keys" in doctor.stdout) == (1, True, False)


def test_a_place_where_no_database_can_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    result = flask(tmp_path, "prepare", DATABASE_URL=f"sqlite:///{tmp_path / 'file' / 'desk.sqlite3'}")
    assert (result.returncode, result.stderr.count("\n"), "cannot be created" in result.stderr) == (1, 1, True)
