# `make help` lists what there is. Every target that runs code makes the virtual environment it needs.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# a test process per core; one that is through takes tests from the others
WORKERS := -n auto --maxprocesses 4 --dist worksteal

# make demo EVENTS=clicks.parquet ITEM=click_article_id TIME=click_timestamp SESSION=session_id USER=user_id PREPARE="--gap 30m"
EVENTS  ?=
PREPARE ?=
# USER and the like are also names of the shell's own variables: only what this command line says counts.
said     = $(if $(filter command line,$(origin $(1))),--$(2) "$($(1))")
COLUMNS_SAID = $(call said,ITEM,item) $(call said,TIME,time) $(call said,SESSION,session) $(call said,USER,user) $(call said,EVENT,event)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint format notebooks docs bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

install: $(READY)  ## a virtual environment with everything

demo: $(READY)  ## the main job on the synthetic shop, or on EVENTS=path
	$(BIN)/tfrecsession demo $(if $(EVENTS),"$(EVENTS)") $(COLUMNS_SAID) $(PREPARE)

test: $(READY)  ## the tests
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

test-all: $(READY)  ## the tests and the long proofs
	$(BIN)/python -m pytest $(WORKERS)

lint: $(READY)  ## what ruff has to say
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## let ruff put it right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(READY)  ## run the notebooks from top to bottom
	$(BIN)/python -m pytest tests/notebooks

docs: $(READY)  ## the documentation as pages in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)  ## speed and memory, as ratios against a peer or a limit
	for name in flat_cost input_pipeline preparing; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	if [ -n "$$TFRECSESSION_DATA" ]; then $(BIN)/python benchmarks/yoochoose.py; fi

clean:  ## remove the environment and what demo and tests left
	rm -rf $(VENV) demo site .pytest_cache .ruff_cache .hypothesis build *.egg-info
