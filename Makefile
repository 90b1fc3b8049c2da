# make demo        a walking figure in outputs/walk/, from the shipped checkpoint, in an environment of its own
# make reader      SmolLM2, with which the demo reads free sentences; make demo tries to fetch it once by itself
# make test-quick  tests of every module, the layout and the documents in the same environment, about 80 seconds
# make test        the whole test suite, about five minutes on two cores
# make bench       every benchmark, into benchmarks/RESULTS.md
#
# Paths are relative and quoted, so the folder may have a space in its name. A second run installs nothing.
# PYTHON=python3.12 picks another interpreter; TORCH_INDEX=URL takes torch from another package index; READER= does
# not fetch SmolLM2.

PYTHON ?= python3
TORCH_INDEX ?=
JOBS ?= 2
OUTPUT ?= outputs/walk
PROMPT ?= a person walks forward
READER ?= checkpoints/demo-smollm2
BENCH ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet
# one thread per test process: more only fight over the cores
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1
PYTEST := $(TEST_ENV) $(PY) -m pytest -n $(JOBS) -q

.PHONY: demo reader test test-quick test-all lint bench clean .venv
.DELETE_ON_ERROR:

.venv: $(VENV)/core.stamp

$(VENV)/made.stamp:
	@"$(PYTHON)" -c "import sys; sys.version_info >= (3, 10) or sys.exit('motiongpt needs Python 3.10 or newer, $(PYTHON) is ' + sys.version.split()[0] + '; try: make demo PYTHON=python3.12')"
	"$(PYTHON)" -m venv "$(VENV)"
	@touch "$@"

# torch goes first and alone: TORCH_INDEX is for it only, and packages that depend on torch then find it installed
$(VENV)/torch.stamp: $(VENV)/made.stamp
	@echo "installing torch (some minutes the first time)"
	$(PY) -m pip install --disable-pip-version-check $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") "$$(grep '^torch==' requirements.txt)"
	@touch "$@"

$(VENV)/core.stamp: $(VENV)/torch.stamp requirements.txt
	$(PIP) -r requirements.txt
	@touch "$@"

$(VENV)/test.stamp: $(VENV)/core.stamp requirements-test.txt
	$(PIP) -r requirements-test.txt
	@touch "$@"

# The shipped reader is a small adapter; its base is too large to ship. Offline, both steps give up after seconds.
BASE := checkpoints/smollm2
FETCH_BASE = [ -f $(BASE)/config.json ] || { \
	echo "fetching SmolLM2-135M once, 93 to 270 MB: with this language model the demo reads free sentences better"; \
	$(PIP) --retries 1 --timeout 15 "$$(grep '^gguf==' requirements-test.txt)" 2>/dev/null; \
	$(PY) scripts/assets.py --fetch smollm2; }

# tried once: a demo without it is a demo, and must not wait for the network every time
$(VENV)/reader.stamp: | $(VENV)/core.stamp
	@$(FETCH_BASE) || echo "no SmolLM2, so the demo now reads sentences itself, less well; make reader tries again"
	@touch "$@"

reader: $(VENV)/core.stamp
	@$(FETCH_BASE)
	@echo "SmolLM2 is in $(BASE), and the demo reads sentences with it"

demo: $(VENV)/core.stamp $(if $(wildcard $(READER)),$(VENV)/reader.stamp)
	HF_HUB_OFFLINE=1 $(PY) scripts/sample.py --prompt "$(PROMPT)" --run checkpoints/demo --output "$(OUTPUT)"
	@echo "the walking figure is $(OUTPUT)/motion.gif"

test: $(VENV)/test.stamp
	$(PYTEST)

# for every change: whatever is marked slow (about a second or more) is left out
test-quick: $(VENV)/test.stamp
	$(PYTEST) -m "not slow"

# what continuous integration runs: style first, since it is quick, then everything with the slowest tests named
test-all: lint
	$(PYTEST) --durations=15

lint: $(VENV)/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# an hour on two cores; BENCH="--only render features" runs some
bench: $(VENV)/test.stamp
	$(PY) benchmarks/results.py $(BENCH)

# everything that can be made again; outputs/ and data/ are yours and stay, and so does the large download of SmolLM2
clean:
	rm -rf "$(VENV)" build dist motiongpt.egg-info .pytest_cache .ruff_cache
	find motiongpt scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
