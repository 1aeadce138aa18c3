#!/usr/bin/env bash
# Checks lint, format, types and shell scripts. Runs all checks, then lists those that failed.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1

logs=$(mktemp -d)
trap 'rm -rf -- "$logs"' EXIT
names=() jobs=()
check() { # NAME COMMAND...
  "${@:2}" >"$logs/$1" 2>&1 &
  names+=("$1") jobs+=($!)
}

mapfile -t scripts < <(grep -rlE '^#!(/bin/sh|/usr/bin/env bash)' setup.sh .ci tests provisioning --exclude='*.py')

check 'mypy' .venv/bin/python -m mypy --strict appliance
check 'mypy of provisioning' env MYPYPATH=provisioning .venv/bin/python -m mypy --strict --cache-dir .mypy_cache/provisioning provisioning/device
check 'ruff' .venv/bin/python -m ruff check --quiet .
check 'ruff format' .venv/bin/python -m ruff format --quiet --check .
check 'shellcheck' shellcheck "${scripts[@]}"

failed=()
for number in "${!names[@]}"; do
  wait "${jobs[number]}" || failed+=("${names[number]}")
  printf 'check: %s\n' "${names[number]}"
  cat -- "$logs/${names[number]}"
done

[ ${#failed[@]} -eq 0 ] && exit 0
printf 'check: failed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
exit 1
