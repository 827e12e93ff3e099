# Each target is one line over a Python command that works without make. Variables go to it through the environment,
# and only those that have a value: an empty PROFILE= is no profile called "".

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
UV ?= uv
VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
BENCHMARKS := $(VENV)/.benchmarks-installed
# A virtual environment of its own: the emulator pins other versions of what we use.
EMULATOR_VENV := .venv-emulator
EMULATOR := $(EMULATOR_VENV)/.emulator-installed

VARIABLES := TARGET STACK_NAME PROTECTED_STACKS PARAMETERS STACK_TAGS ALARMS FUNCTION MEMORY NUM STRATEGY WEIGHT PAYLOAD CONCURRENCY \
	PROMOTE APPLY CLEAN WARMER WARMER_INTERVAL_S PROFILE FLOW SCALE TIME_SCALE RATE WORKERS MESSAGES SEED CUSTOM_FLOW DURATION_MS MASTER_HOST \
	MASTER_PORT EXPECT_WORKERS RUN A B BY BASELINE PORT WEB_HOST WEB_PORT WEB_LOGIN LIVE_CLOUDWATCH ROLE ACTION ALARM_TOPIC BENCH RUNS_DIR \
	API_BASE_URL AWS_REGION AWS_PROFILE AWS_ENDPOINT_URL
$(foreach name,$(VARIABLES),$(if $(value $(name)),$(eval export $(name)),$(eval unexport $(name))))

.PHONY: help
help: ## Print this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { \
		variables = match($$2, / \([A-Z][^()]*\)$$/) ? substr($$2, RSTART + 2, RLENGTH - 3) : ""; \
		if (variables) $$2 = substr($$2, 1, RSTART - 1); \
		printf "  make %-13s %s\n", $$1, $$2; \
		while (length(variables) > 79) { \
			cut = 79; \
			while (cut > 1 && substr(variables, cut, 1) !~ /[|, ]/) cut--; \
			printf "%21s%s\n", "", substr(variables, 1, cut); \
			variables = substr(variables, cut + 1) } \
		if (variables) printf "%21s%s\n", "", variables }' $(MAKEFILE_LIST)
	@echo
	@echo "  Below a target are its variables: make load PROFILE=vote-stress TIME_SCALE=0.1"
	@echo "  README.md and .env.example explain them."

# ------------------------------------------------------------------ running tests of load

.PHONY: demo smoke perf load ui master worker analyze compare
demo: $(RUNTIME) ## From nothing to an explained run, on a sandbox of its own
	@$(PY) -m control demo

smoke: $(RUNTIME) ## Send one message end to end; 0 only if it arrived in the table (TARGET)
	@$(PY) -m control smoke

perf: $(RUNTIME) ## Send messages one after another; statistics of each function (TARGET, MESSAGES=100, PARAMETERS)
	@$(PY) -m control perf

load: $(RUNTIME) ## Run a profile, headless, analyse and judge it (PROFILE, FLOW, TARGET, SCALE, TIME_SCALE, WORKERS, PARAMETERS)
	@$(PY) -m control load

ui: $(RUNTIME) ## Locust's web UI; each run is analysed as it ends (WEB_HOST, WEB_PORT=8089, WEB_LOGIN, those of load)
	@$(PY) -m control ui

master: $(RUNTIME) ## The master of a distributed run, with analysis (EXPECT_WORKERS=1, MASTER_PORT, those of load)
	@$(PY) -m control master

worker: $(RUNTIME) ## A worker of a distributed run (MASTER_HOST, MASTER_PORT, TARGET)
	@$(PY) -m control worker

analyze: $(RUNTIME) ## Pull what is missing, join and report a run again (RUN=latest)
	@$(PY) -m analysis analyze "$${RUN:-latest}"

compare: $(RUNTIME) ## Is run B worse than run A, or than a baseline, or one version than another? (A, B, BASELINE, BY=version, RUN)
	@$(PY) -m analysis compare $${BASELINE:+--baseline "$$BASELINE"} $${BY:+--by "$$BY"} $${A:+"$$A"} $${B:+"$$B"} \
		$${BY:+"$${RUN:-latest}"}

.PHONY: tune provisioned
tune: $(RUNTIME) ## Which memory a function should have (FUNCTION, MEMORY=128,256,512, NUM=50, STRATEGY=cost|speed|balanced, PAYLOAD)
	@$(PY) -m control tune

provisioned: $(RUNTIME) ## What provisioned concurrency is worth in a burst (FUNCTION=place-vote, CONCURRENCY, WARMER=1, PROFILE=burst, SCALE, TIME_SCALE)
	@$(PY) -m control provisioned

# ------------------------------------------------------------------ what the load goes to

.PHONY: preflight sandbox deploy destroy alarms policy
preflight: $(RUNTIME) ## What would go wrong in a run, and what it would cost (DURATION_MS, those of load)
	@$(PY) -m control preflight

sandbox: $(RUNTIME) ## A local AWS in the foreground (PORT=4566)
	@$(PY) -m sandbox --port "$${PORT:-4566}"

deploy: $(RUNTIME) ## Create or update the sample applications' stack (TARGET, STACK_NAME, PARAMETERS, STACK_TAGS, ALARMS=1)
	@$(PY) -m control deploy

destroy: $(RUNTIME) ## Delete the sample applications' stack and its code (TARGET, STACK_NAME)
	@$(PY) -m control destroy

alarms: $(RUNTIME) ## CloudWatch alarms for the stack (ACTION=plan|create|list|delete, TARGET, ALARM_TOPIC)
	@$(PY) -m control alarms "$${ACTION:-plan}"

policy: $(RUNTIME) ## Print the IAM policy of a role for the stack (ROLE=load|analysis|tuning|deploy|alarms, TARGET, STACK_NAME)
	@$(PY) -m control policy "$${ROLE:-load}"

# ------------------------------------------------------------------ working on Swarmscope

.PHONY: test test-profiles emulator-test check bench lock clean
# Four at a time also where there are two processors: more than half of their time they wait for a process or a clock.
test: $(DEV) ## All tests that need nothing outside this machine (PYTEST_ARGS)
	@$(PY) -m pytest -n 4 $(PYTEST_ARGS)

test-profiles: $(DEV) ## Every profile, run small on a sandbox and held to its truth (PYTEST_ARGS)
	@$(PY) -m pytest -n 2 -m profiles tests/end_to_end/test_shipped_profiles.py $(PYTEST_ARGS)

emulator-test: $(DEV) $(EMULATOR) ## From deploy to report on an AWS emulator that others wrote (PYTEST_ARGS)
	@$(PY) -m pytest -n 2 --dist loadfile -m emulator tests/emulator $(PYTEST_ARGS)

check: $(DEV) ## Linter, formatter, types, template, pipeline files, docs
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/cfn-lint stack/template.yaml
	@$(VENV)/bin/check-jsonschema -q --builtin-schema vendor.github-workflows examples/pipelines/github-actions.yml
	@$(VENV)/bin/check-jsonschema -q --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci \
		examples/pipelines/gitlab-ci.yml
	@$(VENV)/bin/check-jsonschema -q --schemafile tests/fixtures/buildspec/buildspec.schema.json \
		examples/pipelines/buildspec.yml
	@$(VENV)/bin/shellcheck examples/pipelines/load-test.sh
	@$(PY) -m pytest -q tests/docs

bench: $(BENCHMARKS) ## A benchmark, as JSON and a table (BENCH=generator|arrivals|breakpoint|shipping|sandbox_votes|pull|join|report|compare)
	@$(PY) -m benchmarks "$${BENCH:-generator}"

lock: ## Resolve requirements*.in into requirements*.txt (needs uv)
	$(UV) pip compile -q --universal --python-version 3.11 --no-header requirements.in -o requirements.txt
	$(UV) pip compile -q --universal --python-version 3.11 --no-header requirements-dev.in -o requirements-dev.txt
	$(UV) pip compile -q --universal --python-version 3.11 --no-header requirements-bench.in -o requirements-bench.txt
	$(UV) pip compile -q --universal --python-version 3.11 --no-header requirements-emulator.in -o requirements-emulator.txt

clean: ## Remove what the tools and killed processes left, the environment too; runs stay
	-@$(PYTHON) -m sandbox.workplace
	-@$(PYTHON) -m analysis.workplace "$${RUNS_DIR:-runs}"
	rm -rf $(VENV) $(EMULATOR_VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +

# ------------------------------------------------------------------ the environment, set up by whoever needs it first

$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Swarmscope needs Python 3.11 or newer, and $(PYTHON) is not: try make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) (once, a minute or two)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt || { \
		echo "the packages could not be installed, for the reason that pip gives above: it needs a package index," \
			"PyPI or the one that PIP_INDEX_URL names; then run make again" >&2; exit 1; }
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCHMARKS): requirements-bench.txt $(RUNTIME)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(EMULATOR): requirements-emulator.txt
	@echo "setting up $(EMULATOR_VENV) (once)" >&2
	@$(PYTHON) -m venv $(EMULATOR_VENV)
	@$(EMULATOR_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-emulator.txt
	@touch $@
