# From a clean clone, with python3 and make: `make demo` does the main job, `make test` passes the tests.
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test
FULL := build/parity-full
PIP := -m pip --disable-pip-version-check

.PHONY: help demo demo-sheet scenes-sheet test test-fast soak chaos lint parity parity-full gpu-check bench-gpu mini quality config clean

help:  ## show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(DEMO)/.installed: pyproject.toml
	@echo "setting up $(DEMO): Respin and the embedded Triton server; a minute, some 700 MB"
	@$(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/python $(PIP) install --quiet --editable '.[serve]'
	@touch $@

# torch comes first and by itself: anything else that asks for it may bring gigabytes of CUDA.
$(TEST)/.installed: pyproject.toml
	@echo "setting up $(TEST): PyTorch for the CPU, then all extras; some minutes"
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(PIP) install --quiet torch==2.13.0
	$(TEST)/bin/python $(PIP) install --quiet --editable '.[serve,export,tensorrt-rtx,bench,test]'
	touch $@

RESPIN_DEMO = $(DEMO)/bin/respin serve --grpc-port 0 --metrics-port 0 $(if $(MODELS),--models "$(MODELS)") -- \
  $(DEMO)/bin/respin demo --timeout-s 300 $(if $(PHOTO),--image "$(PHOTO)" --class-name "$(NAME)" $(if $(BOX),--box $(BOX)))

demo: $(DEMO)/.installed  ## set up, start the embedded server, turn a rendered object; or PHOTO=FILE NAME=OBJECT [BOX="X0 Y0 X1 Y1"] [MODELS=SET]
	$(RESPIN_DEMO)

demo-sheet: $(DEMO)/.installed  ## the same, and keep its sheet and animation in docs/images
	$(RESPIN_DEMO) --sheet docs/images/sheet.png
	cp demo-output/spin.webp docs/images/spin.webp

scenes-sheet: $(DEMO)/.installed  ## render docs/images/scenes.png again
	$(DEMO)/bin/respin scene --seed 1000005 --count 6 --sheet docs/images/scenes.png

test: $(TEST)/.installed  ## set up, and run every test that needs no GPU
	$(TEST)/bin/python -m pytest

test-fast: $(TEST)/.installed  ## what needs no server, no export and no benchmark, in a minute: for daily work
	$(TEST)/bin/python -m pytest tests/core tests/client tests/ensemble --ignore=tests/ensemble/serving \
	  --ignore-glob='*test_torch_*' --deselect tests/ensemble/pipeline/test_job_parity.py

soak: $(TEST)/.installed  ## failures under load, which Triton itself does not always survive
	$(TEST)/bin/python -m pytest -m soak

chaos: $(TEST)/.installed  ## kill, stop and crash a server in every way of docs/reliability.md, and write its table again
	$(TEST)/bin/python tests/ensemble/serving/chaos.py --page docs/reliability.md

lint: $(TEST)/.installed  ## ruff, mypy --strict, pyright, rendered configs, hadolint and shellcheck
	$(TEST)/bin/ruff format --check
	$(TEST)/bin/ruff check
	$(TEST)/bin/mypy
	$(TEST)/bin/pyright
	$(TEST)/bin/python -m respin.pbtxt --check
	$(TEST)/bin/python -m respin_client.protocol_page --check
	$(TEST)/bin/hadolint docker/Dockerfile
	$(TEST)/bin/shellcheck docker/serve.sh

parity: $(TEST)/.installed  ## measure the export against the original implementations again: docs/parity.md
	$(TEST)/bin/respin parity

parity-full: $(TEST)/.installed  ## export and build all networks at full size, random weights; some 40 minutes, 60 GB of disk
	$(TEST)/bin/respin weights synthesize --size full --output $(FULL)/weights
	$(TEST)/bin/respin export --weights $(FULL)/weights --output $(FULL)/fp32
	$(TEST)/bin/respin export --weights $(FULL)/weights --output $(FULL)/fp16 --precision fp16
	$(TEST)/bin/respin engines $(FULL)/fp16 --flavour tensorrt_rtx --output $(FULL)/engine
	$(TEST)/bin/python -m respin_export.report.full_size $(FULL)
	rm -r $(FULL)

gpu-check: $(TEST)/.installed  ## what only a GPU can show: engines run, FP16 on CUDA
	$(TEST)/bin/python -m pytest -m gpu tests/export/test_gpu.py

# BENCH_PYTHON=python3: with the PyTorch that a container or a machine without network has already.
# TRITONSERVER=DIR: the embedded server out of an unpacked wheel. BENCH_FLAGS: more options, such as --device cpu.
bench-gpu: $(if $(BENCH_PYTHON),,$(TEST)/.installed)  ## jobs through gRPC and in process, networks, on this machine's GPU: docs/benchmarks.md; goes on where it ended
	PYTHONPATH=$(subst $() ,:,$(addprefix $(CURDIR)/,src client export ensemble server benchmarks)) $(or $(BENCH_PYTHON),$(TEST)/bin/python) \
	  -m respin_benchmarks in-process --device cuda --budget-s 540 --page docs/benchmarks.md \
	  $(if $(TRITONSERVER),--tritonserver "$(TRITONSERVER)") $(BENCH_FLAGS)

mini: $(TEST)/.installed  ## train the mini set from nothing (three to four hours on two cores with AMX) and export it: models/mini
	$(TEST)/bin/respin train all
	$(TEST)/bin/python -m respin_export.mini --runs build/training --keep

quality: $(TEST)/.installed  ## measure the mini set on 400 held-out scenes: docs/quality.md
	$(TEST)/bin/respin quality --set mini --scenes 400 --page docs/quality.md

config: $(TEST)/.installed  ## write every config.pbtxt, and docs/protocol.md, again from the contracts
	$(TEST)/bin/python -m respin.pbtxt
	$(TEST)/bin/python -m respin_client.protocol_page

clean:  ## remove both environments and what the demo made
	rm -rf $(DEMO) $(TEST) demo-output
