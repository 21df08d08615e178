# Needs only Python 3.11 or newer with venv; `start`, `stop` and `logs` also need Docker.
PYTHON ?= python3
PIPENV_RELEASE := 2026.10.3
BASE_URL ?= http://127.0.0.1:5000

PY := .venv/bin/python
# pipenv has an environment of its own, so that the project's holds only what is locked.
PIPENV := env -u VIRTUAL_ENV PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_DONT_LOAD_ENV=1 \
	PIPENV_NOSPIN=1 .tools/bin/python -m pipenv

.PHONY: help run test coverage bench soak docs lint format migrate console dump restore start stop logs e2e lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: .venv/.run ## migrate the database (the embedded one unless another is configured) and serve
	@exec $(PY) app.py

test: .venv/.dev ## run all tests on a real PostgreSQL
	@exec $(PY) -m pytest

coverage: .venv/.dev ## run all tests and write htmlcov/index.html
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -n 0
	@$(PY) -m coverage combine -q
	@$(PY) -m coverage html -q
	@$(PY) -m coverage report --format=total

bench: .venv/.dev ## measure the service against its PostgreSQL (needs wrk; BENCH="--quick" for options)
	@exec $(PY) -m bench $(BENCH)

soak: .venv/.dev ## load, kill and stall the service for 10 minutes, then look at everything (SOAK="--minutes 1")
	@exec $(PY) -m bench.soak $(SOAK)

docs: .venv/.run ## write docs/rules from what the rules declare
	@$(PY) -m scripts.rules_docs

lint: .venv/.dev ## check style, import directions, types, migrations, and that Pipfile.lock matches Pipfile
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(PY) -m scripts.lint_migrations
	@PIP_CONFIG_FILE=/dev/null $(PIPENV) verify

format: .venv/.dev ## rewrite the code in the project's style
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

migrate: .venv/.run ## migrate the configured (or embedded) database to the newest version
	@$(PY) -m alembic upgrade head

console: .venv/.run ## open psql on the configured (or embedded) database
	@$(PY) -m scripts.console

dump: .venv/.run ## save the database to FILE (it may be in use)
	@$(PY) -m scripts.backup dump "$(FILE)"

restore: .venv/.run ## fill an empty database from FILE
	@$(PY) -m scripts.backup restore "$(FILE)"

start: ## start PostgreSQL and the service in Docker
	@grep -qs '^DB_PASSWORD=.' .env || test -n "$$DB_PASSWORD" || { umask 077; \
		test -z "$$(tail -c 1 .env 2>/dev/null)" || echo >> .env; \
		echo "DB_PASSWORD=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >> .env; echo "wrote a new DB_PASSWORD to .env"; }
	docker compose up --detach --build --wait

stop: ## stop what `make start` started; the data stays
	docker compose down

logs: ## follow the logs of what `make start` started
	docker compose logs --follow

e2e: .venv/.dev ## run the README's examples against the service at BASE_URL
	@BASE_URL="$(BASE_URL)" $(PY) -m pytest tests/e2e/test_readme.py

lock: .tools/.ready ## lock the newest dependencies that Pipfile allows
	@$(PIPENV) lock
	@.tools/bin/python scripts/strip_lock.py

clean: ## remove the environments; the data in .local stays
	rm -rf .venv .tools

.tools/.ready: Makefile
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@"$(PYTHON)" -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet pipenv==$(PIPENV_RELEASE)
	@touch $@

.venv/.run: .tools/.ready Pipfile.lock
	@$(PIPENV) sync
	@touch $@

.venv/.dev: .tools/.ready Pipfile.lock
	@$(PIPENV) sync --dev
	@touch $@ .venv/.run
