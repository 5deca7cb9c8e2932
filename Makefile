# Commands of this repository. Each one creates .venv if needed.
#   make demo      train on synthetic faces on the CPU, then look at runs/demo/report.html
#   make demo-cluster   the same as a job of a local Ray cluster, with its own S3 and MLflow servers
#   make serve     serve the default model over HTTP on this machine, with a web page; Ctrl-C stops it
#   make install   create .venv with .venv/bin/focus-ray
#   make test | test-fast | coverage | check | drill | bench
#   make check-pytorch3d PYTORCH3D_SOURCE=CHECKOUT   build PyTorch3D from its source and compare its rasterizer with ours
#   make check-detectors   run the real face-alignment and insightface on random weights
#   make portrait PORTRAITS=DIR   train the portrait model on the public-domain portraits, from the committed first stage
#   make appearance PHOTOGRAPHS=DIR   learn how photographs of open faces look to the embedded model, or MODEL
#   make calibrate COMPOSITES=DIR [REPORT=DIR]   choose the limits of the default model's quality flags
#   make pretrained   export the model of the run in OUT as the shipped model `embedded`
SEED ?= 0
OUT ?= runs/demo
STEPS ?=
PORT ?= 8000
MODEL ?=
PORTRAITS ?= portraits
# Weights of the mask of photographs for a segmenter that has seen photographs, chosen on composites of portraits/choose.
PORTRAIT_FIT := --set outliers.segmenter=1.0 --set outliers.residual=0.15 --set outliers.chroma=2.5 --set outliers.bias=0.0 \
	--set fine.light=0.0018
# Logits added to the masks of the third stage, which are trained to miss little; chosen on the same composites.
PORTRAIT_BIAS := 1.0
PHOTOGRAPHS ?= portraits/train
COMPOSITES ?= composites-choose
REPORT ?=
PYTORCH3D_SOURCE ?=
VENV ?= .venv
# Number of cores plus one: system tests spend much of their time waiting for servers and workers.
PROCESSES ?= $(shell expr 1 + `getconf _NPROCESSORS_ONLN`)
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: install demo demo-cluster serve test test-fast coverage check lint types drill bench pretrained portrait portrait-em portrait-warmup appearance calibrate pretrained-prior constraints \
	check-pytorch3d check-detectors
.DEFAULT_GOAL := install

install: $(READY)

$(READY): pyproject.toml constraints.txt infra/install.sh infra/fetch_viewer.py infra/fetch_detectors.py infra/compile_kernels.py
	@infra/install.sh $(VENV)

# Prints the paths of the report and the model at the end.
demo: $(READY)
	@if [ -f $(OUT)/config.json ]; then \
		echo "$(OUT) holds a run: resuming it"; $(BIN)/focus-ray train --resume $(OUT); \
	else $(BIN)/focus-ray train --preset embedded --seed $(SEED) --out $(OUT); fi

# All servers listen on 127.0.0.1 and are stopped at the end. STEPS sets a smaller number of training steps.
demo-cluster: OUT = runs/demo-cluster
demo-cluster: $(READY)
	$(BIN)/python infra/demo_cluster.py --out $(OUT) --preset embedded --seed $(SEED) $(if $(STEPS),--steps $(STEPS))

# Web page and API at http://127.0.0.1:PORT. MODEL: a model to serve instead of the default one.
serve: $(READY)
	$(BIN)/focus-ray serve --port $(PORT) $(if $(MODEL),--model $(MODEL)) --open

# What continuous integration runs. System tests share two processes (one for those that serve), other tests run in
# parallel with them.
test: $(READY)
	$(BIN)/pytest -m "not drill" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=40

# Quick tests, in minutes: no cluster, no server, no complete run.
test-fast: $(READY)
	$(BIN)/pytest -m "not drill and not slow" --ignore=tests/system -n auto --dist loadfile --no-loadscope-reorder

# Prints which lines the tests of test-fast run. There is no required coverage.
coverage: $(READY)
	$(BIN)/pytest -m "not drill and not slow" --ignore=tests/system -n auto --cov=focus_ray --cov-report=term

# Lint and types in parallel: pyright alone uses one of two cores. Tests beside them come first.
check: $(READY)
	@nice -n 5 $(MAKE) --no-print-directory --jobs=2 --output-sync lint types

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/pyright

# Long failure and load tests, run by hand. Their measurements are stored in drills/results.json.
drill: $(READY)
	$(BIN)/pytest -m drill --results=drills/results.json

# Skipped without a checkout of PyTorch3D's repository. It is built in build/pytorch3d, 20 to 40 minutes of processor time.
check-pytorch3d: $(READY)
	$(BIN)/python infra/check_pytorch3d.py $(PYTORCH3D_SOURCE)

# Installs both packages in build/detectors, an environment of their own.
check-detectors: $(READY)
	$(BIN)/python infra/check_detectors.py

# Each file measures one figure; times are compared as ratios within one run.
bench: $(READY)
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

# Exports the demo's model in half precision as the shipped model `embedded`.
pretrained: $(READY)
	$(BIN)/focus-ray model export $(OUT)/model --out focus_ray/pretrained --half

# The first stage of the portrait model, an hour on two cores; a new one changes what `make portrait` begins with.
portrait-warmup: OUT = runs/portrait-warmup
portrait-warmup: $(READY)
	@if [ -f $(OUT)/config.json ]; then $(BIN)/focus-ray train --resume $(OUT); \
	else $(BIN)/focus-ray train --preset portrait_warmup --seed $(SEED) --out $(OUT); fi
	$(BIN)/focus-ray model export $(OUT)/model --out focus_ray/pretrained_warmup --half

# The second stage of the portrait model, on PORTRAITS/train; a new one changes what `make portrait` begins with.
portrait-em: OUT = runs/portrait-em
portrait-em: $(READY)
	@if [ -f $(OUT)/config.json ]; then $(BIN)/focus-ray train --resume $(OUT); \
	else $(BIN)/focus-ray train --preset portrait_em --data $(PORTRAITS)/train --seed $(SEED) --out $(OUT); fi
	$(BIN)/focus-ray model export $(OUT)/model --out focus_ray/pretrained_portrait_em --half

# The portrait model: third stage on PORTRAITS/train, then its appearance prior from the same portraits.
portrait: OUT = runs/portrait
portrait: $(READY)
	@if [ -f $(OUT)/config.json ]; then $(BIN)/focus-ray train --resume $(OUT); \
	else $(BIN)/focus-ray train --preset portrait --data $(PORTRAITS)/train --seed $(SEED) --out $(OUT); fi
	$(BIN)/focus-ray model export $(OUT)/model --out focus_ray/pretrained_portrait --half --mask-bias $(PORTRAIT_BIAS)
	$(BIN)/focus-ray model appearance $(PORTRAITS)/train --model focus_ray/pretrained_portrait $(PORTRAIT_FIT)

# The appearance prior of the embedded model, or of MODEL, from photographs of open faces in PHOTOGRAPHS (portraits/train).
# After each `make pretrained`, which exports a model without it, and before `make calibrate`.
appearance: $(READY)
	$(BIN)/focus-ray model appearance $(PHOTOGRAPHS) --model $(if $(MODEL),$(MODEL),focus_ray/pretrained)

# Limits of the quality flags, chosen on COMPOSITES of `focus-ray data occlude` and reported on REPORT; they are stored in
# the default model, or in MODEL. After each `make pretrained`, which exports a model without them.
calibrate: $(READY)
	$(BIN)/focus-ray model calibrate $(COMPOSITES) $(if $(REPORT),--report $(REPORT)) $(if $(MODEL),--model $(MODEL)) \
		--store --out runs/quality.json

# The misfit prior of the embedded model: fine-tunes R_syn from it on renders of its face model (run in OUT), then
# measures the prior (in OUT-prior).
pretrained-prior: $(READY)
	$(BIN)/focus-ray prior train --set start_from=focus_ray/pretrained --out $(OUT)
	$(BIN)/focus-ray prior build --model $(OUT)/model --for focus_ray/pretrained --n 100000 --heldout 200000 \
		--out $(OUT)-prior
	rm -rf focus_ray/pretrained_prior
	cp -r $(OUT)-prior/prior focus_ray/pretrained_prior

# Rewrites constraints.txt from the installed packages, without torch's CUDA packages, which depend on the machine.
constraints: $(READY)
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/uv pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' \
		| grep -E '^[A-Za-z0-9_.-]+==' | grep -vE '^(nvidia|cuda|triton)|^(pip|setuptools)=='; } > constraints.new
	@mv constraints.new constraints.txt
