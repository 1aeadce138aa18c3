#!/usr/bin/env bash
# Checks lint, format, types, shell scripts, dead code, the oldest Python, spelling and words. Runs all checks, then lists those that
# failed. Arguments: the names of the checks to run.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1

logs=$(mktemp -d)
trap 'rm -rf -- "$logs"' EXIT
wanted=("$@") names=() jobs=()
check() { # NAME COMMAND...
  [ ${#wanted[@]} -eq 0 ] || is_wanted "$1" || return 0
  "${@:2}" >"$logs/$1" 2>&1 &
  names+=("$1") jobs+=($!)
}

is_wanted() { # NAME
  local name
  for name in "${wanted[@]}"; do [ "$name" != "$1" ] || return 0; done
  return 1
}

mapfile -t scripts < <(grep -rlE '^#!(/bin/sh|/usr/bin/env bash)' setup.sh .ci tests provisioning --exclude='*.py')

check 'mypy' .venv/bin/python -m mypy --strict appliance
check 'mypy of provisioning' env MYPYPATH=provisioning .venv/bin/python -m mypy --strict --cache-dir .mypy_cache/provisioning provisioning/device
check 'ruff' .venv/bin/python -m ruff check --quiet .
check 'ruff format' .venv/bin/python -m ruff format --quiet --check .
check 'shellcheck' shellcheck "${scripts[@]}"
check 'dead code' .venv/bin/python -m vulture
check 'Python 3.10' .venv/bin/vermin --quiet --no-tips --violations --target=3.10- --exclude tomllib --exclude tomllib.TOMLDecodeError appliance provisioning tests requirements models/build
check 'spelling' .venv/bin/python -m codespell_lib
check 'words' .venv/bin/python -m tests.turns

[ ${#names[@]} -gt 0 ] || {
  printf 'check: no check is named %s\n' "$*" >&2
  exit 2
}

failed=()
for number in "${!names[@]}"; do
  wait "${jobs[number]}" || failed+=("${names[number]}")
  printf 'check: %s\n' "${names[number]}"
  cat -- "$logs/${names[number]}"
done

[ ${#failed[@]} -eq 0 ] && exit 0
printf 'check: failed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
exit 1
