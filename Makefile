# One environment for everything, kept outside the checkout and reused until pyproject.toml changes.
PYTHON ?= python3
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/synergynet
KEY := $(shell { cat pyproject.toml; $(PYTHON) --version; } | sha256sum | cut -c1-12)
VENV ?= $(CACHE)/env-$(KEY)
RUN := $(VENV)/bin/python

.PHONY: benchmark train test lint env
benchmark: env
	$(RUN) benchmark.py -w pretrained/open_mobilenet_v2.pth.tar

train: env
	PYTHON=$(RUN) bash train_script.sh $(ARGS)

test: env
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --dist loadfile

lint: env
	$(VENV)/bin/ruff check .

env: $(VENV)/.complete
	@echo "environment: $(VENV)"

$(VENV)/.complete:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check ".[dev,timm,open-model,detector,onnx,app,tensorboard]"
	touch $@
