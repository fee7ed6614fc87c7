# Every target is one or two plain commands: what `make` runs is what you can type.
PYTHON ?= python3
READY := .venv/ready-$(shell sha256sum envs/requirements.lock | cut -c1-16)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
SNAKEMAKE := $(RUN) snakemake --profile profiles/local
HER2ST := $(if $(wildcard ../shared/data/her2st),config/her2st_local.yaml,config/her2st.yaml)

.PHONY: setup demo her2st mob new-cohort test fuzz mutants lint bench bench-fiducials bench-placement bench-registration bench-nuclei bench-ties bench-finetuning bench-methods nuclei-network detector clean

setup: $(READY)

# torch goes first and alone: its own dependencies differ between the CPU and the CUDA build, the rest do not care.
$(READY):
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/requirements.lock
	touch $@

demo: $(READY)
	$(RUN) python scripts/serve_demo.py --folder data/simulated/demo -- snakemake --profile profiles/local --configfile config/demo.yaml
	$(MAKE) --no-print-directory results/demo/report/report.html
	@echo "leaderboard  results/demo/benchmark/leaderboard.csv"
	@echo "report       results/demo/report/report.html"

her2st: $(READY)
	$(SNAKEMAKE) --configfile $(HER2ST)
	$(MAKE) --no-print-directory results/her2st/report/report.html CONFIG=$(HER2ST)
	@echo "leaderboard  results/her2st/benchmark/leaderboard.csv"
	@echo "report       results/her2st/report/report.html"

mob: $(READY)
	$(SNAKEMAKE) --configfile config/mob.yaml

# make new-cohort ACCESSION=GSE190811
new-cohort: $(READY)
	$(RUN) python scripts/new_cohort.py $(ACCESSION)

# The report describes a finished build and is made again only after one.
results/%/report/report.html: results/%/benchmark/leaderboard.csv results/%/MANIFEST.sha256
	$(SNAKEMAKE) --quiet all --configfile $(or $(CONFIG),config/$*.yaml) --report $@

test: $(READY)
	$(RUN) bash tests/run

# Plausible bugs put into a copy of the library, one at a time: do the tests notice? ONLY narrows by module:
# make mutants ONLY='^matrices/'
mutants: $(READY)
	$(RUN) python tests/mutants/run.py --only '$(ONLY)'

# Over 5,000 damaged and hostile deposits, some minutes on one core.
fuzz: $(READY)
	$(RUN) python tests/fuzz/run.py --cases 5000 $(FUZZ)

lint: $(READY)
	$(RUN) bash tests/lint

# Ratios of one run, about ten CPU minutes.
bench: $(READY)
	$(RUN) python tests/bench/run.py --out docs/benchmarks.md

# How well the fiducial fit does, on real and rendered frames.
bench-fiducials: $(READY)
	$(RUN) python tests/bench/fiducials.py --out docs/fiducials-measured.md

# What of wrongly placed spots is seen without a frame, on real sections.
bench-placement: $(READY)
	$(RUN) python tests/bench/placement.py --out docs/placement-measured.md

# How well DAPI is registered with H&E, on simulated pairs and a real one.
bench-registration: $(READY)
	$(RUN) python tests/bench/registration.py --out docs/registration-measured.md

# How well nuclei are found, on real patches, simulated slides and the sections of her2st that were built.
bench-nuclei: $(READY)
	$(RUN) python tests/bench/nuclei.py --out docs/nuclei-measured.md

# How often intervals hold and verdicts are wrong, on simulated sections and donors.
bench-ties: $(READY)
	$(RUN) python tests/bench/ties.py --out docs/ties-measured.md

# What fine-tuning learns where it is known what patches and expression share (about ten minutes on one core).
bench-finetuning: $(READY)
	$(RUN) python tests/bench/planted_pairs.py --out docs/finetuning-measured.md

# What each method costs on real sections that were built (config/methods_local.yaml), about ten minutes on one core.
bench-methods: $(READY)
	$(RUN) python tests/bench/methods.py --out docs/methods-cost-measured.md

# Train the network of the nuclei method `guided` again (half an hour on two cores).
nuclei-network: $(READY)
	$(RUN) python scripts/train_nuclei.py --weights resources/nuclei_network/weights.safetensors

# Train the corner detector again (about 50 minutes on one core).
detector: $(READY)
	$(RUN) python scripts/train_detector.py --weights resources/fiducial_detector/weights.safetensors

clean:
	rm -rf results logs benchmarks .snakemake
