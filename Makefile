# The two commands of the README: `make demo` and `make test`. Both make the environment if need be.

PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: help demo test test-slow test-all test-arviz-1 bench bench-full bench-learning lint environment clean

help:
	@echo "make demo       learn from digits with 70 % of their pixels missing; results in demo/"
	@echo "make test       run the test suite, slow tests left out, with coverage, in two processes"
	@echo "make test-slow  run the slow tests"
	@echo "make test-all   both, and ArviZ 1.x on Python 3.12 or 3.13 where there is one"
	@echo "make bench      paired timings against other code; results in benchmarks/results/"
	@echo "make bench-full the same, how costs grow, and the paper's recipe: about an hour"
	@echo "make bench-learning  how far learning gets, by its settings: hours, in parts"
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

# Each worker takes one core and under a gigabyte; small tensors gain nothing from more threads.
WORKERS ?= 2

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" \
	--cov --cov-report=term

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-all: test test-slow test-arviz-1

# ArviZ 1.x needs Python 3.12, where torch's wheel may be the CUDA build of gigabytes: what writes
# ArviZ's structures does without torch, and is tested alone.
PYTHON_1X ?= $(shell for v in 3.13 3.12; do \
	for p in $$(command -v python$$v) $$HOME/.pyenv/versions/$$v*/bin/python; do \
	$$p --version >/dev/null 2>&1 && echo $$p && exit; done; done)

test-arviz-1:
ifeq ($(PYTHON_1X),)
	@echo "== ArviZ 1.x is not tested: neither python3.12 nor python3.13 was found"
else
	@echo "== ArviZ 1.x with $(PYTHON_1X)"
	test -d $(VENV)-arviz-1 || { $(PYTHON_1X) -m venv $(VENV)-arviz-1 && \
	$(VENV)-arviz-1/bin/python -m pip install --quiet --disable-pip-version-check \
	"arviz>=1.0" "arviz-base[h5netcdf]" "arviz-stats[xarray]" "arviz-plots[matplotlib]" pytest; }
	MPLBACKEND=Agg $(VENV)-arviz-1/bin/python -m pytest -c /dev/null --rootdir=tests \
	-p no:cacheprovider --noconftest tests/arviz_1x
endif

$(BENCH_STAMP): $(STAMP)
	@echo "== adding what is compared with to the environment"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	@touch $(BENCH_STAMP)

bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.run

bench-full: bench
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python benchmarks/fewer_evaluations.py

bench-learning: $(STAMP)
	$(BIN)/python -m benchmarks.learning
	$(BIN)/python -m benchmarks.learning.figures

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-arviz-1 build dist demo .pytest_cache .mypy_cache .ruff_cache .coverage
