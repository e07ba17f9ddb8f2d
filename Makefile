# The two commands: `make demo` does the main job, `make test` passes the tests.
# Both install into .venv first, from constraints.txt, and only when that changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SLOW ?= slow
EXTRAS := .[dev,notebooks,postgres,spark,dask,traces]

.PHONY: help install demo test test-slow lint bars clean

help:
	@echo "make demo   the whole job on a simulated funnel, about two minutes"
	@echo "make test   every test but the slow ones"
	@echo "make test-slow   the tests that take longer than a minute, thousands of random cases among them"
	@echo "make lint   formatting, types, import directions"
	@echo "make bars   the quick form of every benchmark, one JSON line a bar"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Leadcast needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '$(EXTRAS)'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '$(EXTRAS)'; \
	fi
	@touch $@

demo: install
	$(BIN)/leadcast demo

test: install  # one thread a worker: two that want both cores wait for each other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=15

test-slow: install  # SLOW='slow and not thousands' is what .ci/run has time for
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '$(SLOW)' -n 2 --dist loadfile --no-loadscope-reorder --durations=15

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bars: install
	$(BIN)/python -m benchmarks.bars

clean:
	rm -rf $(VENV) .leadcast demo mlruns/mlflow.db mlruns/artifacts
