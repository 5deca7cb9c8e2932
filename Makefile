# The only commands a newcomer needs. Each sets up .venv by itself.
#   make demo      train on synthetic faces on the CPU, then look at runs/demo/report.html
#   make demo-cluster   the same as a job of a Ray cluster on this machine, with an S3 and an MLflow server of its own
#   make serve     the shipped model behind HTTP on this machine, with a page to try it; Ctrl-C ends it
#   make install   .venv/bin/focus-ray
#   make test | test-fast | coverage | check | drill | bench
#   make pretrained   the run in OUT becomes the model that comes with the package
SEED ?= 0
OUT ?= runs/demo
STEPS ?=
PORT ?= 8000
MODEL ?=
VENV ?= .venv
# One more than there are cores: whole systems wait much, for their servers and workers.
PROCESSES ?= $(shell expr 1 + `getconf _NPROCESSORS_ONLN`)
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: install demo demo-cluster serve test test-fast coverage check lint types drill bench pretrained pretrained-prior constraints
.DEFAULT_GOAL := install

install: $(READY)

$(READY): pyproject.toml constraints.txt infra/install.sh infra/fetch_viewer.py infra/compile_kernels.py
	@infra/install.sh $(VENV)

# Says at the end where the report and the model are.
demo: $(READY)
	@if [ -f $(OUT)/config.json ]; then \
		echo "$(OUT) holds a run: going on with it"; $(BIN)/focus-ray train --resume $(OUT); \
	else $(BIN)/focus-ray train --preset embedded --seed $(SEED) --out $(OUT); fi

# Everything on 127.0.0.1, and ended again. STEPS makes it shorter.
demo-cluster: OUT = runs/demo-cluster
demo-cluster: $(READY)
	$(BIN)/python infra/demo_cluster.py --out $(OUT) --preset embedded --seed $(SEED) $(if $(STEPS),--steps $(STEPS))

# The page and the API at http://127.0.0.1:PORT; MODEL names another model than the shipped one.
serve: $(READY)
	$(BIN)/focus-ray serve --port $(PORT) $(if $(MODEL),--model $(MODEL)) --open

# What continuous integration needs. Whole systems take turns in one process, all other tests run beside them.
test: $(READY)
	$(BIN)/pytest -m "not drill" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=40

# A first answer in minutes: no cluster, no server, no whole run.
test-fast: $(READY)
	$(BIN)/pytest -m "not drill and not slow" --ignore=tests/system -n auto --dist loadfile --no-loadscope-reorder

# Which lines the tests of test-fast run. Printed, nothing depends on it.
coverage: $(READY)
	$(BIN)/pytest -m "not drill and not slow" --ignore=tests/system -n auto --cov=focus_ray --cov-report=term

# Lint and types side by side: pyright alone leaves half of two cores idle.
check: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint types

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/pyright

# Long failure and load drills, by hand. What each one measured is kept in drills/results.json.
drill: $(READY)
	$(BIN)/pytest -m drill --results=drills/results.json

# One file for each figure that is measured; times are compared as ratios within one run.
bench: $(READY)
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

# The demo's model, in half precision, becomes the one that `reconstruct` uses unless another is named.
pretrained: $(READY)
	$(BIN)/focus-ray model export $(OUT)/model --out focus_ray/pretrained --half

# Its misfit prior: R_syn is fine-tuned from it on renders of its own face, in OUT, and measured in OUT-prior.
pretrained-prior: $(READY)
	$(BIN)/focus-ray prior train --set start_from=focus_ray/pretrained --out $(OUT)
	$(BIN)/focus-ray prior build --model $(OUT)/model --for focus_ray/pretrained --n 100000 --heldout 200000 \
		--out $(OUT)-prior
	rm -rf focus_ray/pretrained_prior
	cp -r $(OUT)-prior/prior focus_ray/pretrained_prior

# Rewrites constraints.txt from what is installed now. Not torch's own dependencies on a GPU, which depend on the machine.
constraints: $(READY)
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/uv pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' \
		| grep -E '^[A-Za-z0-9_.-]+==' | grep -vE '^(nvidia|cuda|triton)|^(pip|setuptools)=='; } > constraints.new
	@mv constraints.new constraints.txt
