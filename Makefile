# From words to a recogniser: `make help` lists what there is. Works with GNU make 3.81 and later.

PYTHON ?= python3
BUILD  ?= $(if $(BUNDLE),$(BASE)_personal,build/$(if $(CORPUS),$(CORPUS),synthetic))

# These reach Python through the environment, never through a recipe: a word with a quote must not become shell.
override CORPUS := $(value CORPUS)
override SOURCE := $(value SOURCE)
override WORDS  := $(value WORDS)
override PARAMS := $(value PARAMS)
override NEGATIVE := $(value NEGATIVE)
override BUNDLE := $(value BUNDLE)
override CLUSTER := $(value CLUSTER)
export CORPUS SOURCE WORDS PARAMS NEGATIVE BUNDLE CLUSTER

# The build that a bundle lies in, for one that goes on from it.
BASE := $(patsubst %/,%,$(dir $(patsubst %/,%,$(BUNDLE))))
ifneq ($(filter-out 0 1,$(words $(BUNDLE))),)
$(error BUNDLE must be one path without spaces, and is '$(BUNDLE)')
endif
ifeq ($(BUNDLE)$(filter-out personalise,$(or $(MAKECMDGOALS),report)),)
$(error make personalise wants BUNDLE=build/x/bundle, and SOURCE=folder of takes)
endif

ifneq ($(words $(BUILD)),1)
$(error BUILD must be one path without spaces, and is '$(BUILD)')
endif

VENV    := .venv
READY   := $(VENV)/ready
# What only tests and a benchmark use: MediaPipe doesn't go with what the stages need.
RUNTIMES := .venv-runtimes
PINNED   := benchmarks/runtimes
PAGE     := web/node_modules
RUN     := $(VENV)/bin/python -m pipeline
SET     := $(BUILD)/settings
STAGES  := corpus features train quantize export tune evaluate bundle report memory

# make's target of a stage is its receipt; `$(call made,corpus)` is that file, `$(call read,audio)` a settings section.
made = $(foreach stage,$(1),$(BUILD)/$(stage)/receipt.json)
read = $(foreach section,$(1),$(SET)/$(section).json)

.PHONY: report $(filter-out report,$(STAGES)) help test bench bench-runtimes bench-listening bench-peers bench-recipe bench-personalise bench-own-words personalise runtimes listen page demo lint tensorboard clean check-settings
report: $(call made,report)         ## Everything up to the page that shows what was made (the default)
	@echo "The page:   $(BUILD)/report/index.html"
	@echo "The bundle: $(BUILD)/bundle"
	@echo "Try it:     $(RUN) classify $(BUILD)/bundle $(BUILD)/bundle/golden/*.wav"

corpus: $(call made,corpus)         ## Find or make the clips
features: $(call made,features)     ## MFCC of every clip
train: $(call made,train)           ## Train the bidirectional LSTM
quantize: $(call made,quantize)     ## Calibration clips; prune and cluster where set
export: $(call made,export)         ## TFLite files
tune: $(call made,tune)             ## A threshold for each word
evaluate: $(call made,evaluate)     ## Every figure, on the test clips
bundle: $(call made,bundle)         ## What a device gets

memory: $(call made,memory)         ## Why an LSTM: how long recurrent networks of equal size remember (docs/lstm.md)
	@echo "The pictures: $(BUILD)/memory/*.png, told of in docs/lstm.md"

# The section files are touched only when a setting (or the listing of SOURCE) changed: then, and only then, make sees it.
SECTIONS := audio corpus features augment model train quantize listen streams personalise memory report source negative
$(call read,$(SECTIONS)): check-settings ;
check-settings: $(READY)
	@$(RUN) settings $(SET)

$(call made,corpus): pipeline/stages/corpus.py $(call read,audio corpus source) | $(READY)
	$(RUN) corpus $(@D)
$(call made,features): pipeline/stages/features.py $(call made,corpus) $(call read,audio features augment) | $(READY)
	$(RUN) features $(BUILD)/corpus $(@D)
$(call made,train): pipeline/stages/train.py $(call made,features) $(call read,model train) | $(READY)
	$(RUN) train $(BUILD)/features $(@D)
$(call made,quantize): pipeline/stages/quantize.py $(call made,train) $(call read,quantize) | $(READY)
	$(RUN) quantize $(addprefix $(BUILD)/,corpus features train) $(@D)
$(call made,export): pipeline/stages/export.py $(call made,quantize) | $(READY)
	$(RUN) export $(addprefix $(BUILD)/,corpus features quantize) $(@D)
$(call made,tune): pipeline/stages/tune.py $(call made,export) $(call read,listen streams negative) | $(READY)
	$(RUN) tune $(addprefix $(BUILD)/,corpus export) $(@D)
$(call made,evaluate): pipeline/stages/evaluate.py $(call made,tune) | $(READY)
	$(RUN) evaluate $(addprefix $(BUILD)/,corpus features train quantize export tune) $(@D)
$(call made,bundle): pipeline/stages/bundle.py $(call made,evaluate) | $(READY)
	$(RUN) bundle $(addprefix $(BUILD)/,export tune evaluate) $(@D)
$(call made,report): pipeline/stages/report.py $(call made,bundle) $(call read,report) | $(READY)
	$(RUN) report $(addprefix $(BUILD)/,corpus evaluate bundle) $(@D)
$(call made,memory): pipeline/stages/memory.py $(call made,features) $(call read,memory) | $(READY)
	$(RUN) memory $(BUILD)/features $(@D)

personalise: report                 ## Train the network of BUNDLE on with the takes in SOURCE, and say before and after

# Such a build has its clips, features and network from the one that BUNDLE lies in; what isn't there, Python says.
ifneq ($(BUNDLE),)
$(call made,corpus features train): pipeline/stages/personalise.py
$(call made,corpus): $(call read,personalise) $(wildcard $(BUNDLE)/receipt.json)
$(call made,features): $(wildcard $(BASE)/features/receipt.json)
$(call made,train): $(wildcard $(BASE)/train/receipt.json)
endif

# Made anew when what is pinned changes; the mark is written last, so a broken install is not taken for a whole one.
$(READY): requirements.lock setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is " + sys.version.split()[0] + "; run: make PYTHON=python3.11")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The last line but one loads what MediaPipe is linked to, so that what the system lacks is said here.
$(RUNTIMES)/ready: $(addprefix $(PINNED)/,requirements.lock package-lock.json)
	rm -rf $(RUNTIMES)
	$(PYTHON) -m venv $(RUNTIMES)
	$(RUNTIMES)/bin/pip install --quiet --disable-pip-version-check -r $(PINNED)/requirements.lock
	npm ci --silent --prefix $(PINNED)
	$(RUNTIMES)/bin/python -c 'from mediapipe.tasks.python.core import mediapipe_c_bindings as c; c.load_raw_library()'
	touch $@

$(PAGE)/ready: web/package-lock.json
	npm ci --silent --prefix web
	touch $@

test: $(READY)                      ## Test the project; what this machine lacks is skipped and named
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

bench: $(READY)                     ## Speed, as ratios within one run; SOURCE: your clips instead of made ones
	$(VENV)/bin/python -m benchmarks.speed

listen: $(READY)                    ## Hear words by the microphone, with the recogniser of BUILD, until Ctrl-C
	$(VENV)/bin/python scripts/listen.py $(BUILD)/bundle

page: $(PAGE)/ready                 ## Install what the browser demo loads, LiteRT.js (needs npm)

demo: $(READY) $(PAGE)/ready        ## Hear words in a browser: a page for this machine only, with the recogniser of BUILD
	$(VENV)/bin/python scripts/demo.py $(BUILD)/bundle

runtimes: $(RUNTIMES)/ready         ## Install MediaPipe and LiteRT.js, to test the phone files in (needs npm and Chromium)

bench-runtimes: $(call made,bundle) $(RUNTIMES)/ready ## The phone files of BUILD in each runtime, on its test clips
	$(VENV)/bin/python -m benchmarks.runtimes $(BUILD)

bench-listening: $(READY)           ## Processor time that listening takes, with the energy gate and without
	$(VENV)/bin/python benchmarks/listening.py $(BUILD)

bench-peers: $(call made,train)     ## The networks people would pick instead, on the clips of BUILD; hours, in small pieces
	$(VENV)/bin/python -m benchmarks.peers $(BUILD)

bench-recipe: $(call made,train)    ## What each step of the recipe of BUILD is worth, by validation only; hours, in small pieces
	$(VENV)/bin/python -m benchmarks.recipe $(BUILD)

bench-personalise: $(call made,train) ## What one take of each word is worth to the speakers of the testing split of BUILD
	$(VENV)/bin/python -m benchmarks.personalise $(BUILD)

bench-own-words: $(call made,train) ## What the keywords of BUILD, a list for synthetic voices, are worth on its people; hours, in small pieces
	$(VENV)/bin/python -m benchmarks.own_words $(BUILD)

lint: $(READY)                      ## Style, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

tensorboard: $(READY)               ## Watch the training curves in a browser
	@test -d $(BUILD) || { echo "$(BUILD): no such build; give BUILD, or CORPUS" >&2; exit 1; }
	$(VENV)/bin/tensorboard --logdir $(BUILD) --host 127.0.0.1 --samples_per_plugin images=1000

# Folders that hold a receipt or a plan, and the settings by name: a folder of recordings may be called `train`.
clean:                              ## Remove what the stages made in BUILD, nothing else
	rm -rf $(dir $(wildcard $(foreach name,$(STAGES),$(BUILD)/$(name)/receipt.json $(BUILD)/$(name).part/plan.json $(BUILD)/$(name).old/receipt.json)))
	rm -f $(call read,$(SECTIONS))
	rmdir $(SET) 2>/dev/null || true

help:                               ## This list
	@echo "make [TARGET] [CORPUS=synthetic|speech_commands|mswc|folder] [SOURCE=folder] [WORDS=\"a, b\"] [PARAMS=params/x.toml] [NEGATIVE=folder] [BUILD=build/x]"
	@echo "make personalise BUNDLE=build/x/bundle SOURCE=folder [PARAMS=x.toml] [BUILD=build/y]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-17s %s\n", $$1, $$2}' Makefile
