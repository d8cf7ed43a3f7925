"""Fixtures of the job tests: chunks of two rows, without pauses."""

import pytest

from webapp.runtime import job_chunks


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(job_chunks, "FIRST_CHUNK", 2)
    monkeypatch.setattr(job_chunks, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(job_chunks, "next_chunk_size", lambda size, seconds: size)
