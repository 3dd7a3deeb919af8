# Everything that can be done here, from a machine with nothing but Python 3.11 or newer. `make` lists it.
# Works with GNU make 3.81, which macOS brings.

PYTHON ?= python3
VENV ?= .venv
LMMS_VENV ?= .venv-lmms
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
PIP = -m pip install --quiet --disable-pip-version-check
INSTALL = $(PIP) --no-build-isolation $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
# What builds topa is pinned like the rest, which pip's own environment for builds wouldn't be.
BUILDER = $(PIP) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) hatchling editables

# A Python that is named makes the environment anew where it holds another version.
NAMED := $(if $(filter command% environment%,$(origin PYTHON)),$(shell $(PYTHON) -c 'import sys; print("-%d.%d" % sys.version_info[:2])' 2>/dev/null || echo -missing))

# Two processes that test, one thread each: threads of one that wait for the other would only spin.
ONE := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo serve demo-full test test-newest test-oldest test-reading slow test-lmms-eval lint format docs constraints micro-models clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12   another Python for the environment in $(VENV)"
	@echo "  CONSTRAINTS=        install the newest releases that are allowed, of torch too (before the first install)"
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

# In environments of their own, each with other releases. CI runs one of the two, by the commit.
test-newest: ## all tests but the slow ones, with the newest releases that pyproject.toml allows
	@$(MAKE) --no-print-directory test VENV=.venv-newest CONSTRAINTS=constraints-torch.txt

test-oldest: ## the same, with the oldest ones
	@$(MAKE) --no-print-directory test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

test-reading: $(VENV)-reading/.installed$(NAMED) ## what needs no torch, with the newest PyAV: every way of reading a video
	@$(VENV)-reading/bin/python -m pytest -n2 -m 'not slow and not lmms_eval' $(READING) $(ARGS)

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

# Every warning fails it: a dead link, a page that the navigation lacks, a docstring that leads nowhere.
docs: $(VENV)/.dev ## the documentation as a site, with the API -> site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

# Each pins everything, direct and indirect, for every Python and system.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make constraints' $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate
constraints: $(VENV)/.dev ## pin the newest releases again: constraints.txt, and the oldest that pyproject.toml allows
	@$(COMPILE) --extra dev -c constraints-torch.txt -o constraints.txt pyproject.toml
	@$(COMPILE) --extra dev --resolution lowest-direct -o constraints-oldest.txt pyproject.toml
	@echo '$(LMMS)' | tr ' ' '\n' | $(COMPILE) -c constraints-torch.txt -o constraints-lmms-eval.txt -

micro-models: $(VENV)/.base ## train the shipped micro models again from their seeds (hours)
	@$(BIN)/python -m topa.microworld.build --out src/topa/microworld/weights

clean: ## remove .venv, caches and the demo's output
	@rm -rf .venv .venv-* topa-demo site dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp is written when pip has succeeded; a change of its parents installs again.
PARENTS = pyproject.toml $(CONSTRAINTS)

$(VENV)/.base: $(VENV)/.python$(NAMED) $(PARENTS)
	@echo "Installing topa into $(VENV); the first time takes some minutes."
	@$(BIN)/python $(BUILDER)
	@$(BIN)/python $(INSTALL) -e .
	@touch $@

$(VENV)/.serve: $(VENV)/.python$(NAMED) $(PARENTS)
	@echo "Installing topa and what serving needs into $(VENV)."
	@$(BIN)/python $(BUILDER)
	@$(BIN)/python $(INSTALL) -e '.[serve]'
	@touch $@ $(VENV)/.base

$(VENV)/.dev: $(VENV)/.python$(NAMED) $(PARENTS)
	@echo "Installing topa and its developer tools into $(VENV); the first time takes some minutes."
	@$(BIN)/python $(BUILDER)
	@$(BIN)/python $(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.base $(VENV)/.serve $(VENV)/.serve

# lmms-eval and topa don't agree on a version of av, so they are installed one after the other; lmms-eval works with
# topa's. It reaches into filelock below 4, with which topa works as well. A torchvision that can't be loaded, one for
# CUDA beside a torch for CPUs, would keep transformers from loading.
LMMS = lmms-eval>=0.7,<0.8 filelock>=3.30,<4 pytest>=9,<10 pytest-timeout>=2.4,<3
$(LMMS_VENV)/.installed: $(LMMS_VENV)/.python$(NAMED) $(PARENTS) constraints-lmms-eval.txt
	@echo "Installing lmms-eval and topa into $(LMMS_VENV); it takes some minutes. pip's words about av are expected."
	@$(LMMS_VENV)/bin/python $(PIP) -c constraints-lmms-eval.txt $(patsubst %,'%',$(LMMS))
	@$(LMMS_VENV)/bin/python $(BUILDER)
	@$(LMMS_VENV)/bin/python $(INSTALL) -e .
	@$(LMMS_VENV)/bin/python $(PIP) -c constraints-lmms-eval.txt 'filelock<4'
	@$(LMMS_VENV)/bin/python -c 'import torchvision' 2>/dev/null || $(LMMS_VENV)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

# Without torch, whose build for some Pythons is gigabytes of CUDA; with the newest of all else that reading needs.
READING = $(addprefix tests/features/test_,video.py decoding.py guard.py subtitles.py)
$(VENV)-reading/.installed$(NAMED): $(VENV)-reading/.python$(NAMED) pyproject.toml
	@$(VENV)-reading/bin/python $(PIP) 'av>=17.1,<20' numpy pillow pydantic typer rich msgspec filelock hatchling editables pytest pytest-xdist pytest-timeout hypothesis
	@$(VENV)-reading/bin/python $(PIP) --no-build-isolation --no-deps -e .
	@touch $@

%/.python$(NAMED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing); topa needs Python 3.11 or newer." >&2; \
	  echo "Install one and name it, for example: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
	@if [ -e $*/.python ]; then echo "Making $* anew with $$($(PYTHON) --version)."; $(PYTHON) -m venv --clear $*; else $(PYTHON) -m venv $*; fi
	@touch $*/.python $@
