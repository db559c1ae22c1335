# `make demo` runs the main job, `make test` runs the tests; both set up what they need in .venv.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for one in python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && exit; done; echo python3)
endif
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check
PARTS := .venv-parts
PARTS_PIP := $(PARTS)/bin/python -m pip install --quiet --no-compile --no-input --disable-pip-version-check

.PHONY: demo test test-parts lint check schemas clean

# A .venv whose Python is gone (another machine, a moved folder) is made anew.
$(VENV)/.base: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV): about a minute and 590 MB, once."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo "Setting up what the tests need in $(VENV)."
	@$(PIP) --editable '.[test]'
	@touch $@

# The optional parts: the extra `models`, and ONNX Runtime with OpenVINO in the folder of the plain one. Of PyTorch's
# builds pip takes the one for CPUs, without the 4 GB of CUDA, where its indexes hold it.
$(PARTS)/.test: pyproject.toml
	@echo "Setting up $(PARTS): two to three minutes and 6.7 GB, once."
	@$(PARTS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(PARTS)
	@$(PARTS_PIP) --editable '.[models,test]'
	@$(PARTS)/bin/python -m pip uninstall --quiet --yes onnxruntime
	@$(PARTS_PIP) --force-reinstall --no-deps onnxruntime-openvino
	@touch $@

demo: $(VENV)/.base
	$(BIN)/spoton demo $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(ARGS)

test-parts: export SPOTON_TEST_REQUIRE = models,openvino
test-parts: $(PARTS)/.test
	$(PARTS)/bin/python -m pytest -p no:cacheprovider -m 'models or openvino' $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

schemas: $(VENV)/.base
	$(BIN)/python docs/events/write_schemas.py

clean:
	rm -rf $(VENV) $(PARTS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
