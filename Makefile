# Commands for developers and CI. `make` without a target lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
T ?= tests
CHECKED_COMMITS := fab12c9
MODEL_PARTS ?= $(shell getconf _NPROCESSORS_ONLN)

.DEFAULT_GOAL := help
.PHONY: help run serve worker shell test test-postgresql cover check commits format format-check lint types imports hooks migration migrations quick browser mock experiments model-steps bench lock audit sbom licences vendor screenshots seed clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Modeldesk requires Python 3.11 or newer; select one with make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created requirements/run.lock
	@echo "Installing the dependencies (about a minute, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/run.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Installing the test dependencies ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

run: $(VENV)/.run ## install, create the database and serve on http://127.0.0.1:8000 with a job worker (options: HOST, PORT, DATABASE_URL)
	@exec $(BIN)/python -m webapp.server --prepare --job-worker

serve: $(VENV)/.run ## start the development server, which reloads changed files (option: PORT)
	@$(BIN)/flask --app wsgi prepare
	@exec $(BIN)/flask --app wsgi run --debug --port $(or $(PORT),8000)

worker: $(VENV)/.run ## run background jobs; `make run` starts a job worker with the server
	@exec $(BIN)/flask --app wsgi worker

shell: $(VENV)/.run ## open a Python shell in the application context
	@exec $(BIN)/flask --app wsgi shell

test: $(VENV)/.dev browser mock ## install the test dependencies with a browser, and run all tests (T=path selects tests)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(T)

test-postgresql: $(VENV)/.dev browser mock ## run the tests on PostgreSQL; tests of SQLite itself are skipped
	@TEST_ENGINE=postgresql $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(T)

cover: $(VENV)/.dev browser mock ## measure the branch coverage of the tests (T=path selects tests), report in build/coverage
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov=webapp --cov-branch \
	  --cov-report=term-missing:skip-covered --cov-report=html:build/coverage $(T)

check: $(VENV)/.dev commits format-check lint types imports migrations quick ## check commits, formatting, lint, types, import rules and migrations, and run the quick tests

format: $(VENV)/.dev ## format the code and apply lint fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

format-check: $(VENV)/.dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev ## lint the code and templates, and check the spelling
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/djlint templates --lint --quiet

types: $(VENV)/.dev
	@$(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports

commits: $(VENV)/.dev
	@$(BIN)/python scripts/check_commits.py --since $(CHECKED_COMMITS)

hooks: $(VENV)/.dev ## install the git hooks from .pre-commit-config.yaml
	@$(BIN)/pre-commit install

migration: $(VENV)/.dev ## generate a migration from the difference between models and database: make migration m="Add a region"
	@test -n "$(m)" || { echo 'Describe the migration: make migration m="Add a region"'; exit 2; }
	@$(BIN)/flask --app wsgi db migrate -d migrations -m "$(m)"

migrations: $(VENV)/.dev ## check that the migrations create the declared tables
	@$(BIN)/python -m pytest --quiet tests/test_migrations.py

quick: $(VENV)/.dev ## run the fast tests
	@$(BIN)/python -m pytest --quiet tests/domain tests/test_architecture.py tests/test_layout.py tests/test_language.py tests/test_vendor.py

browser:
	@scripts/ensure_browser.sh

mock:
	@scripts/ensure_mock.sh

experiments: $(VENV)/.dev ## run all experiments of docs/security.md (1 to 2 hours), results in build/experiments.md
	@EXPERIMENTS=full $(BIN)/python -m pytest -s -p no:cacheprovider $(if $(filter tests,$(T)),tests/experiments,$(T))

# Uses an in-memory file system if there is one, because the disk is not part of this test and would dominate its duration.
model-steps: $(VENV)/.dev ## compare Modeldesk with a simplified model over 100,000 random steps (30 minutes on two idle cores)
	@TMPDIR=$$(test -d /dev/shm && echo /dev/shm || echo /tmp) EXPERIMENTS=full MODEL_STEPS=100000 MODEL_PARTS=$(MODEL_PARTS) \
	  $(BIN)/python -m pytest -n $(MODEL_PARTS) --dist loadgroup -p no:cacheprovider tests/experiments/test_e18_model_based.py

bench: $(VENV)/.dev ## run the benchmarks of speed and size against peers
	@bench/run.sh

lock: ## regenerate the lock files (requires uv)
	@scripts/lock.sh

$(VENV)/.supply: $(VENV)/.created requirements/supply.lock
	@$(PYTHON) -m venv $(VENV)/supply
	@$(VENV)/supply/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/supply.lock
	@touch $@

audit: $(VENV)/.supply ## check every locked package for known advisories (requires network access)
	@$(PYTHON) scripts/supply.py audit $(VENV)/supply/bin

sbom: $(VENV)/.supply ## write the software bill of materials to build/sbom.json (CycloneDX)
	@$(PYTHON) scripts/supply.py sbom $(VENV)/supply/bin

licences: $(VENV)/.dev ## regenerate docs/licences.md
	@$(BIN)/python scripts/supply.py licences -

seed: $(VENV)/.dev ## generate the built-in registry: make seed LITELLM=file MODELS_DEV=file
	@$(BIN)/python scripts/build_catalog.py $(if $(LITELLM),--litellm $(LITELLM)) $(if $(MODELS_DEV),--models-dev $(MODELS_DEV))

vendor: $(VENV)/.dev ## copy the pinned front-end files to static/vendor (requires npm)
	@npm ci --ignore-scripts --no-audit --no-fund && $(BIN)/python scripts/vendor_static.py

clean: ## remove installed and built files, but not the database in instance/
	@rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
