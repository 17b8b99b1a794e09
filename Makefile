# `make test` and `make demo` are all a new user needs; the rest is for those who work on the code.
#
#   make            say this
#   make demo       set up .venv if need be, and draw with the bundled model in colour
#   make demo-web   the same models in a page of the browser, on this machine alone
#   make test       set up .venv if need be, and run the quick tests
#   make test-all   every test, the slow ones too
#   make fuzz       damage ten thousand files, and read them (long)
#   make toolbox    the quick tests beside all of MMagic, in .venv-toolbox
#   make coverage   the quick tests, with a report of what they do not reach
#   make lint       ruff and the type checks
#   make format     let ruff rewrite what it can
#   make docs       build the documentation into site/; a warning is an error
#   make wheel      build dist/*.whl, and the sdist
#   make lock       resolve requirements/constraints.txt anew, on every Python supported
#   make on-gpu     run the tests that need a GPU, and measure everything on it, in seven minutes
#   make clean      remove both environments and what was built
#
# CPU=1 sets up .venv with PyTorch's build for CPUs, from TORCH_INDEX: 2.1 GB in place of 5.9. PYTHON
# picks the interpreter (3.10 to 3.12), PIP_ARGS is handed to pip, TESTS to pytest.
#
# on-gpu runs by python3 as it is, which has torch, and needs no network: what else the package
# imports it takes from the wheels in the folder WHEELS (see benchmarks/README.md). Results go to OUT.

PIP_ARGS ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TESTS    ?= tests
JOBS     ?= auto
EXTRAS   := standalone,solvers,hub,azula,evaluation,digits,deepinv,demo,docs,tests

VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
TOOLBOX  := .venv-toolbox
PYTHON   ?= $(shell for python in python3 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$python && break; done)
# What MMagic asks for and nothing here imports is left out on purpose: no news for who installs.
PIP      := $(BIN)/python -m pip install --disable-pip-version-check --no-warn-conflicts $(PIP_ARGS) \
	--constraint requirements/constraints.txt
TOOLBOX_PIP := $(TOOLBOX)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	--constraint $(TOOLBOX)/constraints.txt
COST     := $(if $(CPU),2.1 GB,5.9 GB where PyTorch comes with CUDA; CPU=1 leaves that out: 2.1 GB)
PYTEST   := $(BIN)/python -m pytest --numprocesses $(JOBS)

.PHONY: help install demo demo-web test test-all fuzz toolbox coverage lint format docs wheel lock on-gpu clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)

$(STAMP): setup.cfg setup.py pyproject.toml $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo 'No Python 3.10, 3.11 or 3.12 found; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Setting up $(VENV), once. It takes about three minutes, and $(COST).'
	@$(PYTHON) -m venv $(VENV)
	@$(if $(CPU),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch torchvision)
	@$(PIP) --editable '.[$(EXTRAS)]'
	@$(PIP) --no-deps --requirement requirements/openmmlab.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/mmagic-adm sample edm-g_heun18_emoji-32x32 --steps 8 --num-samples 64 --batch-size 32 \
		--labels face,animal,person,heart,fruit,clock,button,flag --out outputs/demo

demo-web: $(STAMP)
	$(BIN)/mmagic-adm demo

test: $(STAMP)
	@echo 'The quick tests: about four minutes on two free cores.'
	$(PYTEST) -m 'not slow' $(TESTS)

test-all: $(STAMP)
	$(PYTEST) $(TESTS)

fuzz: $(STAMP)
	$(BIN)/python -m tests.files.fuzzing --files 10000

# What toolbox.txt pins comes before what the other environment was tested with; and mmcv's operators,
# whose compilation takes from a quarter of an hour to hours, are stood in for by their names.
$(TOOLBOX)/.installed: setup.cfg $(wildcard requirements/*.txt) requirements/mmcv_ext.py
	@test -n "$(PYTHON)" || { echo 'No Python 3.10, 3.11 or 3.12 found; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Setting up $(TOOLBOX) (once; about five minutes)'
	@$(PYTHON) -m venv $(TOOLBOX)
	@grep -vE '^(diffusers|huggingface_hub)==' requirements/constraints.txt > $(TOOLBOX)/constraints.txt
	@$(TOOLBOX_PIP) --no-deps --requirement requirements/openmmlab.txt
	@$(TOOLBOX_PIP) --editable '.[standalone,toolbox,evaluation,digits,tests]'
	@cp requirements/mmcv_ext.py \
		"$$($(TOOLBOX)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/mmcv/_ext.py"
	@touch $@

toolbox: $(TOOLBOX)/.installed
	$(TOOLBOX)/bin/python -m pytest --numprocesses $(JOBS) -m 'not slow' $(TESTS)

coverage: $(STAMP)
	$(PYTEST) -m 'not slow' --cov --cov-report=term $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(STAMP)
	$(BIN)/python -m build --outdir dist .

WHEELS   ?=
OUT      ?= outputs/on_gpu
ON_GPU   := build/on_gpu

on-gpu:
	@$(if $(WHEELS),python3 -m pip install --quiet --no-index --no-deps --no-compile --upgrade \
		--target $(ON_GPU) $(WHEELS)/*.whl)
	PYTHONPATH=$(ON_GPU):. python3 benchmarks/on_gpu.py $(OUT)

lock:
	python3 requirements/lock.py

clean:
	rm -rf $(VENV) $(TOOLBOX) build dist site *.egg-info
