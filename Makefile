# What a developer runs. Everything here is also reachable without make.
.DEFAULT_GOAL := help
.PHONY: help check unit coverage test minimal explore bundles release lock latest man kills damage soak watch wear system system-vm system-arm64 run bench models

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

check: ## lint, format, types, shell scripts (run ./setup.sh test once before)
	@tests/check.sh

unit: ## unit and contract tests, under a minute: no root, browser or device (needs .venv with the extra `test`)
	@.venv/bin/python -m pytest -q --numprocesses 2 --dist loadfile -m 'not slow' tests/unit tests/contract $(ARGS)

coverage: ## branch coverage of appliance/ by unit and contract tests, also in htmlcov/ (ARGS="tests/unit/vision")
	@.venv/bin/python -m coverage erase
	@.venv/bin/python -m coverage run -m pytest -q --numprocesses 2 --dist loadfile -m 'not slow' $(or $(ARGS),tests/unit tests/contract)
	@.venv/bin/python -m coverage combine --quiet
	@.venv/bin/python -m coverage html --quiet
	@.venv/bin/python -m coverage report

test: ## set up what the tests need, then run the checks and all tests
	@./setup.sh test

kills: ## kill a recording 200 times and check what is left (run ./setup.sh test once before)
	@KILLS=200 .venv/bin/python -m pytest -q tests/e2e/daemon/test_power_cut.py

explore: ## property tests with other examples, 1000 for each property (run ./setup.sh test once before; ARGS="--hypothesis-seed 1")
	@EXAMPLES=200 .venv/bin/python -m pytest -q -m hypothesis --hypothesis-profile explore --timeout 1200 tests/unit tests/e2e/daemon/test_openapi.py $(ARGS)

damage: ## damage the records at random 300 times, salvage them, and start with each (run ./setup.sh test once before)
	@DAMAGES=300 .venv/bin/python -m pytest -q -k 'any_damage or damaged_files_come_back' tests/unit/records/test_store_damage.py tests/unit/records/test_salvage.py tests/e2e/daemon/test_damaged_records.py

soak: ## run viewers and sessions for two hours: memory, threads and descriptors must stay flat (ARGS="--seconds 600")
	@.venv/bin/python -m tests.soak $(ARGS)

watch: ## watch every write for ten minutes, live and recording: no picture may be written
	@WATCH_S=300 .venv/bin/python -m pytest -q tests/e2e/daemon/test_records.py -k picture

system: ## only the tests of devices (as root)
	@.venv/bin/python -m pytest -q tests/e2e/device

system-vm: ## tests in a virtual machine: power cuts, a kernel camera, limits (as root; an hour or more)
	@SYSTEM_VM=1 .venv/bin/python -m pytest -q -s tests/e2e/vm

system-arm64: ## the tests on the emulated processors of the boards, with both TFLite runtimes (as root)
	@ARM64_SUITES="trixie bookworm" .venv/bin/python -m pytest -q tests/e2e/device/test_arm64.py

bundles: ## make a bundle for every board, with JetPack 6 and 7 (run ./setup.sh test once before; needs the network)
	@JETPACKS=2 .venv/bin/python -m pytest -q tests/e2e/device/test_release.py

minimal: ## check, analyze and run with the run-time dependencies only
	@.venv/bin/python -m pytest -q tests/e2e/device/test_package.py

wear: ## boot a device and watch its card for five minutes, live and idle: nothing may be written (as root)
	@WATCH_S=300 .venv/bin/python -m pytest -q --timeout 1200 tests/e2e/device/test_install.py -k 'bookworm and not mistake'

run: ## set up and start the appliance
	@./setup.sh run

bench: ## measure where the processor time of a frame goes
	@.venv/bin/interview-grader bench

.PHONY: docs screenshots
docs: .venv-docs/.ready ## build the documentation site: build/docs/index.html (the first time needs the network)
	@.venv-docs/bin/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/docs

.venv-docs/.ready: requirements/docs.txt
	python3 -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet --require-hashes -r requirements/docs.txt
	touch $@

screenshots: ## take the pictures in docs/images from a running appliance (run ./setup.sh test once before)
	@.venv/bin/python -m tests.screenshots $(ARGS)

.PHONY: structure
structure: ## draw the packages and their imports into docs/architecture.md (run ./setup.sh test once before)
	@.venv/bin/python -m tests.structure

release: ## check changelog and tree, make a signed bundle in dist/, tag the commit (run ./setup.sh test once before; ARGS="--arch aarch64 --python 3.13", "--no-tag": a trial)
	@.venv/bin/python provisioning/release $(ARGS)

man: ## write the manual page and the completions for bash, zsh and fish to provisioning/manual/
	@.venv/bin/python provisioning/device/bundle/manual.py

lock: ## resolve the dependencies of pyproject.toml again: requirements/*.txt (ARGS=--upgrade: the newest versions)
	@.venv/bin/python requirements/lock.py $(ARGS)

latest: ## write the signed file `latest`, which names the newest bundles (ARGS="dist/*-1.2.3-*.bundle --days 60")
	@.venv/bin/python provisioning/latest $(ARGS)

models: ## rebuild the model files and the demo clip; with DATA=folder and WORK=folder also train (a night; QUICK=1: a trial)
	@command -v npm >/dev/null && command -v ffmpeg >/dev/null || { echo 'make models needs npm and ffmpeg: sudo apt-get install npm ffmpeg' >&2; exit 2; }
	python3 -m venv .venv-models
	.venv-models/bin/pip install --quiet --editable '.[models]'
	.venv-models/bin/python models/build/fetch_models.py
ifdef DATA
	.venv-models/bin/python models/build/build_detectors.py --calibrate --data $(DATA) $(if $(QUICK),--steps 20)
	.venv-models/bin/python models/build/train_expression.py --data $(DATA) --work $(WORK) $(if $(QUICK),--quick)
	.venv-models/bin/python models/build/export_expression.py --data $(DATA) --work $(WORK)
	.venv-models/bin/python models/build/calibrate_expression.py --data $(DATA)
else
	.venv-models/bin/python models/build/build_detectors.py
	.venv-models/bin/python models/build/export_expression.py
endif
	.venv-models/bin/python models/build/make_demo_clip.py
	.venv-models/bin/python models/build/fetch_models.py --check
