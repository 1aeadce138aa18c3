# What a developer runs. Everything here is also reachable without make.
.DEFAULT_GOAL := help
.PHONY: help check unit coverage test minimal explore bundles release lock latest man kills damage soak watch wear system system-vm system-arm64 run bench models

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

check: ## lint, format, types, shell scripts (needs one ./setup.sh test before)
	@tests/check.sh

unit: ## the tests of the parts, under a minute: no root, browser or device (needs .venv with the extra `test`)
	@.venv/bin/python -m pytest -q --numprocesses 2 --dist loadfile -m 'not slow' tests/unit tests/contract $(ARGS)

coverage: ## which lines and branches of appliance/ the tests of the parts reach: figures, and htmlcov/ (ARGS="tests/unit/vision")
	@.venv/bin/python -m coverage erase
	@.venv/bin/python -m coverage run -m pytest -q --numprocesses 2 --dist loadfile -m 'not slow' $(or $(ARGS),tests/unit tests/contract)
	@.venv/bin/python -m coverage combine --quiet
	@.venv/bin/python -m coverage html --quiet
	@.venv/bin/python -m coverage report

test: ## set up what the tests need, then check and run all of them
	@./setup.sh test

kills: ## kill a recording 200 times and look what is left (needs one ./setup.sh test before)
	@KILLS=200 .venv/bin/python -m pytest -q tests/e2e/daemon/test_power_cut.py

explore: ## other examples than those of the suite, 1000 a property (needs one ./setup.sh test before; ARGS="--hypothesis-seed 1")
	@EXAMPLES=200 .venv/bin/python -m pytest -q -m hypothesis --hypothesis-profile explore --timeout 1200 tests/unit tests/e2e/daemon/test_openapi.py $(ARGS)

damage: ## damage the records 300 times by chance, salvage them, and start on each (needs one ./setup.sh test before)
	@DAMAGES=300 .venv/bin/python -m pytest -q -k 'any_damage or damaged_files_come_back' tests/unit/records/test_store_damage.py tests/unit/records/test_salvage.py tests/e2e/daemon/test_damaged_records.py

soak: ## two hours of viewers and sessions: memory, threads and descriptors must stay flat (ARGS="--seconds 600")
	@.venv/bin/python -m tests.soak $(ARGS)

watch: ## watch every write for ten minutes, live and recording: no picture may be among them
	@WATCH_S=300 .venv/bin/python -m pytest -q tests/e2e/daemon/test_records.py -k picture

system: ## the tests of whole devices alone (as root)
	@.venv/bin/python -m pytest -q tests/e2e/device

system-vm: ## a whole system in a virtual machine: power cuts, a kernel camera, limits (root; an hour or more)
	@SYSTEM_VM=1 .venv/bin/python -m pytest -q -s tests/e2e/vm

system-arm64: ## the tests on the emulated processors of the boards, with both TFLite runtimes (as root)
	@ARM64_SUITES="trixie bookworm" .venv/bin/python -m pytest -q tests/e2e/device/test_arm64.py

bundles: ## make a bundle for every board, JetPack 6 and 7 among them (needs one ./setup.sh test before, and the network)
	@JETPACKS=2 .venv/bin/python -m pytest -q tests/e2e/device/test_release.py

minimal: ## check, analyze and run in an environment with the run-time dependencies alone
	@.venv/bin/python -m pytest -q tests/e2e/device/test_package.py

wear: ## boot a device and watch its card for five minutes, live and idle: nothing may be written (as root)
	@WATCH_S=300 .venv/bin/python -m pytest -q --timeout 1200 tests/e2e/device/test_install.py -k 'bookworm and not mistake'

run: ## set up and start the appliance
	@./setup.sh run

bench: ## where the processor time goes, frame by frame
	@.venv/bin/interview-grader bench

.PHONY: structure
structure: ## draw the packages and their imports into docs/architecture.md (needs one ./setup.sh test before)
	@.venv/bin/python -m tests.structure

release: ## check changelog and tree, make a signed bundle in dist/, tag the commit (needs one ./setup.sh test before; ARGS="--arch aarch64 --python 3.13", "--no-tag": a trial)
	@.venv/bin/python provisioning/release $(ARGS)

man: ## write the manual page and the completions for bash, zsh and fish to provisioning/manual/
	@.venv/bin/python provisioning/device/bundle/manual.py

lock: ## resolve the dependencies of pyproject.toml again: requirements/*.txt (ARGS=--upgrade: the newest versions)
	@.venv/bin/python requirements/lock.py $(ARGS)

latest: ## say which bundles are the newest, for devices that look (ARGS="dist/*-1.2.3-*.bundle --days 60")
	@.venv/bin/python provisioning/latest $(ARGS)

models: ## make the model files and the demo clip again; DATA=folder and WORK=folder: train anew as well (a night; QUICK=1: a trial)
	@command -v npm >/dev/null && command -v ffmpeg >/dev/null || { echo 'make models needs npm and ffmpeg: sudo apt-get install npm ffmpeg' >&2; exit 2; }
	python3 -m venv .venv-models
	.venv-models/bin/pip install --quiet --editable '.[models]'
	.venv-models/bin/python models/build/fetch_models.py
ifdef DATA
	.venv-models/bin/python models/build/build_detectors.py --calibrate --data $(DATA) $(if $(QUICK),--steps 20)
	.venv-models/bin/python models/build/train_expression.py --data $(DATA) --work $(WORK) $(if $(QUICK),--quick)
	.venv-models/bin/python models/build/export_expression.py --data $(DATA) --work $(WORK)
else
	.venv-models/bin/python models/build/build_detectors.py
	.venv-models/bin/python models/build/export_expression.py
endif
	.venv-models/bin/python models/build/make_demo_clip.py
	.venv-models/bin/python models/build/fetch_models.py --check
