"""E11: the encryption key is rotated while workers of every phase use the credentials. A start with a wrong key changes nothing."""

import hashlib
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from environment import ENCRYPTION_KEY, by_hand, running
from factories import provider_values
from fake_provider import Upstream, reply
from serving import Serving, serving
from sqlalchemy import delete, func, insert, select, text

from webapp.config.settings import ROOT
from webapp.config.sqlite_driver import sqlite
from webapp.domain.shared.errors import KeysLocked
from webapp.extensions import db
from webapp.models import Credential, Provider
from webapp.models.base import utc_now
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.vault import Vault
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials, rotation

CANARY = "sk-CANARY-of-acme-0123456789"
NEW = Fernet.generate_key().decode()
PHASES = (f"{ENCRYPTION_KEY},{NEW}", f"{NEW},{ENCRYPTION_KEY}")


def fill(count: int) -> None:
    """Add `count` providers with one credential each, bound to its provider and origin as usual."""
    vault = container.vault()
    with writing() as session:
        for number in range(count):
            provider = Provider(slug=f"p{number}", display_name=f"P{number}", driver="openai", base_url=f"https://p{number}.example/v1")
            session.add(provider)
            session.flush()
            if number % 500 == 0:
                credentials.store(session, provider, f"sk-secret-{number:08}", vault=vault, actor="ann")
                continue
            place = credentials.secret_context(provider)
            values = {
                "provider_id": provider.id,
                "scope": "shared",
                "owner": "",
                "ciphertext": vault.encrypt(f"sk-secret-{number:08}", place),
                "key_id": vault.key_id,
                "fingerprint": "x",
                "last_four": "",
                "origin": place.origin,
                "is_active": True,
                "created_at": utc_now(),
                "updated_at": utc_now(),
            }
            session.execute(insert(Credential.__table__).values(**values))


def others(excluded=()) -> str:
    """Return one hash of the credentials' columns that rotation must not change, without the credentials of excluded providers."""
    columns = [column for column in Credential.__table__.c if column.name not in ("ciphertext", "key_id")]
    with db.engine.connect() as connection:
        rows = connection.execute(select(*columns).where(Credential.provider_id.not_in(excluded)).order_by(Credential.id)).all()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


class Reader(threading.Thread):
    """A worker of one phase that decrypts credentials continuously and counts failures."""

    def __init__(self, app, keys: str) -> None:
        super().__init__()
        self.app, self.vault, self.stop = app, Vault(keys), threading.Event()
        self.read = self.failed = 0

    def run(self) -> None:
        with self.app.app_context():
            while not self.stop.is_set():
                batch = (
                    db.session.execute(select(Provider).where(Provider.slug.like("p%")).limit(40).offset(self.read % 200)).scalars().all()
                )
                for provider in batch:
                    self.read += 1
                    try:
                        self.failed += credentials.reveal(db.session(), provider, vault=self.vault) is None
                    except KeysLocked:
                        self.failed += 1
                db.session.rollback()
            db.session.remove()


def rotate(vault: Vault) -> int:
    count = 0
    for column in rotation.encrypted_columns():
        cursor: int | None = 0
        while cursor is not None:
            with writing(refresh=False) as session:
                step = rotation.rotate_batch(session, vault, column, cursor)
            count, cursor = count + step.rotated, step.resume_after
    return count


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_settings(request):
    return request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")


def test_e11_nothing_is_unreadable_at_any_moment_of_a_rotation(either_settings, scale, report):
    count = scale(300, 10_000)
    for _ in running(either_settings):
        fill(count)
        before = others()
    for app in running(replace(either_settings, encryption_keys=PHASES[1])):
        readers = [Reader(app, keys) for keys in (*PHASES, *PHASES)]
        for reader in readers:
            reader.start()
        rotated = rotate(container.vault())
        for reader in readers:
            reader.stop.set()
        for reader in readers:
            reader.join()
        unchanged = others() == before
    read, failed = sum(reader.read for reader in readers), sum(reader.failed for reader in readers)
    report(f"{rotated} ciphertexts rotated, {read} decrypted meanwhile in both phases, {failed} failed; other columns equal: {unchanged}")
    assert (rotated, failed, unchanged, read > 0) == (count + 1, 0, True, True)
    for _ in running(replace(either_settings, encryption_keys=NEW)):
        assert not container.vault().locked
        last = db.session.execute(select(Provider).where(Provider.slug == f"p{count - 1}")).scalar_one()
        assert credentials.reveal(db.session(), last, vault=container.vault()) == f"sk-secret-{count - 1:08}"


class Asker(threading.Thread):
    """A client that starts runs over HTTP. For each run, the server decrypts a credential and sends it to the provider."""

    def __init__(self, served: Serving, token: str) -> None:
        super().__init__()
        self.client, self.stop, self.seen = served.client(token), threading.Event(), Counter()

    def run(self) -> None:
        while not self.stop.is_set():
            incident = {"title": f"Disk {self.seen.total()} of {id(self)} is full"}
            response = self.client.ask("POST", "/runs", {"incident": incident, "model": "acme/m-1"})
            self.seen[response.status, response.json.get("status"), response.json.get("source")] += 1
        self.client.close()


def rotated(served: Serving) -> int:
    with closing_engine(served) as engine, engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(Credential).where(Credential.key_id == Vault(NEW).key_id)).scalar_one()


@contextmanager
def closing_engine(served: Serving):
    engine = served.engine()
    yield engine
    engine.dispose()


def rotate_and_be_killed(served: Serving, total: int) -> int:
    """Kill the command after some credentials are rotated. Return their number."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "rotate"]
    process = subprocess.Popen(command, cwd=ROOT, env=served.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while rotated(served) == 0:
        assert process.poll() is None, "it ended by itself"
    process.kill()
    process.wait()
    count = rotated(served)
    assert 0 < count < total
    return count


@pytest.fixture
def upstream():
    server = Upstream().says(reply(200))
    yield server
    server.stop()


def test_e11_a_rotation_that_is_killed_is_resumed_by_one_command_while_people_ask(either_settings, upstream, scale, report, tmp_path):
    count = scale(1_500, 10_000)
    for _ in running(replace(either_settings, outbound_allow=frozenset({upstream.place}))):
        with writing() as session:  # This is the first row, so that the credential used by the runs is rotated early.
            acme = providers.create(session, provider_values(base_url=upstream.base_url), actor="ann", policy=container.current().outbound)
            credentials.store(session, acme, CANARY, vault=container.vault(), actor="ann")
            models.create(session, {"provider": "acme", "model_id": "m-1", "display_name": "Ours", "type": "text"}, actor="ann")
            changed_ids = [acme.id]  # Each call updates its credential's usage.
        fill(count)
        mixed_ids = [providers.get_by_slug_or_none(db.session(), slug).id for slug in ("p1", f"p{count - 1}")]
        changed_ids += mixed_ids
        before = others(changed_ids)
    old_settings, new_settings = (replace(either_settings, encryption_keys=keys) for keys in PHASES)
    options = {"workers": 1, "MODELDESK_OUTBOUND_ALLOW": upstream.place}
    with serving(old_settings, tmp_path, **options) as first, serving(new_settings, tmp_path, **options) as second:
        tokens = [served.token("registry:read", "registry:write", "runs:write") for served in (first, second)]
        askers = [Asker(served, token) for served, token in zip((first, second), tokens, strict=True)]
        for asker in askers:
            asker.start()
        try:
            killed_at = rotate_and_be_killed(second, count + 1)
            # During the rotation, each server stores a credential: the first encrypts with the old key, the second with the new one.
            for served, token, provider_id in zip((first, second), tokens, mixed_ids, strict=True):
                store(served, token, provider_id)
            resumed = int(second.flask("keys", "rotate").split()[1])
        finally:
            for asker in askers:
                asker.stop.set()
            for asker in askers:
                asker.join()
    seen = askers[0].seen + askers[1].seen
    report(f"killed at {killed_at} of {count + 1}, {resumed} by the command after it; {seen.total()} runs meanwhile: {dict(seen)}")
    assert set(seen) == {(201, "succeeded", "database")}
    assert {headers["authorization"] for _, _, headers, _ in upstream.requests} == {f"Bearer {CANARY}"}
    for _ in running(replace(either_settings, encryption_keys=NEW)):
        assert others(changed_ids) == before
        assert misread(mixed_ids, count) == []


def misread(mixed_ids: list[int], count: int) -> list[str]:
    """Return the providers whose credential differs from the last stored one."""
    rows = db.session.execute(select(Provider).where(Provider.base_url.like("https://p%.example/v1"))).scalars().all()
    assert len(rows) == count
    expected = {row.slug: f"sk-mixed-{row.id}" if row.id in mixed_ids else f"sk-secret-{int(row.slug[1:]):08}" for row in rows}
    return [row.slug for row in rows if credentials.reveal(db.session(), row, vault=container.vault()) != expected[row.slug]]


def store(served: Serving, token: str, provider_id: int) -> None:
    client = served.client(token)
    response = client.ask("PUT", f"/admin/providers/{provider_id}/credential", {"api_key": f"sk-mixed-{provider_id}"})
    client.close()
    assert response.status < 300, response.body


def test_e11_control_rotating_by_deleting_and_making_anew_is_noticed(settings):
    for _ in running(settings):
        fill(5)
        before = others()
        with by_hand() as session:
            rows = session.execute(select(Credential.__table__)).mappings().all()
            session.execute(delete(Credential))
            for row in rows:
                session.execute(insert(Credential.__table__).values({**row, "created_at": utc_now(), "updated_at": utc_now()}))
        assert others() != before


WRONG = {
    "another": (Fernet.generate_key().decode(), True),
    "truncated": (ENCRYPTION_KEY[:-4], True),
    "with a newline": (f"{ENCRYPTION_KEY}\nx", True),
    "missing": (None, True),
    "no key": ("not a key", True),
    "swapped with one to come": (f"{NEW},{ENCRYPTION_KEY}", False),
}


def content(settings) -> dict[str, list]:
    """Return the rows of each table, without those that processes report about themselves."""
    with closing(sqlite.connect(settings.sqlite_path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables if name != "registry_processes"}


def start(settings, *, locked: bool) -> None:
    """Start like `make run`: prepare, then serve."""
    for app in running(settings):
        prepared = app.test_cli_runner().invoke(args=["prepare"])
        assert (prepared.exit_code, "keys are locked" in prepared.output) == (0, locked)
        assert app.test_client().get("/readyz").json["keys"] == ("locked" if locked else "unlocked")
        assert app.test_client().get("/admin/provider/").status_code == 302


def test_e11_starts_with_a_wrong_key_change_nothing(settings, scale, report):
    for _ in running(settings):
        fill(3)
    start(settings, locked=False)
    before = content(settings)
    starts = scale(len(WRONG), 100)
    for number in range(starts):
        keys, locked = list(WRONG.values())[number % len(WRONG)]
        start(replace(settings, encryption_keys=keys), locked=locked)
        assert content(settings) == before, list(WRONG)[number % len(WRONG)]
    report(f"{starts} starts with wrong keys: nothing in {len(before)} tables changed")
    for _ in running(settings):
        for number, provider in enumerate(db.session.execute(select(Provider).where(Provider.slug.like("p_"))).scalars()):
            assert credentials.reveal(db.session(), provider, vault=container.vault()) == f"sk-secret-{number:08}"


def test_e11_control_one_ruined_ciphertext_is_noticed(settings):
    for _ in running(settings):
        fill(3)
        before = content(settings)
        with by_hand() as session:
            session.execute(text("UPDATE credentials SET ciphertext = 'x' || substr(ciphertext, 2) WHERE id = 2"))
        assert content(settings) != before
