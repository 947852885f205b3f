# Two stamps tell which packages are in .venv: what runs it, and what tests it as well.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# With a bound, slipcover would print the coverage of pytest's own process alone.
COVERAGE := .venv/coverage.json
# It does without the branches in the tests themselves.
QUIET := -W 'ignore:Unable to activate pytest branch coverage'
CLIENTS := tests/clients/node_modules/.package-lock.json

# Compile each module once and not in each process, whatever the shell says of that.
test test-long: export PYTHONDONTWRITEBYTECODE :=

.PHONY: run install test test-long check bench screenshots clean

run: .venv/runs  ## start Tallybook: http://127.0.0.1:8000
	@$(BIN)/python manage.py serve --stop-with-parent

install: .venv/tests $(CLIENTS)  ## make .venv, with everything that make test and make check need

test: .venv/tests $(CLIENTS)  ## the whole test suite, on a PostgreSQL of its own
	$(BIN)/python $(QUIET) -m slipcover --json --out $(COVERAGE) -m pytest $(PYTEST) tests
	$(BIN)/python -m slipcover --merge $(COVERAGE) --out $(COVERAGE) --fail-under 95

test-long: .venv/tests $(CLIENTS)  ## the same with many more random examples, others at each run, and the longest tests
	$(BIN)/pytest $(PYTEST) --hypothesis-profile long tests

check: .venv/tests  ## style, spelling, layers, types, migrations, API description, settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy .
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	TALLYBOOK_HTTPS=true DEBUG=false $(BIN)/python manage.py check --deploy --fail-level WARNING

bench: .venv/tests  ## speed over HTTP relative to PostgreSQL alone; needs wrk
	$(BIN)/python -m tools.bench.run

screenshots: .venv/tests  ## take the pictures of docs/screenshots; needs chromium
	$(BIN)/python -m tools.screenshots

clean:  ## remove .venv; the data in var/ stays
	rm -rf .venv

.venv/runs: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tallybook needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/tests: .venv/runs
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What tests take from npm; they are skipped where there is no npm, or no registry.
$(CLIENTS): tests/clients/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/clients || true; fi
