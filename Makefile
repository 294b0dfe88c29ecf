# `make help` lists the targets. Every target that runs code first creates the virtual environment it needs.
# PYTHON: the newest supported one that is there. A PYTHON that is named gets an environment of its own, .venv-3.12.
PYTHON ?=
VENV   ?= .venv$(if $(PYTHON),-$(shell program=$$(tools/find_python "$(PYTHON)" 2> /dev/null) && \
	"$$program" -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
VENV   := $(VENV)
BIN    := $(VENV)/bin
# A container may forbid compiled files: then each of the hundreds of processes of the tests would compile TensorFlow, 9 s.
unexport PYTHONDONTWRITEBYTECODE
# one test process per core; idle processes take tests from busy ones
WORKERS := -n auto --maxprocesses 4 --dist worksteal

# make demo EVENTS=clicks.parquet ITEM=click_article_id TIME=click_timestamp SESSION=session_id USER=user_id PREPARE="--gap 30m"
EVENTS  ?=
PREPARE ?=
# USER and others are also environment variables: only values from the command line of make count.
option   = $(if $(filter command line,$(origin $(1))),--$(2) "$($(1))")
COLUMN_OPTIONS = $(call option,ITEM,item) $(call option,TIME,time) $(call option,SESSION,session) $(call option,USER,user) $(call option,EVENT,event)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all conformance lint format notebooks docs bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: environment
environment:
	@tools/environment "$(VENV)" "$(PYTHON)"

install: environment  ## create the virtual environment for demo, tests and documentation

demo: environment  ## run the whole pipeline on the synthetic shop, or on EVENTS=path
	$(BIN)/tfrecsession demo --overwrite $(if $(EVENTS),"$(EVENTS)") $(COLUMN_OPTIONS) $(PREPARE)

test: environment  ## run the tests, except the slow ones
	$(BIN)/python -m pytest -m "not slow" --durations=40 $(WORKERS)

test-all: environment  ## run all tests
	$(BIN)/python -m pytest $(WORKERS)

conformance: environment  ## check the promises of four models, in a few minutes
	TFRECSESSION_CONFORMANCE=few $(BIN)/python -m pytest -m "not slow and not long" $(WORKERS) tests/conformance tests/test_quiet.py

lint: environment  ## check with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: environment  ## fix and format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: environment  ## run the notebooks from top to bottom
	$(BIN)/python -m pytest tests/notebooks

docs: environment  ## build the documentation in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: environment  ## measure speed and memory, as ratios to a reference or a limit
	for name in flat_cost input_pipeline preparing; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	if [ -n "$$TFRECSESSION_DATA" ]; then $(BIN)/python benchmarks/yoochoose.py; fi

clean:  ## remove the environments and the output of demo and tests
	rm -rf .venv .venv-3.* demo site .pytest_cache .ruff_cache .hypothesis build *.egg-info
