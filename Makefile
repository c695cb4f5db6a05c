# make demo    the whole pipeline on embedded data in minutes
# make docs    the documentation as a site, in site/
# make test    linters and the whole test suite
# make plan    what a run will cost before it starts   (CONFIG="FILE ..." DATA=DIR GPU_TFLOPS=NUMBER)
# make quick   the paper's tables on real data, 10 of the 250 epochs   (DATA=DIR)
# make laptop  the same with the paper's whole schedule                (DATA=DIR)

PYTHON ?= python3
CORES ?= 2
CONFIG ?= config/config.yaml
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: demo plan quick laptop test lint format docs lock clean

demo: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/demo.yaml
	$(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html
	@echo "The report is at $(CURDIR)/results/demo/report.html, the tables and figures beside it."

plan: $(INSTALLED)
	@$(BIN)/python workflow_scripts/print_plan.py --configfile $(CONFIG) \
		$(if $(DATA),--config "data=$(abspath $(DATA))") $(if $(GPU_TFLOPS),--gpu-tflops $(GPU_TFLOPS))

quick laptop: $(INSTALLED)
	@test -d "$(DATA)" || { echo "DATA: got '$(DATA)'; give the folder that holds the images and nb201/, as in make $@ DATA=DIR"; exit 2; }
	$(SNAKEMAKE) --configfile config/$@.yaml --config "data=$(abspath $(DATA))"
	$(SNAKEMAKE) --configfile config/$@.yaml --config "data=$(abspath $(DATA))" --report results/$@/report.html
	@echo "The report is at $(CURDIR)/results/$@/report.html, the tables and figures beside it."

test: lint
	$(BIN)/python -m pytest -q

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
	$(VENV)-lock/bin/python -m pip install --quiet --editable ".[workflow,dev]"
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable | grep -Ev '^(nvidia-|cuda-|triton)' > requirements.txt
	rm -rf $(VENV)-lock

$(INSTALLED): requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
