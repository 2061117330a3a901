# Every target sets up what it needs; `make help` lists them.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not ((3,11) <= sys.version_info[:2] <= (3,13)))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

$(VENV)/.runtime: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 was not found on PATH; set PYTHON=/path/to/python"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: requirements-bench.lock $(VENV)/.runtime
	$(BIN)/python -m pip install -q --require-hashes -r requirements-bench.lock
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev web ## The environment for work on the code

.PHONY: web
web: $(VENV)/.runtime ## Build the page (Node from PATH, or from the Python wheel that packages it)
	@PYTHON=$(BIN)/python sh web/build.sh

.PHONY: demo
demo: $(VENV)/.runtime web ## Run the whole city: ARGS="--port 8001", or ARGS="--duration 90 --seed 7 --score --json score.json"
	@exec $(BIN)/qingniao demo $(ARGS)

.PHONY: day
day: $(VENV)/.runtime ## Five scripted days of thirty hours through the pipeline, scored: ARGS="--seed 7 --faults rough"
	$(BIN)/qingniao day $(if $(ARGS),$(ARGS),--seed 1 --seed 2 --seed 3 --seed 4 --seed 5)

.PHONY: check
check: $(VENV)/.dev ## ruff, mypy strict, import-linter, generated docs current
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/qingniao docs --check

.PHONY: fmt
fmt: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(VENV)/.runtime ## Write the generated pages of docs/
	$(BIN)/qingniao docs

.PHONY: test
test: $(VENV)/.dev web ## Every test; installs the servers and the browser they need where it may
	@sh tests/install_servers.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: test-kafka
test-kafka: $(VENV)/.dev ## The stream app on a Kafka broker, and every service of docker-compose.yml as a bare process
	@sh tests/install_servers.sh
	$(BIN)/python -m pytest tests/kafka tests/deploy $(PYTEST_ARGS)

.PHONY: chaos
chaos: $(VENV)/.dev web ## The crash harness at length: fifty times kill -9 under 2,000 messages/s: KILLS=50 SEED=4
	@sh tests/install_servers.sh
	QINGNIAO_CHAOS_KILLS=$(or $(KILLS),50) QINGNIAO_CHAOS_SEED=$(or $(SEED),4) \
		$(BIN)/python -m pytest tests/acceptance/test_chaos.py -s --basetemp=build/chaos $(PYTEST_ARGS)

.PHONY: chaos-kafka
chaos-kafka: $(VENV)/.dev ## The same on Kafka: two workers and ingest killed in turn, Kafka restarted: KILLS=30 SEED=4
	@sh tests/install_servers.sh
	QINGNIAO_CHAOS_KILLS=$(or $(KILLS),30) QINGNIAO_CHAOS_SEED=$(or $(SEED),4) \
		$(BIN)/python -m pytest tests/kafka/test_chaos_on_kafka.py -s --basetemp=build/pytest-chaos $(PYTEST_ARGS)

.PHONY: bench-stream
bench-stream: $(VENV)/.runtime ## The stream engine against SQLite, pydantic and a paho subscriber: ARGS="--quick"
	$(BIN)/python -m benchmarks.bench_stream $(ARGS)

.PHONY: bench-geo
bench-geo: $(VENV)/.dev $(VENV)/.bench ## The map index against its peers, from shapely to PostGIS: ARGS="--quick", ARGS="--strict"
	@sh tests/install_servers.sh
	$(BIN)/python -m benchmarks.bench_geo $(ARGS)

.PHONY: bench-sim
bench-sim: $(VENV)/.runtime ## The simulated city, recording and replay at speed: ARGS="--quick", "--strict", "--whole-day"
	$(BIN)/python -m benchmarks.bench_sim $(ARGS)

.PHONY: bench-rules
bench-rules: $(VENV)/.runtime ## The rule engine against a plain matcher: ARGS="--quick", ARGS="--strict"
	$(BIN)/python -m benchmarks.bench_rules $(ARGS)

.PHONY: bench-vision
bench-vision: $(VENV)/.runtime ## JPEG to events against the plain OpenCV chain, the foreground against MOG2: ARGS="--quick", ARGS="--strict"
	$(BIN)/python -m benchmarks.bench_vision $(ARGS)

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the lock files anew (needs uv; delete them first to upgrade)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.lock
	uv pip compile pyproject.toml --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-dev.lock
	uv pip compile pyproject.toml --extra bench -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-bench.lock

.PHONY: clean
clean: ## Remove what was built (not the data folder)
	rm -rf $(VENV) build web/dist web/node_modules *.egg-info
