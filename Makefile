# make demo    the whole pipeline in minutes, with nothing to download
# make docs    the documentation as a site, in site/
# make test    linters and the whole test suite
# make plan    what a run will cost before it starts   (CONFIG="FILE ..." DATA=DIR GPU_TFLOPS=NUMBER)
# make quick   the paper's tables on CIFAR-10, 10 of the 250 epochs   (DATA=DIR where it can't be downloaded)
# make laptop  the same with the paper's whole schedule
# make search  from a folder or archive of images to a model   (IMAGES=PATH, RUN=NAME, LABELS=CSV, SET="KEY=VALUE ...")

PYTHON ?= python3
CORES ?= 2
CONFIG ?= config/config.yaml
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
OF_DATA := $(if $(DATA),--config "data=$(abspath $(DATA))")
RUN ?= search

# What is wrong with a path is said before anything is installed.
$(foreach key,IMAGES LABELS DATA,$(if $($(key)),\
	$(if $(shell test -e "$($(key))" && echo exists),,$(error $(key): got $($(key)), which doesn't exist))))
ifneq ($(filter search,$(MAKECMDGOALS)),)
$(if $(IMAGES),,$(error IMAGES is missing; give a directory or an archive of images: make search IMAGES=PATH))
endif

.PHONY: search demo plan quick laptop test lint format docs lock clean

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
	@echo "The report is at $(CURDIR)/results/$@/report.html, the tables and figures beside it."

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=20

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/demo.yaml
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile rules

docs: $(INSTALLED)
	$(BIN)/python -m rlnas_core.configuration.reference
	$(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is at $(CURDIR)/site/index.html."

# Everything that pyproject.toml asks for, but for what torch brings along for one kind of GPU on one system.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --editable ".[workflow,export,dev]"
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable | grep -Ev '^(nvidia-|cuda-|triton)' > requirements.txt
	rm -rf $(VENV)-lock

# Python compiles a module when it is first imported, once for all jobs; compiling all of torch here would add half of
# the time.
unexport PYTHONDONTWRITEBYTECODE
$(INSTALLED): requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
