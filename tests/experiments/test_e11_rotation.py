"""E11: the encryption key is rotated while workers of every phase use the keys; and a wrong key changes nothing at all."""

import hashlib
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import delete, insert, select, text
from world import ENCRYPTION_KEY, by_hand, running

from webapp.domain.errors import KeysLocked
from webapp.extensions import db
from webapp.models import Credential, Provider
from webapp.models.base import utc_now
from webapp.security.vault import Vault
from webapp.services import credentials, rotation
from webapp.web import current
from webapp.web.transaction import writing

NEW = Fernet.generate_key().decode()
PHASES = (f"{ENCRYPTION_KEY},{NEW}", f"{NEW},{ENCRYPTION_KEY}")


def fill(count: int) -> None:
    """That many providers with a key each, bound to its place like any other."""
    vault = current.vault()
    with writing() as session:
        for number in range(count):
            provider = Provider(slug=f"p{number}", display_name=f"P{number}", driver="openai", base_url=f"https://p{number}.example/v1")
            session.add(provider)
            session.flush()
            if number % 500 == 0:
                credentials.store(session, provider, f"sk-secret-{number:08}", vault=vault, actor="ann")
                continue
            place = credentials.place_of(provider)
            values = {
                "provider_id": provider.id, "scope": "shared", "owner": "", "ciphertext": vault.encrypt(f"sk-secret-{number:08}", place),
                "key_id": vault.key_id, "fingerprint": "x", "last_four": "", "origin": place.origin, "is_active": True,
                "created_at": utc_now(), "updated_at": utc_now(),
            }  # fmt: skip
            session.execute(insert(Credential.__table__).values(**values))


def others() -> str:
    """Every column of the credentials but those that rotation is about, as one hash."""
    columns = [column for column in Credential.__table__.c if column.name not in ("ciphertext", "key_id")]
    with db.engine.connect() as connection:
        rows = connection.execute(select(*columns).order_by(Credential.id)).all()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


class Reader(threading.Thread):
    """A worker of one phase that decrypts all the time, and counts what it could not read."""

    def __init__(self, app, keys: str) -> None:
        super().__init__()
        self.app, self.vault, self.stop = app, Vault(keys), threading.Event()
        self.read = self.failed = 0

    def run(self) -> None:
        with self.app.app_context():
            while not self.stop.is_set():
                found = (
                    db.session.execute(select(Provider).where(Provider.slug.like("p%")).limit(40).offset(self.read % 200)).scalars().all()
                )
                for provider in found:
                    self.read += 1
                    try:
                        self.failed += credentials.reveal(db.session(), provider, vault=self.vault) is None
                    except KeysLocked:
                        self.failed += 1
                db.session.rollback()
            db.session.remove()


def rotate(vault: Vault) -> int:
    done = 0
    for column in rotation.encrypted_columns():
        after: int | None = 0
        while after is not None:
            with writing(refresh=False) as session:
                step = rotation.step(session, vault, column, after)
            done, after = done + step.rotated, step.after
    return done


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
        rotated = rotate(current.vault())
        for reader in readers:
            reader.stop.set()
        for reader in readers:
            reader.join()
        unchanged = others() == before
    read, failed = sum(reader.read for reader in readers), sum(reader.failed for reader in readers)
    report(f"{rotated} ciphertexts rotated, {read} decrypted meanwhile in both phases, {failed} failed; other columns equal: {unchanged}")
    assert (rotated, failed, unchanged, read > 0) == (count + 1, 0, True, True)
    for _ in running(replace(either_settings, encryption_keys=NEW)):
        assert not current.vault().locked
        last = db.session.execute(select(Provider).where(Provider.slug == f"p{count - 1}")).scalar_one()
        assert credentials.reveal(db.session(), last, vault=current.vault()) == f"sk-secret-{count - 1:08}"


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
    "another": (Fernet.generate_key().decode(), True), "truncated": (ENCRYPTION_KEY[:-4], True),
    "with a newline": (f"{ENCRYPTION_KEY}\nx", True),
    "missing": (None, True), "no key": ("not a key", True), "swapped with one to come": (f"{NEW},{ENCRYPTION_KEY}", False),
}  # fmt: skip


def content(settings) -> str:
    """Everything in the database, but what processes report about themselves."""
    with closing(sqlite3.connect(settings.sqlite_path)) as connection:
        lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "registry_processes"')]
    return "\n".join(lines)


def start(settings, *, locked: bool) -> None:
    """As `make run` does it: prepare, then serve."""
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
    report(f"{starts} starts with wrong keys: nothing in {before.count('CREATE TABLE')} tables changed")
    for _ in running(settings):
        for number, provider in enumerate(db.session.execute(select(Provider).where(Provider.slug.like("p_"))).scalars()):
            assert credentials.reveal(db.session(), provider, vault=current.vault()) == f"sk-secret-{number:08}"


def test_e11_control_one_ruined_ciphertext_is_noticed(settings):
    for _ in running(settings):
        fill(3)
        before = content(settings)
        with by_hand() as session:
            session.execute(text("UPDATE credentials SET ciphertext = 'x' || substr(ciphertext, 2) WHERE id = 2"))
        assert content(settings) != before
