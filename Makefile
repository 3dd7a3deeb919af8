# Everything that can be done here, from a machine with nothing but Python 3.11 or newer. `make` lists it.
# Works with GNU make 3.81, which macOS brings.

PYTHON ?= python3
VENV ?= .venv
LMMS_VENV ?= .venv-lmms
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
INSTALL = -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

# Two processes that test, one thread each: threads of one that wait for the other would only spin.
ONE := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo serve demo-full test slow test-lmms-eval lint format micro-models clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12   another Python for the environment in $(VENV)"
	@echo "  CONSTRAINTS=        on a machine with a GPU: let pip choose the build of torch (before the first install)"
	@echo "  ARGS='-k prompts'   more arguments for pytest, in test, slow and test-lmms-eval"
	@echo "  PORT=8001           another port, in serve"

demo: $(VENV)/.base ## the whole method on the micro world, on a CPU -> topa-demo/report.html
	@$(BIN)/topa demo --out topa-demo

serve: $(VENV)/.serve ## a page on the demo's model and videos; makes both where they aren't there
	@$(BIN)/topa demo --out topa-demo --serve --port $(or $(PORT),8000)

demo-full: $(VENV)/.base ## the same, with all comparisons, over three seeds (about ten times the work) -> out/demo-full/report.html
	@$(BIN)/topa demo --full --out out/demo-full

test: $(VENV)/.dev ## all tests but the slow ones
	@$(ONE) $(BIN)/python -m pytest -n2 -m 'not slow and not lmms_eval' $(ARGS)

slow: $(VENV)/.dev ## the slow tests
	@$(ONE) $(BIN)/python -m pytest -n2 -m slow $(ARGS) || { code=$$?; [ $$code -eq 5 ] && echo "there are no slow tests"; }

test-lmms-eval: $(LMMS_VENV)/.installed ## the tests of topa in lmms-eval, in an environment of their own
	@$(LMMS_VENV)/bin/python -m pytest tests/integrations -m lmms_eval $(ARGS)

# The hooks of .pre-commit-config.yaml are these lines.
lint: $(VENV)/.dev ## what must be clean: ruff, its format, mypy, typos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/typos

format: $(VENV)/.dev ## let ruff mend and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

micro-models: $(VENV)/.base ## train the shipped micro models again from their seeds (hours)
	@$(BIN)/python -m topa.microworld.build --out src/topa/microworld/weights

clean: ## remove .venv, caches and the demo's output
	@rm -rf .venv .venv-lmms topa-demo dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp is written when pip has succeeded; a change of its parents installs again.
$(VENV)/.base: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing topa into $(VENV); the first time takes some minutes."
	@$(BIN)/python $(INSTALL) -e .
	@touch $@

$(VENV)/.serve: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing topa and what serving needs into $(VENV)."
	@$(BIN)/python $(INSTALL) -e '.[serve]'
	@touch $@ $(VENV)/.base

$(VENV)/.dev: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing topa and its developer tools into $(VENV); the first time takes some minutes."
	@$(BIN)/python $(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.base $(VENV)/.serve

# lmms-eval and topa don't agree on a version of av, so they are installed one after the other; lmms-eval works with
# topa's. A torchvision that can't be loaded, one for CUDA beside a torch for CPUs, would keep transformers from loading.
$(LMMS_VENV)/.installed: $(LMMS_VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing lmms-eval and topa into $(LMMS_VENV); it takes some minutes. pip's words about av are expected."
	@$(LMMS_VENV)/bin/python $(INSTALL) 'lmms-eval>=0.7,<0.8' pytest pytest-timeout
	@$(LMMS_VENV)/bin/python $(INSTALL) -e .
	@$(LMMS_VENV)/bin/python -c 'import torchvision' 2>/dev/null || $(LMMS_VENV)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

$(VENV)/.python $(LMMS_VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing); topa needs Python 3.11 or newer." >&2; \
	  echo "Install one and name it, for example: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(@D)
	@touch $@
