# Needs only Python 3.11 or newer with venv; `start`, `stop` and `logs` also need Docker.
PYTHON ?= python3
PIPENV_RELEASE := 2026.10.3
BASE_URL ?= http://127.0.0.1:5000

PY := .venv/bin/python
# Prints what the command prints only if it fails.
QUIETLY := sh -c 'said=$$("$$@" 2>&1) || { status=$$?; printf "%s\n" "$$said" >&2; exit $$status; }' sh
INSTALL := $(QUIETLY) $(PY) -m pip --disable-pip-version-check install --no-user --no-deps --require-hashes
# pipenv, which only `lock` and `lint` need, has an environment of its own.
PIPENV := PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_DONT_LOAD_ENV=1 PIPENV_NOSPIN=1 \
	.tools/bin/python -m pipenv

# The environment says where packages come from, but not what is done with them, or how Python behaves: PIP_TARGET,
# PYTHONPATH, PYTHONSAFEPATH, PIPENV_PIPFILE and the like are meant for other programs.
PIP_KEPT := PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_CONFIG_FILE PIP_CACHE_DIR PIP_NO_CACHE_DIR \
	PIP_PROXY PIP_CERT PIP_CLIENT_CERT PIP_TRUSTED_HOST PIP_KEYRING_PROVIDER PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES
PYTHON_KEPT := PYTHON PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONUTF8 PYTHONIOENCODING PYTHONUNBUFFERED
unexport $(filter-out $(PIP_KEPT),$(filter PIP_%,$(.VARIABLES)))
unexport $(filter-out $(PYTHON_KEPT),$(filter PYTHON%,$(.VARIABLES)))
unexport $(filter PIPENV_%,$(.VARIABLES)) VIRTUAL_ENV CONDA_PREFIX __PYVENV_LAUNCHER__

.PHONY: help run demo replay backtest verify migrate upgrade console db.migrate db.console dump restore spark test test-browser test-streams test-spark coverage bench soak e2e clients \
	docs lint format assets pictures sbom images lock start stop logs clean FORCE
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\)[a-z. ]*:.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14
	@echo
	@echo 'If a command fails, make itself ends with status 2 and names the status of the command in its last line.'

run: .venv/.run ## migrate the database (the embedded one unless another is configured) and serve
	@exec $(PY) app.py

demo: .venv/.run ## fill an empty database with eight weeks of demo data (ARGS="--until 2026-01-31T12:00:00Z")
	@exec $(PY) -m flask --app app demo $(ARGS)

# The file's name is passed on as it is, whatever is in it.
replay dump restore: export NAMED_FILE = $(value FILE)
replay: .venv/.run ## store and judge the events in a file (FILE=history.csv; ARGS="--format csv" for options)
	@test -n "$$NAMED_FILE" || { echo 'Which file? make replay FILE=history.csv (FILE=- reads standard input)' >&2; exit 2; }
	@exec $(PY) -m flask --app app replay $(ARGS) -- "$$NAMED_FILE"

backtest: .venv/.run ## show what other values would have raised (ARGS="--rule 123 --set threshold=150.00")
	@exec $(PY) -m flask --app app backtest $(ARGS)

verify: .venv/.run ## derive every stored alert again, and list each difference
	@exec $(PY) -m flask --app app verify $(ARGS)

spark: .venv/.spark ## install what `export` and `spark-backtest` need besides (600 MB; Spark needs Java 17 or newer)

migrate db.migrate: .venv/.run ## migrate the configured (or embedded) database to the newest version
	@exec $(PY) -m alembic upgrade head

upgrade: .venv/.run ## migrate it and say what was locked for how long; ARGS=--plan only says what would be
	@exec $(PY) -m flask --app app upgrade $(ARGS)

console db.console: .venv/.run ## open psql on the configured (or embedded) database
	@exec $(PY) -m scripts.console

test: .venv/.dev ## run all tests on a real PostgreSQL
	@exec $(PY) -m pytest

test-browser: .venv/.dev ## run the tests that need a browser (as root it installs Chromium from Debian if none is there)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
			echo 'Chromium is missing: install it, and a font (apt-get install chromium fonts-dejavu-core)' >&2; exit 1; }; \
		echo 'Installing Chromium'; $(QUIETLY) apt-get update -q; \
		DEBIAN_FRONTEND=noninteractive $(QUIETLY) apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; }
	@exec $(PY) -m pytest --dist loadfile tests/browser # the tests of a file share a service

test-streams: .venv/.dev .tools/streams/.ready ## run the tests of streams/ (for Linux on x86-64; downloads 120 MB)
	@exec $(PY) -m pytest -n 0 tests/e2e/test_stream.py

test-spark: .venv/.dev .venv/.spark ## run the tests of exports and, with Java 17 or newer, of Spark (downloads 600 MB)
	@exec $(PY) -m pytest -n 0 tests/spark

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

e2e: .venv/.dev ## run the README's examples against the service at BASE_URL
	@BASE_URL="$(BASE_URL)" $(PY) -m pytest -n 0 tests/e2e/test_readme.py

clients: ## lint the document of the service at BASE_URL and try the clients that generators make of it (needs npm)
	@scripts/clients/clients.sh "$(BASE_URL)"

docs: .venv/.run ## write docs/rules from what the rules declare
	@$(PY) -m scripts.rules_docs

lint: .venv/.dev .tools/.ready ## check style, import directions, types, migrations, and that Pipfile.lock matches Pipfile
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(PY) -m scripts.lint_migrations
	@PIP_CONFIG_FILE=/dev/null $(PIPENV) verify

format: .venv/.dev ## rewrite the code in the project's style
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

assets: .venv/.run ## take the scripts and icons of the desk out of their npm packages (needs npm)
	@$(PY) -m scripts.vendor_assets

pictures: .venv/.dev ## take the pictures of the desk in docs/pictures, of demo data (needs Chromium)
	@exec $(PY) -m scripts.pictures

sbom: .venv/.dev ## write what the service is made of to sbom.cdx.json (CycloneDX)
	@$(PY) -m scripts.bill_of_materials

images: .venv/.run ## name the images that ours are built on by their digests (needs Docker)
	@$(PY) -m scripts.pin_images

lock: .tools/.ready ## lock the newest dependencies that Pipfile allows
	@$(PIPENV) lock
	@.tools/bin/python scripts/finish_lock.py

dump: .venv/.run ## save the database to FILE (it may be in use)
	@$(PY) -m scripts.backup dump "$$NAMED_FILE"

restore: .venv/.run ## fill an empty database from FILE
	@$(PY) -m scripts.backup restore "$$NAMED_FILE"

# What only this service may know is written at the first start and never changed: two lines of .env, and a first key.
# The service reads the key as a user of the container's own, so it is the folder that keeps out others of this machine.
KEYS := .secrets/keys
IN_ENV = grep -Eqs '^[[:blank:]]*(export[[:blank:]]+)?$(1)[[:blank:]]*=[[:blank:]]*[^[:blank:]\#]' .env || test -n "$$$(1)" || { \
	umask 077; test -z "$$(tail -c 1 .env 2>/dev/null)" || echo >> .env; \
	echo "$(1)=$$(od -An -N$(2) -tx1 /dev/urandom | tr -d ' \n')" >> .env; echo "wrote a new $(1) to .env"; }

start: ## start PostgreSQL and the service in Docker
	@$(call IN_ENV,DB_PASSWORD,16)
	@$(call IN_ENV,SECRET_KEY,32)
	@test -s $(KEYS) || { mkdir -p $(dir $(KEYS)) && chmod 700 $(dir $(KEYS)) && docker compose build service && \
		key=$$(docker run --rm --network none transaction-alerts \
			python -c 'from access.key_format import make_key; print(make_key().key)') && test -n "$$key" && \
		echo "$$key first ingest,read,work,tune,admin" > $(KEYS).new && chmod 644 $(KEYS).new && \
		mv $(KEYS).new $(KEYS) && echo "wrote a first key to $(KEYS)"; }
	docker compose up --detach --build --wait
	@address=$$(docker compose port service 5000) && printf '%s\n' '' "  Address  http://$$address" \
		"  Docs     http://$$address/docs" \
		"  Key      curl -H \"Authorization: Bearer \$$(cut -d' ' -f1 $(KEYS))\" http://$$address/" \
		"  Log      make logs" "  Stop     make stop (the data stays)" ''

stop: ## stop what `make start` started; the data stays
	docker compose down

logs: ## follow the logs of what `make start` started
	docker compose logs --follow

clean: ## remove the environments; the data in .local stays
	rm -rf .venv .tools

# An environment knows the folder it was made in: after a move its commands lead nowhere. And its Python may be gone.
STALE := $(shell $(PY) -Ic '' 2>/dev/null && { test ! -e .venv/.made || test "$$(cat .venv/.made)" = "$$(pwd -P)"; } || echo FORCE)

.venv/.made: $(STALE)
	@command -v "$(PYTHON)" >/dev/null || { echo '$(PYTHON) is not here. Install Python 3.11 or newer, or name it: PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -Ic 'import sys; sys.version_info < (3, 11) and sys.exit("This is Python %s; 3.11 or newer is needed. Name another one: PYTHON=python3.13" % sys.version.split()[0])'
	@test -z "$(STALE)" && $(PY) -Im pip --version >/dev/null 2>&1 || { \
		echo "Making an environment in .venv with $$("$(PYTHON)" -I --version)"; \
		$(QUIETLY) "$(PYTHON)" -Im venv --clear .venv; }
	@pwd -P > $@

.venv/.run: .venv/.made requirements.txt
	@echo "Installing $$(grep -c '==' requirements.txt) packages"
	@$(INSTALL) --requirement requirements.txt
	@touch $@

.venv/.dev: .venv/.made requirements.txt requirements-dev.txt
	@echo "Installing $$(cat requirements.txt requirements-dev.txt | grep -c '==') packages"
	@$(INSTALL) --requirement requirements.txt --requirement requirements-dev.txt
	@touch $@ .venv/.run

.venv/.spark: .venv/.run requirements-spark.txt
	@echo "Installing $$(grep -c '==' requirements-spark.txt) packages for Spark"
	@$(INSTALL) --requirement requirements-spark.txt
	@touch $@

.tools/.ready: Makefile | .venv/.made
	@echo "Installing pipenv $(PIPENV_RELEASE) in .tools"
	@$(QUIETLY) "$(PYTHON)" -Im venv --clear .tools
	@$(QUIETLY) .tools/bin/python -m pip install --no-user pipenv==$(PIPENV_RELEASE)
	@touch $@

# Making .tools anew removes this too, and it is made again when it is wanted next.
.tools/streams/.ready: tests/e2e/stream-requirements.txt | .venv/.made
	@echo "Installing the library of Redpanda Connect in .tools/streams"
	@$(QUIETLY) "$(PYTHON)" -Im venv --clear .tools/streams
	@$(QUIETLY) .tools/streams/bin/python -m pip --disable-pip-version-check install --no-user --no-deps --require-hashes --requirement $<
	@touch $@
