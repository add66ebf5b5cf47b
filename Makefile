# Everything runs from nothing but Python and make: the environment in .venv is built when it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: course test test-browser test-gpu lint bench lab site readme lines drift pictures clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

course: $(READY)  ## execute every notebook at profile quick and report which claims hold
	$(BIN)/coursekit run

test: $(READY)  ## all tests: the package, and every notebook by papermill and by nbval
	$(BIN)/python tests/all.py

test-browser: $(READY)  ## slides, JupyterLab and the report in a real browser, needs Chromium and npm
	$(BIN)/python -m pytest tests/browser

test-gpu:  ## tests and measurements on CUDA, 10 minutes at most, needs a PYTHON whose PyTorch finds the GPU
	$(PYTHON) -m tests.gpu

lint: $(READY)  ## style of code and notebooks, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --exclude '*.ipynb' .
	$(BIN)/mypy

bench: .bench-venv/.ready  ## measure speed against peers, one thread, as ratios in one run
	.bench-venv/bin/python -m tests.benchmarks

lab: $(READY)  ## open the notebooks in JupyterLab, on this machine only, with a token
	$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks

site: $(READY)  ## build the website of the course in site/, needs npm; SITE_OPTIONS=--decks adds the slides
	$(BIN)/coursekit site $(SITE_OPTIONS)

readme: $(READY)  ## make the README's badges and its table of lectures anew
	$(BIN)/python -m tools.readme README.md

lines: $(READY)  ## measure the notebooks: lines of code by kind, words, claims, figures, slides
	$(BIN)/python -m tools.lines

drift:  ## run the course with the newest versions of all dependencies, and say how its claims moved
	rm -rf .drift-venv runs/drift
	$(PYTHON) -m venv .drift-venv
	PIP_CONSTRAINT= .drift-venv/bin/python -m pip install --editable .
	-.drift-venv/bin/coursekit run --out runs/drift
	.drift-venv/bin/python -m tools.drift notebooks runs/drift

pictures: $(READY)  ## take the README's pictures anew, needs Chromium and npm
	$(BIN)/python tests/browser/pictures.py

clean:  ## remove what the targets above made, except runs/
	rm -rf site $(VENV) .bench-venv .drift-venv .pytest_cache .ruff_cache .coverage .coverage.* build dist

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

.bench-venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --editable '.[bench]'
	touch $@
