# The two commands: `make demo` and `make test`. Everything is installed into .venv, .venv-triton and .venv-k8s; nothing
# else is touched.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= complete-journey
CUTOFF_WEEK ?= 49
export PYTHONUNBUFFERED = 1
export HF_HUB_OFFLINE = 1
export ORT_DISABLE_TELEMETRY = 1
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo demo-once test accept loadtest bench k8s-check images lint format protos install clean

demo: bundles/serving          ## a shop on this machine, until Ctrl-C
	$(BIN)/python -m services.demo --data $(DATA)

demo-once: bundles/serving     ## the same, then stop everything
	$(BIN)/python -m services.demo --data $(DATA) --once

bundles/serving: | install
	$(BIN)/python -m training.train --data $(DATA) --cutoff-week $(CUTOFF_WEEK)

test: lint .venv-k8s           ## everything that needs no GPU, real Triton and Valkey included
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov

accept: bundles/serving $(if $(filter k8s,$(AREA)),.venv-k8s) ## full-size checks: make accept AREA=quality [LINE=2 BEAUTY=DIR]
	$(BIN)/python -m tests.acceptance $(AREA) $(if $(LINE),--line $(LINE)) $(if $(BEAUTY),--data $(BEAUTY))

loadtest: bundles/serving      ## three minutes of shoppers against a stack of this machine's own, and a verdict
	$(BIN)/python -m loadtest --start-stack --profile release --data $(DATA) $(LOADTEST)

bench: bundles/serving         ## Aisle beside other ways of doing the same: one page, build/bench.md
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

k8s-check: install .venv-k8s   ## every overlay of k8s/, rendered and looked through
	$(BIN)/python -m tests.k8s

images: build/images/wheels/.made ## one container image per role, by buildah: [ROLES="ranking ingest"] [BASE_IMAGE=NAME@sha256:…]
	BASE_IMAGE=$(BASE_IMAGE) services/images/build.sh $(ROLES)

build/images/wheels/.made: $(wildcard services/images/requirements/*.txt) requirements-triton.lock | install
	mkdir -p $(@D)
	sort -u $(filter-out %/tools.txt,$(wildcard services/images/requirements/*.txt)) | $(BIN)/pip wheel -q --no-deps -w $(@D) -r /dev/stdin
	$(BIN)/pip wheel -q --no-deps -w $(@D) -r services/images/requirements/tools.txt
	$(BIN)/pip wheel -q --no-deps -w $(@D) -r requirements-triton.lock
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: install                ## regenerate the committed stubs
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos --pyi_out=protos --grpc_python_out=protos \
	  protos/aisle/v1/*.proto

install:                       ## both environments, side by side
	@$(MAKE) --no-print-directory -j2 .venv .venv-triton

.venv: .venv/.installed
.venv-triton: .venv-triton/.installed
.venv-k8s: .venv-k8s/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-deps --no-compile -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # on all cores; a file of torch's is for another Python
	touch $@

.venv-triton/.installed: requirements-triton.lock
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/pip install -q --no-deps -r requirements-triton.lock
	touch $@

.venv-k8s/.installed: requirements-k8s.lock
	$(PYTHON) -m venv .venv-k8s
	.venv-k8s/bin/pip install -q --no-deps -r requirements-k8s.lock
	touch $@

clean:                         ## everything that was built; keeps the environments
	rm -rf build bundles
