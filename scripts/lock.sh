#!/usr/bin/env bash
# Writes the lock files: exact versions and hashes for every supported Python, and no registry addresses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() { uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet "$@"; }
compile --group dev --output-file requirements/dev.lock
# Constrained to the versions of the tests, so that the tested versions are the installed ones.
compile --constraint requirements/dev.lock --output-file requirements/run.lock
uv pip compile --group pyproject.toml:supply --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements/supply.lock
