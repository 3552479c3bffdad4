# Everything starts here: `make help`. Needs Python 3.11 or newer and make, nothing else.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
OUT ?= build/quality
DATA ?= ../shared/data
QUALITY := $(BIN)/python -m benchmarks.quality
LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup check test demo bench quality docs run kafka lock
# Compiled once and kept, or every process that a test starts would compile all it imports again.
unexport PYTHONDONTWRITEBYTECODE

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -hE '^[a-z]+:.*##' Makefile

setup: $(VENV)/dev.stamp  ## Install Tocsin with its development tools into .venv

check: WORKERS ?= 2
check: $(VENV)/dev.stamp  ## Format, lint, types, imports, fast tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not slow" --hypothesis-profile=fast

test: WORKERS ?= 3
# Most of what is slow waits for a broker, a server or a browser.
test: $(VENV)/dev.stamp  ## Run all tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

demo: $(VENV)/core.stamp  ## Show the whole story on simulated traffic
	@$(BIN)/tocsin demo $(ARGS)

bench: $(VENV)/dev.stamp  ## Measure the throughput
	$(BIN)/python benchmarks/throughput.py $(ARGS)

quality: $(VENV)/dev.stamp  ## Measure detection again and compare it with the committed results: half an hour
	@mkdir -p "$(OUT)"
	$(QUALITY).segments budget --scale 10 --weeks 26 --tenants 2 --out "$(OUT)/budget-10.json" >/dev/null
	$(QUALITY).segments delay --scale 300 --problems 8 --warm 4 --peers --out "$(OUT)/delay-300.json" >/dev/null
	$(QUALITY).segments delay --scale 300 --measure down --problems 8 --warm 3 --peers --out "$(OUT)/delay-down.json" >/dev/null
	$(QUALITY).segments cost --out "$(OUT)/cost.json" >/dev/null
	$(QUALITY).causes --simulated 20 --seed 7 --out "$(OUT)/causes-simulated.json" >/dev/null
	$(QUALITY).values --kinds lognormal --segments 300 --problems 6 --learn 6 --out "$(OUT)/values.json" >/dev/null
	$(QUALITY).joint --weeks 3 --moments 6 --out "$(OUT)/joint.json" >/dev/null
	@echo 'Left out: quiet weeks at 300 segments and more, problems at 5,000, the ledger; docs/quality.md has the commands.'
	@test -d "$(DATA)" || echo 'Left out: $(DATA) is not there, so no published cubes and no plain series; name it by DATA=DIR.'
	@test ! -d "$(DATA)/cubes" || { set -x; \
		$(QUALITY).causes --data "$(DATA)/cubes" --out "$(OUT)/causes-published.json" >/dev/null; }
	@test ! -d "$(DATA)" || { set -x; $(QUALITY).series --data "$(DATA)" --out "$(OUT)/series.json" >/dev/null; }
	@$(QUALITY).compare --partial benchmarks/quality/results "$(OUT)"

docs: $(VENV)/dev.stamp  ## Write the generated reference pages
	$(BIN)/python -m streams.reference docs/reference

run: $(VENV)/core.stamp  ## Follow a growing log: make run FILE=/var/log/app.ndjson CONFIG=shop
	@test -n "$(FILE)" || { \
		echo 'usage: make run FILE=PATH [CONFIG=DIR] [DB=FILE] [FORMAT=NAME]'; \
		echo 'Follows a growing file of events and goes on where it stopped. `tocsin init shop` writes a configuration.'; \
		exit 2; }
	@$(BIN)/tocsin replay --follow $(if $(CONFIG),--config "$(CONFIG)") $(if $(DB),--db "$(DB)") \
		$(if $(FORMAT),--format "$(FORMAT)") "$(FILE)"

kafka: $(VENV)/core.stamp  ## Run a Kafka broker on loopback until ctrl-C; needs Java 17 and Maven
	@$(BIN)/python -m deploy.kafka.broker $(ARGS)

lock: $(VENV)/dev.stamp  ## Write the locks anew from pyproject.toml
	$(BIN)/$(LOCK) pyproject.toml -o requirements/core.txt
	$(BIN)/$(LOCK) pyproject.toml --extra dev --extra bench -c requirements/core.txt -o requirements/dev.txt
	echo uv | $(BIN)/$(LOCK) - -o requirements/uv.txt

# --- set-up ----------------------------------------------------------------------------------------------------------
# A stamp is newer than its lock once everything in the lock is installed, so a second call does nothing. Packages come
# by uv, which takes seconds, or by pip where uv can't be had.

define install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt \
		|| echo "uv can't be installed here; going on with pip, which is slower"
	@{ $(BIN)/python -m uv --version >/dev/null 2>&1 \
		&& $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) \
		&& $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps -e . ; } \
	|| { $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ; }
endef

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Tocsin needs Python 3.11 or newer: install it, or name one: make PYTHON=/path/to/python3'; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo 'No virtual environment could be made: install venv (Debian: apt install python3-venv)'; \
		rm -rf $(VENV); exit 2; }

$(VENV)/core.stamp: requirements/core.txt requirements/uv.txt pyproject.toml | $(BIN)/python
	@echo 'Setting up (only once) …'
	$(call install,requirements/core.txt)
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt requirements/uv.txt pyproject.toml | $(BIN)/python
	@echo 'Setting up with the development tools (only once) …'
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/core.stamp
