# The two commands of the README: `make demo` and `make test`. Both make the environment if need be.

PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help demo test test-slow lint environment clean

help:
	@echo "make demo       learn from digits with 70 % of their pixels missing; results in demo/"
	@echo "make test       run the test suite, slow tests left out, with coverage"
	@echo "make test-slow  run the slow tests"
	@echo "make lint       ruff and mypy"
	@echo "make clean      remove the environment and what was built"

environment: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@echo "== making the environment in $(VENV) (once; some minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/explainaway demo --output demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .coverage
