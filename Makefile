# Two commands do all the set-up on a new machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/u2a-plugin-*)
BASE := $(VENV)/.base
STAMP := $(VENV)/.installed

.PHONY: docs dist demo test test-slow test-oldest test-newest breaks mutants check coverage evidence bench dev clean

demo: $(BASE)
	$(BIN)/u2a quickstart
	$(BIN)/u2a train recipes/quickstart.toml --run runs/quickstart --resume
	$(BIN)/u2a eval runs/quickstart --drop audio
	$(BIN)/u2a eval runs/quickstart --sweep

test: check
	$(BIN)/python -m pytest -n 2

# gradio keeps Pillow below 13, so it is not in dev: the demo page's tests skip, and say so, until `pip install -e '.[demo]'`.
test-slow: dev
	$(BIN)/python -m pytest -m slow -rs

# The suite on the oldest and the newest releases that are supported (constraints/), in environments of their own;
# another interpreter: make test-newest PYTHON=python3.13
test-oldest test-newest: test-%:
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet -c constraints/$*.txt -e '.[dev]'
	for plugin in $(PLUGINS); do .venv-$*/bin/python -m pip install --quiet --no-deps -e $$plugin || exit 1; done
	.venv-$*/bin/python -m pytest -n 2

# Break u2a on purpose, one line at a time, and see a test fail; takes long, so CI does not.
breaks: dev
	$(BIN)/python scripts/breaks.py

# Change u2a in every small way and list what no test notices: MUTANTS=method.losses for one module; hours, not in CI.
mutants: dev
	$(BIN)/python scripts/mutants.py $(MUTANTS)

check: dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(BASE)
	$(BIN)/python -m benchmarks.coverage

# The study behind the defaults (docs/evidence.md), three hours at a time; goes on where it was stopped.
evidence: $(BASE)
	$(BIN)/python -m benchmarks.evidence.study
	$(BIN)/python -m benchmarks.evidence.tables

# How near u2a is to what the hardware allows (docs/performance.md): ratios, half an hour on a quiet machine.
bench: $(BASE)
	$(BIN)/python -m benchmarks.speed --full

dev: $(STAMP)

$(BASE): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "u2a needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(STAMP): $(BASE) $(wildcard plugins/u2a-plugin-*/pyproject.toml)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	for plugin in $(PLUGINS); do $(BIN)/python -m pip install --quiet --no-deps -e $$plugin || exit 1; done
	touch $@

# The documentation site, strictly: a broken link fails.
docs: dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Wheels of u2a and every plugin, and the proof that a plugin is installed by its name: in an environment of its own.
dist: dev
	rm -rf dist
	for part in . $(PLUGINS); do $(BIN)/python -m build --wheel --no-isolation --outdir dist $$part || exit 1; done
	$(BIN)/python scripts/dist.py dist

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest runs shards dist site
