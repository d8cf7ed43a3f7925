# Everything a person or CI does, once. `make` alone explains itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
T ?= tests
CHECKED_COMMITS := fab12c9
MODEL_PARTS ?= $(shell getconf _NPROCESSORS_ONLN)

.DEFAULT_GOAL := help
.PHONY: help run serve shell test test-postgresql cover check commits format format-check lint types imports hooks migration migrations quick browser mock experiments model-steps bench lock audit sbom licences vendor screenshots clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Modeldesk needs Python 3.11 or newer; name one with make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created requirements/run.lock
	@echo "Installing what Modeldesk needs (about a minute, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/run.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

run: $(VENV)/.run ## set everything up and serve on http://127.0.0.1:8000 (HOST, PORT, DATABASE_URL change it)
	@$(BIN)/flask --app wsgi prepare
	@exec $(BIN)/gunicorn --config gunicorn.conf.py wsgi:app

serve: $(VENV)/.run ## serve for development: one process that reloads when a file changes (PORT changes the port)
	@$(BIN)/flask --app wsgi prepare
	@exec $(BIN)/flask --app wsgi run --debug --port $(or $(PORT),8000)

shell: $(VENV)/.run ## a Python shell inside the application
	@exec $(BIN)/flask --app wsgi shell

test: $(VENV)/.dev browser mock ## install what the tests need, a browser included, then run all tests (T=path for some)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(T)

test-postgresql: $(VENV)/.dev browser mock ## the same tests with every desk on a true PostgreSQL; what is about SQLite itself is skipped by name
	@TEST_ENGINE=postgresql $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(T)

cover: $(VENV)/.dev browser mock ## branch coverage of the tests (T=path for some); the report goes to build/coverage
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov=webapp --cov-branch \
	  --cov-report=term-missing:skip-covered --cov-report=html:build/coverage $(T)

check: $(VENV)/.dev commits format-check lint types imports migrations quick ## formatting, lint, types, import rules, migrations and the quick tests

format: $(VENV)/.dev ## write the formatting
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

format-check: $(VENV)/.dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev ## lint of the code and the templates, and spelling
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/djlint templates --lint --quiet

types: $(VENV)/.dev
	@$(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports

commits: $(VENV)/.dev
	@$(BIN)/python scripts/check_commits.py --since $(CHECKED_COMMITS)

hooks: $(VENV)/.dev ## install the git hooks of .pre-commit-config.yaml
	@$(BIN)/pre-commit install

migration: $(VENV)/.dev ## write a migration from the difference between the tables and the database: make migration m="Add a region"
	@test -n "$(m)" || { echo 'Say what the migration does: make migration m="Add a region"'; exit 2; }
	@$(BIN)/flask --app wsgi db migrate -d migrations -m "$(m)"

migrations: $(VENV)/.dev ## the tables are what the migrations make
	@$(BIN)/python -m pytest --quiet tests/test_migrations.py

quick: $(VENV)/.dev ## the tests that need milliseconds
	@$(BIN)/python -m pytest --quiet tests/domain tests/test_architecture.py tests/test_vendor.py

browser:
	@scripts/ensure_browser.sh

mock:
	@scripts/ensure_mock.sh

experiments: $(VENV)/.dev ## the experiments of docs/security.md in full (an hour or two); the numbers go to build/experiments.md
	@EXPERIMENTS=full $(BIN)/python -m pytest -s -p no:cacheprovider $(if $(filter tests,$(T)),tests/experiments,$(T))

# In memory where there is a file system for that: most of the time would go into waiting for the disk, about which nothing is asked here.
model-steps: $(VENV)/.dev ## compare the desk with a small model of it over 100,000 random steps (half an hour on two quiet cores)
	@TMPDIR=$$(test -d /dev/shm && echo /dev/shm || echo /tmp) EXPERIMENTS=full MODEL_STEPS=100000 MODEL_PARTS=$(MODEL_PARTS) \
	  $(BIN)/python -m pytest -n $(MODEL_PARTS) --dist loadgroup -p no:cacheprovider tests/experiments/test_e18_model_based.py

bench: $(VENV)/.dev ## measure speed and size against peers, in one run
	@bench/run.sh

lock: ## write the lock files anew (needs uv)
	@scripts/lock.sh

$(VENV)/.supply: $(VENV)/.created requirements/supply.lock
	@$(PYTHON) -m venv $(VENV)/supply
	@$(VENV)/supply/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/supply.lock
	@touch $@

audit: $(VENV)/.supply ## ask for known advisories about every locked package (needs the network); fails if one was not looked at
	@$(PYTHON) scripts/supply.py audit $(VENV)/supply/bin

sbom: $(VENV)/.supply ## write the bill of materials to build/sbom.json (CycloneDX)
	@$(PYTHON) scripts/supply.py sbom $(VENV)/supply/bin

licences: $(VENV)/.dev ## write docs/licences.md anew
	@$(BIN)/python scripts/supply.py licences -

vendor: $(VENV)/.dev ## copy the pinned front-end files into static/vendor (needs npm)
	@npm ci --ignore-scripts --no-audit --no-fund && $(BIN)/python scripts/vendor_static.py

clean: ## remove what was installed and built; the database in instance/ stays
	@rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
