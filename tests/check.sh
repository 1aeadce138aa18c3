#!/usr/bin/env bash
# Lint, format, types and shell scripts. Goes through all of them, then names those that failed.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1

failed=()
check() { # NAME COMMAND...
  printf 'check: %s\n' "$1"
  "${@:2}" || failed+=("$1")
}

mapfile -t scripts < <(grep -rlE '^#!(/bin/sh|/usr/bin/env bash)' setup.sh .ci tests provisioning --exclude='*.py')

check 'ruff' .venv/bin/python -m ruff check --quiet .
check 'ruff format' .venv/bin/python -m ruff format --quiet --check .
check 'mypy' .venv/bin/python -m mypy --strict appliance
check 'mypy of provisioning' env MYPYPATH=provisioning .venv/bin/python -m mypy --strict provisioning/device
check 'shellcheck' shellcheck "${scripts[@]}"

[ ${#failed[@]} -eq 0 ] && exit 0
printf 'check: failed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
exit 1
