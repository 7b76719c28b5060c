# `make` alone lists what there is. PORT, DATABASE_URL and the other settings come from the environment.

PY := .venv/bin/python

# Tests and checks choose their own database and settings, whatever the caller's shell holds.
SETTINGS := ALLOWED_HOSTS API_KEY_PEPPER BASE_URL DATABASE_URL DEBUG DEFAULT_FROM_EMAIL EMAIL_URL PORT \
	QUOTA_REFUSED_STATUS REDIS_URL RETENTION_MONTHS SECRET_KEY SENTRY_DSN STAFF_TWO_STEP STRIPE_API_BASE STRIPE_SECRET_KEY \
	STRIPE_WEBHOOK_SECRETS TIME_ZONE TRUSTED_PROXIES
CLEAN_ENV := env $(addprefix -u ,$(SETTINGS))
PYTEST := $(PY) -m pytest -n 2 --dist loadgroup
ON_MARIADB := $(CLEAN_ENV) $(PY) tests/mariadb.py --

heading = @printf '\n== %s\n' '$(1)'

.NOTPARALLEL:
.PHONY: help run test lint types schema deploy test-sqlite test-mariadb faults bench lock clean ready ready-to-run

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ready-to-run  ## demo data in, then serve on 127.0.0.1 (PORT, DATABASE_URL)
	@exec $(PY) manage.py demo --serve

test: lint types schema deploy test-sqlite test-mariadb  ## every check, then the tests on SQLite and MariaDB

lint: ready  ## ruff, import directions, forgotten migrations
	$(call heading,ruff)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	$(call heading,import directions)
	@.venv/bin/lint-imports
	$(call heading,migrations)
	@$(CLEAN_ENV) $(PY) manage.py makemigrations --check --dry-run

types: ready  ## mypy
	$(call heading,types)
	@$(CLEAN_ENV) $(PY) -m mypy

schema: ready  ## the API's schema is valid and config/openapi.yaml is up to date
	$(call heading,OpenAPI schema)
	@new=$$(mktemp) && trap 'rm -f "$$new"' EXIT && \
	$(CLEAN_ENV) $(PY) manage.py spectacular --validate --fail-on-warn --file "$$new" && \
	if diff -u config/openapi.yaml "$$new"; then echo "config/openapi.yaml is up to date"; else \
	echo "config/openapi.yaml is behind the code: $(PY) manage.py spectacular --file config/openapi.yaml"; exit 1; fi

deploy: ready  ## Django's deployment checks under production settings
	$(call heading,deployment checks)
	@$(CLEAN_ENV) DEBUG=false BASE_URL=https://tollgate.example.com ALLOWED_HOSTS=tollgate.example.com \
	SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	API_KEY_PEPPER=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	$(PY) manage.py check --deploy --fail-level WARNING

test-sqlite: ready  ## the tests on SQLite, with those in the browser and the faults on both databases
	$(call heading,tests on SQLite)
	@$(CLEAN_ENV) $(PYTEST)

test-mariadb: ready  ## the tests on a MariaDB of their own
	$(call heading,tests on MariaDB)
	@TOLLGATE_TEST_MARIADB_FAST=1 $(ON_MARIADB) $(PYTEST) --ignore=tests/browser --ignore=tests/faults --ignore=tests/config/test_demo.py

faults: ready  ## kills and races, many rounds, on both databases (TOLLGATE_FAULT_ROUNDS)
	$(call heading,faults)
	@TOLLGATE_FAULT_ROUNDS=$${TOLLGATE_FAULT_ROUNDS:-50} $(CLEAN_ENV) $(PY) -m pytest tests/faults

bench: ready  ## the goals of the write path, as ratios measured side by side
	@$(CLEAN_ENV) $(PY) -m tests.benchmarks

lock:  ## resolve pyproject.toml into requirements.lock, which keeps the versions that still fit
	@test -x .venv/bin/uv || .ci/provision run
	@.venv/bin/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' -o requirements.lock

clean:  ## remove .venv and what tests and tools leave behind; databases and .tollgate.env stay
	rm -rf .venv staticfiles .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready:
	@.ci/provision test

ready-to-run:
	@.ci/provision run
