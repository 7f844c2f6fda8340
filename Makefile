# Two commands matter: `make quickstart` and `make test`. Each sets up all that it needs, from nothing but Python.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUT ?= runs/quickstart
REPRODUCTION ?= runs/reproduction
TEST_PATHS ?=
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help reproduce quickstart test test-data test-slow bench gpu-check docs notebooks lint types format wheel clean

help:
	@echo "make quickstart   train, measure and report the embedded study (about 5 minutes on 2 cores)"
	@echo "make test         the test suite"
	@echo "make test-data    of it, what wants full data sets: TANGENCY_DATA=DIR make test-data"
	@echo "make test-slow    the slow tests too"
	@echo "make bench        benchmarks/results.json: ratios against the obvious implementation and peers"
	@echo "make gpu-check    does the GPU of this machine give the numbers of the CPU, and how fast? (5 minutes at most)"
	@echo "make notebooks    runs notebooks/ and keeps their outputs (some minutes); ARGS=NAME for one of them"
	@echo "make reproduce    the paper's claims, one by one (hours: docs/preregistration.md); ARGS=PART for one part of them"
	@echo "make docs         the documentation site, docs/_build/html/index.html: opens from disk (a minute)"
	@echo "make lint types   ruff and mypy"

$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('tangency needs Python 3.11 or newer, got ' + sys.version.split()[0] if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models]'
	@touch $@

$(BIN)/.installed-test: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

$(BIN)/.installed-docs: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

quickstart: $(BIN)/.installed
	$(BIN)/tangency quickstart --out $(OUT) $(ARGS)

# A process for each core, each with one thread.
test: $(BIN)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow" $(TEST_PATHS)

# the files with such a test: to collect all the others takes longer than to run these
FULL_DATA = $(shell grep -rlE "data_root|full_data" tests --include="test_*.py")
test-data: $(BIN)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "full_data and not slow" -rs $(or $(TEST_PATHS),$(FULL_DATA))

test-slow: $(BIN)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(TEST_PATHS)

bench: $(BIN)/.installed-test
	$(BIN)/python -m benchmarks $(BENCH)

# Warnings are errors: a link, an anchor or a name that is not there ends it.
docs: $(BIN)/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --jobs auto -b html -q docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

gpu-check: $(BIN)/.installed
	$(BIN)/python scripts/gpu_check.py $(ARGS)

notebooks: $(BIN)/.installed-test
	$(BIN)/python scripts/run_notebooks.py $(ARGS)

reproduce: $(BIN)/.installed-test
	$(BIN)/python scripts/reproduce.py $(ARGS) --out $(REPRODUCTION)

lint: $(BIN)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.installed-test
	$(BIN)/mypy

format: $(BIN)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(BIN)/.installed-test
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist build docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
