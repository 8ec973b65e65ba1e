# CNN Internals. `make book` and `make test` are all a newcomer needs; both set everything up.

.DEFAULT_GOAL := help
.PHONY: help install book serve edition pdf check test lint format bench clean

# The first Python on the path that is new enough; `make PYTHON=/path/to/python book` overrides.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,\
  $(if $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(name))))
BIN := .venv/bin
READY := .venv/.ready
SITE_READY := .venv/.ready-site
# Byte code is left to the first import of each module: most modules are never imported, and
# compiling all of them takes a third of the time.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
  --constraint constraints.txt

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on the PATH; install one, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv

# Installed again only when the dependencies change.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	@touch $(READY) $(SITE_READY)

# The site is built without torch, whose gigabytes take most of the time.
$(SITE_READY): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  needed = project["dependencies"] + project["optional-dependencies"]["book"]; \
	  print(*(name for name in needed if not name.startswith(("torch", "lightning"))), sep="\n")' \
	  > .venv/site.txt
	$(INSTALL) --requirement .venv/site.txt
	@touch $(SITE_READY)

install: $(READY)  ## Set up .venv with everything.

book: $(READY)  ## Execute every chapter at quick and build the site into build/quick/site.
	$(BIN)/internals execute --profile quick
	$(BIN)/internals atlas --profile quick --first 4
	$(BIN)/internals build --profile quick

serve: export NO_MKDOCS_2_WARNING = 1
serve: export DISABLE_MKDOCS_2_WARNING = true
serve: $(SITE_READY)  ## Open the published edition with live reload.
	$(BIN)/python -m mkdocs serve --dirty

edition: $(READY)  ## Execute every chapter at full on the real data: the published edition.
	$(BIN)/internals execute --profile full --data real
	$(BIN)/internals atlas --profile full --data real --publish
	$(BIN)/internals live
	$(BIN)/internals build --profile full

pdf: $(READY)  ## Print the published edition into build/cnn-internals.pdf.
	$(BIN)/internals pdf

check: lint  ## Lint, and run the fast tests: at most 90 seconds on two cores.
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow"

test: lint  ## Lint, and run every test: at most ten minutes on two cores.
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(READY)  ## Check style, types and the workflow.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --quiet --offline .github/workflows

format: $(READY)  ## Put the code into the one layout.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Measure speed, as ratios within one run.
	$(BIN)/python -m tests.bench

clean:  ## Remove everything that was made (not .venv).
	rm -rf build
