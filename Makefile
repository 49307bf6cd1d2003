# Every target sets up what it needs in .venv: nothing but Python 3.11 (or newer), pip and make has to be there.
# Another build of torch (CPU only, or for a GPU): make demo TORCH_INDEX=URL, as PyTorch's "Start Locally" page gives it.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready
# A process for each core, at most four (each holds models); a file's tests stay together, as they share what they build.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-all lint fix docs

demo: $(READY)
	$(BIN)/malsori demo

test: lint
	$(PARALLEL) -m "not slow"

test-all: lint
	$(PARALLEL)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) .venv/.docs
	$(BIN)/python docs/site.py build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f mkdocs.en.yml
	@echo "site/index.html, site/en/index.html"

.venv/.docs: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[docs]"
	@touch $@

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "malsori needs Python 3.11 or newer: none found on the PATH." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[dev]"
	@touch $@
