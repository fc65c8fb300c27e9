# `make help` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo serve clients test fuzz soak race lint types format bench accept audit full-size gpu-check gpu-bundle gpu-check-lite clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  %-14s %s\n", $$1, $$2}'

# The native module is rebuilt when its sources change; Python sources are used in place.
NATIVE := pyproject.toml constraints.txt CMakeLists.txt $(shell find kernels/csrc -type f)
CXX_SOURCES := $(foreach suffix,h cpp cu cuh,'kernels/csrc/*.$(suffix)' 'tests/cudasim/src/*.$(suffix)')
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(NATIVE) | $(BIN)/python
	$(INSTALL) -e '.[cpu,export,score,align,tts,serve]'
	@touch $@

$(VENV)/.developer: $(VENV)/.user
	$(INSTALL) -e '.[cpu,export,score,align,tts,serve,cluster,bench,dev]'
	$(INSTALL) --no-deps 'silero-vad>=6'
	@touch $@

demo: $(VENV)/.user ## export the demo checkpoints, identify and transcribe real speech in five languages
	$(BIN)/mms-export --model demo
	$(BIN)/mms-export --model demo-lid
	$(BIN)/mms identify examples/demo/clips/*.flac examples/demo/strangers/*.flac
	$(BIN)/mms transcribe --reference examples/demo/clips/clips.tsv
	$(BIN)/mms transcribe --reference examples/demo/strangers/strangers.tsv

serve: $(VENV)/.user ## export the demo checkpoints and serve them at http://127.0.0.1:8000
	$(BIN)/mms-export --model demo
	$(BIN)/mms-export --model demo-lid
	$(BIN)/mms-export --model demo-voice
	$(BIN)/mms serve

CLIENTS := .venv-clients

$(CLIENTS)/.installed: tests/serve/clients/requirements.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clients: $(CLIENTS)/.installed ## install the third-party clients that the server's tests run (800 MB)

test: $(VENV)/.developer ## run the tests
	@-$(BIN)/python tests/cudasim/build.py
	@-$(MAKE) clients
	$(BIN)/python -m pytest

SECONDS_OF_FUZZING ?= 3600
fuzz: $(VENV)/.developer ## read damaged files of every kind for an hour
	nice $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS_OF_FUZZING) --seed $$(date +%s)

SECONDS_OF_SOAK ?= 3600
soak: $(VENV)/.developer ## load a server with good and bad clients for an hour: nothing may grow
	$(BIN)/mms-export --model demo
	$(BIN)/mms-export --model demo-lid
	$(BIN)/mms-export --model demo-voice
	PYTHONPATH=tests $(BIN)/python tests/soak.py --seconds $(SECONDS_OF_SOAK)

race: ## run the C++ tests under the thread sanitizer
	cmake -S . -B build/race -DMMS_BUILD_PYTHON=OFF -DMMS_BUILD_TESTS=ON -DMMS_SANITIZE=thread
	cmake --build build/race --parallel 2
	ctest --test-dir build/race --output-on-failure

lint: $(VENV)/.developer ## ruff, clang-format, import contracts, size limits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files $(CXX_SOURCES) | xargs -r $(BIN)/clang-format --dry-run --Werror
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py

types: $(VENV)/.developer ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.developer ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files $(CXX_SOURCES) | xargs -r $(BIN)/clang-format -i

bench: $(VENV)/.developer ## measure the engine beside its peers on this machine, with the demo model
	$(BIN)/mms-export --model demo --precision fp32,int8
	@mkdir -p build/bench
	$(BIN)/mms-bench run asr --json build/bench/asr.json
	$(BIN)/mms-bench report build/bench/asr.json --html build/bench/asr.html

accept: $(VENV)/.developer ## check MMS's checkpoints against published results, as far as they can be fetched
	$(BIN)/mms-bench accept

audit: $(VENV)/.developer ## plant known bugs in the kernels, one at a time: the tests must catch each
	$(INSTALL) nanobind~=3.1.0 nanobind-backend~=1.0
	nice $(BIN)/python tools/mutate.py

full-size: $(VENV)/.developer ## the checks on a random checkpoint of the true size (20 GB of disk, an hour)
	MMS_FULL_SIZE=1 $(BIN)/python -m pytest -m full_size

gpu-check: ## on a machine with an NVIDIA GPU: its tests, then measurements (35 GB of disk)
	@$(PYTHON) tools/gpu_check.py

gpu-bundle: $(VENV)/.developer ## what `make gpu-check-lite` needs, for a machine with a GPU and no network
	$(BIN)/python tools/gpu_lite.py bundle

gpu-check-lite: ## there, in ten minutes and without TensorRT: kernels, driver, speed of decoding
	@$(PYTHON) tools/gpu_lite.py run

clean: ## remove the environment and what was built
	rm -rf $(VENV) $(CLIENTS) .venv-gpu build
