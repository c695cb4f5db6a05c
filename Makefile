# make         print this
# make demo    run the whole pipeline in minutes, without downloading data
# make docs    build the documentation as a site in site/
# make test    run the linters and all tests
# make plan    estimate what a run will cost   (CONFIG="FILE ..." DATA=DIR GPU_TFLOPS=NUMBER)
# make quick   make the paper's tables on CIFAR-10 at 8x8 pixels with 10 of the 250 epochs   (DATA=DIR without internet)
# make laptop  the same with all 250 epochs
# make search  search for an architecture for a directory or an archive of images   (IMAGES=PATH, RUN=NAME, LABELS=CSV or none, SET="KEY=VALUE ...")
# CORES=NUMBER is how many cores a run uses (2), PYTHON=COMMAND the Python that .venv is created with (python3).

PYTHON ?= python3
CORES ?= 2
CONFIG ?= config/config.yaml
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --quiet reason host
OF_DATA := $(if $(DATA),--config "data=$(DATA)")
RUN ?= search

# Missing paths are reported before anything is installed.
$(foreach key,IMAGES $(if $(filter-out none,$(LABELS)),LABELS) DATA,$(if $($(key)),\
	$(if $(shell test -e "$($(key))" && echo exists),,$(error $(key): got $($(key)), which doesn't exist))))
ifneq ($(filter search,$(MAKECMDGOALS)),)
$(if $(IMAGES),,$(error IMAGES is missing; give a directory or an archive of images: make search IMAGES=PATH))
$(if $(shell echo "$(RUN)" | grep -Ex '[A-Za-z0-9][A-Za-z0-9._-]*'),,\
	$(error RUN: got $(RUN); accepted: letters, digits, '.', '_' and '-', a letter or digit first))
endif

.PHONY: help search demo plan quick laptop test lint style types format docs lock clean

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

plan: $(INSTALLED)
	@$(BIN)/python workflow_scripts/print_plan.py --configfile $(CONFIG) \
		$(OF_DATA) $(if $(GPU_TFLOPS),--gpu-tflops $(GPU_TFLOPS))

search: $(INSTALLED)
	@$(BIN)/python workflow_scripts/choose_settings.py "$(IMAGES)" results/$(RUN)/config.yaml \
		$(if $(LABELS),--labels "$(LABELS)") --set cores=$(CORES) $(SET)
	@$(BIN)/python workflow_scripts/print_plan.py --configfile results/$(RUN)/config.yaml
	$(SNAKEMAKE) --configfile results/$(RUN)/config.yaml
	@cat results/$(RUN)/summary.md

demo quick laptop: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/$@.yaml $(OF_DATA)
	$(SNAKEMAKE) --configfile config/$@.yaml $(OF_DATA) --report results/$@/report.html
	@cat results/$@/claims.txt
	@echo "The report is $(CURDIR)/results/$@/report.html; tables/ and figures/ are in the same directory."

test: lint
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=20

# Checking types takes as long as all other linters.
lint: $(INSTALLED)
	@$(MAKE) --no-print-directory --jobs=2 style types

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/demo.yaml

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile rules

docs: $(INSTALLED)
	$(BIN)/python -m rlnas_core.configuration.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is $(CURDIR)/site/index.html; to search it, run $(BIN)/python -m http.server -d site."

# Lock all dependencies of pyproject.toml, except those of torch that are for one kind of GPU and one system.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --editable ".[workflow,export,dev]"
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable | grep -Ev '^(nvidia-|cuda-|triton)' > requirements.txt
	rm -rf $(VENV)-lock

# Python compiles a module at its first import, once for all jobs, so it has to be allowed to write the result.
# Compiling all of torch here would take half as long again.
unexport PYTHONDONTWRITEBYTECODE
$(INSTALLED): requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
