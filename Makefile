# `make help` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUNDLE_LANGS := eng,spa,fra,ita,rus

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format bench full-size demo-train clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  %-12s %s\n", $$1, $$2}'

# The native module is rebuilt when its sources change; Python sources are used in place.
NATIVE := pyproject.toml constraints.txt CMakeLists.txt $(shell find kernels/csrc -type f)

$(STAMP): $(NATIVE)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,export,bench,dev]'
	@touch $@

demo: $(STAMP) ## export the demo checkpoint and transcribe real speech in five languages
	$(BIN)/mms-export --model demo
	$(BIN)/mms transcribe --reference examples/demo/clips/clips.tsv

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest

lint: $(STAMP) ## ruff, clang-format, import contracts, size limits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files 'kernels/csrc/*.h' 'kernels/csrc/*.cpp' | xargs -r $(BIN)/clang-format --dry-run --Werror
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

format: $(STAMP) ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files 'kernels/csrc/*.h' 'kernels/csrc/*.cpp' | xargs -r $(BIN)/clang-format -i

bench: $(STAMP) ## measure the engine beside its peers on this machine
	$(BIN)/mms-bench run asr --peers all --json bench/results/asr.json
	$(BIN)/mms-bench report bench/results/asr.json

full-size: $(STAMP) ## the checks on a random checkpoint of the true size (20 GB of disk, an hour)
	MMS_FULL_SIZE=1 $(BIN)/python -m pytest -m full_size

clean: ## remove the environment and what was built
	rm -rf $(VENV) build
