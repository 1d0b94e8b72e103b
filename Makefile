PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo browser test audit benchmark benchmark-data benchmark-prediction benchmark-export model-cards \
	benchmark-cluster demonstration train-all badge

demo: $(VENV)/.installed
	$(RUN) main.py --plot

# The animations of README.md, the pictures and sounds of docs/demonstration.md, and the notebook that
# shows all recordings.
demonstration: $(VENV)/.installed-test
	$(RUN) -m demo_data.make_demonstration

# The address in pyproject.toml, written into the notebook of training and its page.
badge: $(VENV)/.installed
	$(RUN) -m colab.write_address

# A browser to test the web page with: of Playwright, else of Debian; without, its test is skipped.
browser: $(VENV)/.installed-test
	command -v chromium-headless-shell || command -v chromium || command -v google-chrome || \
		$(VENV)/bin/playwright install chromium-headless-shell || \
		{ apt-get update && apt-get install --yes --no-install-recommends chromium-headless-shell; } || \
		echo 'no browser could be installed: the web page is tested without one'

test: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .
	$(RUN) -m pytest

# Packages with known weaknesses, of those that are installed: told, where the lists are reached, and
# not a failure, since some have no mended version yet.
audit: $(VENV)/.installed-test
	-$(VENV)/bin/uvx pip-audit --progress-spinner off --path $(VENV)/lib/python3*/site-packages

benchmark-data: $(VENV)/.installed-test
	$(RUN) benchmarks/data_creation.py

# What an archive costs on a cluster: benchmarks/cluster_cost.json and its section of docs/cluster.md.
benchmark-cluster: $(VENV)/.installed-test
	$(RUN) benchmarks/cluster_cost.py
	$(RUN) benchmarks/cluster_cost.py --publish

# Scores of all systems on the pairs of CLEAN= and NOISY=: benchmarks/RESULTS.md and the tables of README.md.
PAIRS ?=
EVERY ?= 1
JOBS ?= 1
PEERS ?= noisereduce rnnoise deepfilternet
NARROW_BAND := --metrics pesq_nb stoi si_sdr pesq --no-measure_cost
EVALUATE = $(RUN) main.py --mode evaluation --clean_dir "$(CLEAN)" --noisy_dir "$(NOISY)" \
	--pairs_name "$(PAIRS)" --every $(EVERY) --jobs $(JOBS) --models all \
	--systems spectral_subtraction wiener

benchmark: $(VENV)/.installed-test
	@test -n "$(CLEAN)" -a -n "$(NOISY)" || \
		{ echo 'make benchmark needs CLEAN= and NOISY=, folders of pairs'; exit 2; }
	$(RUN) -m pip install --quiet -r requirements-peers.txt
	$(EVALUATE) $(if $(PEERS),--peers $(PEERS)) --sample_rate_evaluation 16000 --report_dir out/benchmark_16000
	$(EVALUATE) --sample_rate_evaluation 8000 --report_dir out/benchmark_8000 $(NARROW_BAND)
	$(RUN) benchmarks/publish_scores.py out/benchmark_16000 out/benchmark_8000
	$(RUN) -m weights.make_model_cards

# The page beside every network, of its card and of the scores.
model-cards: $(VENV)/.installed
	$(RUN) -m weights.make_model_cards

# Every network of weights/recipes.toml, trained in SECONDS= in all on the folders VOICES= and NOISES=
# (by default those of demo_data/) into out/train_all. OPTIONS= has further options.
train-all: $(VENV)/.installed
	@test -n "$(SECONDS)" || { echo 'make train-all needs SECONDS=, the time to train in all'; exit 2; }
	$(RUN) -m pip install --quiet -r requirements-evaluation.txt
	$(RUN) -m weights.train_all --seconds $(SECONDS) $(if $(VOICES),--voice_dir $(VOICES)) \
		$(if $(NOISES),--noise_dir $(NOISES)) $(OPTIONS)

# Every shipped network in every format, and their table in docs/export.md.
benchmark-export: $(VENV)/.installed
	$(RUN) -m pip install --quiet -r requirements-extra.txt
	$(RUN) main.py --mode export --models all --export_dir out/export
	$(RUN) benchmarks/publish_exports.py out/export

benchmark-prediction: $(VENV)/.installed-test
	$(RUN) benchmarks/prediction.py
	$(RUN) benchmarks/publish_prediction.py

$(VENV)/.installed: requirements.txt requirements-predict.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is older than 3.11: make PYTHON=python3.11")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-evaluation.txt \
		requirements-extra.txt requirements-jax.txt requirements-share.txt \
		requirements-cluster.txt
	$(RUN) -m pip install --quiet -r requirements-test.txt
	touch $@
