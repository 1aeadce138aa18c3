#!/usr/bin/env bash
# Creates the environment .venv next to this file and runs or tests the appliance in it, or installs a device.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=$root/.venv
camera_packages=/usr/lib/python3/dist-packages/picamera2
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

usage() {
  cat <<'TEXT'
usage: ./setup.sh run [options]      set up if needed, then start the appliance (options: see run --help)
       ./setup.sh test [arguments]   set up what the tests need, then run the checks and pytest
       sudo ./setup.sh install       install the appliance on this board (options: see install --help)
TEXT
}

say() { printf 'setup: %s\n' "$*" >&2; }

fail() { # EXIT_CODE MESSAGE
  say "$2"
  exit "$1"
}

quietly() { # COMMAND...: its output is shown only if it fails
  local output
  output=$("$@" 2>&1) && return
  printf '%s\n' "$output" >&2
  return 1
}

# --- Packages of the distribution -----------------------------------------------------------------

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=500)
  local install=("${apt[@]}" install -y --no-install-recommends "$@")
  "${install[@]}" >/dev/null 2>&1 || { quietly "${apt[@]}" update && quietly "${install[@]}"; }
}

need_packages() { # WHAT_FOR PACKAGE...: installs missing packages, or names them in one line and fails
  local purpose=$1 package missing=()
  shift
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say "installing for $purpose: ${missing[*]}"
    apt_install "${missing[@]}" && return
  fi
  say "missing for $purpose: sudo apt-get install ${missing[*]}"
  return 1
}

# --- Python and its environment -------------------------------------------------------------------

fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

choose_python() {
  local candidate
  for candidate in /usr/bin/python3 python3 python3.{14..10}; do
    if fits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

make_venv() { # PYTHON
  local options=()
  if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$1" = /usr/bin/python3 ]; then
      need_packages 'the environment' python3-venv || exit 2
    else
      fail 2 "$1 has no venv module: install python3-venv for that Python, or use the distribution's python3"
    fi
  fi
  needs_system_packages "$1" && options=(--system-site-packages)
  say "creating .venv with $1 ($("$1" -V)) ${options[*]}"
  rm -rf -- "$venv"
  quietly "$1" -m venv "${options[@]}" -- "$venv" || fail 1 'the environment could not be created'
}

needs_system_packages() { [ -d "$camera_packages" ] && [ "$1" = /usr/bin/python3 ]; }

# A moved environment still starts, but its scripts contain the old path.
venv_works() { # PYTHON
  [ -x "$venv/bin/python" ] && fits "$venv/bin/python" || return 1
  "$venv/bin/python" -c 'import pip' 2>/dev/null && grep -qF "$venv/bin/python" "$venv/bin/pip" || return 1
  ! needs_system_packages "$1" || grep -q 'include-system-site-packages = true' "$venv/pyvenv.cfg"
}

# --- Installing -----------------------------------------------------------------------------------

# Camera packages of the distribution that are built against numpy 1 load with no other version.
camera_needs_numpy_1() {
  needs_system_packages /usr/bin/python3 &&
    /usr/bin/python3 -c 'import numpy, sys; sys.exit(numpy.__version__ >= "2")' 2>/dev/null
}

pip_install() { "$venv/bin/python" -m pip install --quiet "$@" 2>&1; }

install_locks() { # LOCK...: exactly what these files in requirements/ name
  local files=() lock
  for lock in "$@"; do files+=(-r "$root/requirements/$lock.txt"); done
  pip_install --require-hashes "${files[@]}"
}

install_runtime() { # ADDITIONAL_LOCK...
  local output runtime=litert
  ! camera_needs_numpy_1 || runtime=litert-numpy1
  say 'installing ai-edge-litert and the other dependencies (a minute the first time)'
  output=$(install_locks "$runtime" "$@") && return
  say "that failed ($(tail -n 1 <<<"$output")): trying tflite-runtime instead of ai-edge-litert"
  output=$(install_locks tflite-runtime "$@") && return
  printf '%s\n' "$output" >&2
  fail 1 'the appliance could not be installed: see the lines above'
}

install_appliance() { # build tools come from a lock too: pip would fetch them without checking hashes
  local tools made=yes
  tools=$(mktemp -d)
  { quietly pip_install --require-hashes --target "$tools" -r "$root/requirements/build.txt" &&
    PYTHONPATH=$tools quietly pip_install --no-deps --no-build-isolation -e "$root"; } || made=no
  rm -rf -- "$tools"
  [ $made = yes ] || fail 1 'the appliance could not be installed: see the lines above'
}

stamp() { # what an installation depends on
  {
    cat -- "$root/pyproject.toml" "$root/setup.sh" "$root"/requirements/*.txt
    "$venv/bin/python" -V
    printf '%s\n' "$venv"
    ls -d "$camera_packages" || true
  } 2>/dev/null | sha256sum
}

is_ready() { # PURPOSE
  [ -f "$venv/.ready-for-$1" ] && [ "$(stamp)" = "$(cat -- "$venv/.ready-for-$1")" ]
}

prepare() { # PURPOSE [LOCK...]
  local python
  is_ready "$1" && return
  python=$(choose_python) || { need_packages 'the environment' python3 python3-venv && python=$(choose_python); } ||
    fail 2 'no Python 3.10 to 3.14 found: install the distribution'"'"'s python3 and python3-venv'
  venv_works "$python" || make_venv "$python"
  rm -f -- "$venv"/.ready-for-*
  install_runtime "${@:2}"
  install_appliance
  [ "$1" = run ] || { install_quantiser; install_manual; }
  stamp >"$venv/.ready-for-run"
  stamp >"$venv/.ready-for-$1"
}

install_quantiser() { # one test rebuilds the int8 models; it is skipped without this tool
  "$venv/bin/python" -c 'import ai_edge_litert' 2>/dev/null || return 0 # it would install the other runtime
  ! camera_needs_numpy_1 || return 0                                    # it needs numpy 2
  quietly install_locks quantiser || say 'continuing without ai-edge-quantizer and onnx: models are not rebuilt'
}

install_manual() { # separate: one of its packages has no wheel, which the other locks require
  quietly install_locks manual || say 'continuing without argparse-manpage and shtab: bundles have no manual page'
}

# --- Commands -------------------------------------------------------------------------------------

command_run() {
  prepare run
  exec "$venv/bin/interview-grader" run "$@"
}

command_test() {
  prepare test test
  need_packages 'the tests' chromium fonts-dejavu-core gcc libc6-dev man-db shellcheck strace || true
  need_packages 'the other browsers' firefox-esr webkit2gtk-driver xvfb || true
  RUNLEVEL=1 need_packages 'the proxies' caddy haproxy nginx || true # 1: Debian installs them and starts none
  need_packages 'the camera of a Jetson' python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-good || true
  need_packages 'the cameras on the network' gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly || true
  need_packages 'the container' buildah mmdebstrap || true
  need_packages 'booting a device' mmdebstrap systemd-container iproute2 curl openssh-client || true
  need_packages 'emulating the boards' mmdebstrap qemu-user-static || true
  cd -- "$root"
  local checks=passed
  tests/check.sh || checks=failed
  # Two processes: half of the time is spent waiting for devices to boot. More would starve each other's daemons.
  CHECKS=$checks "$venv/bin/python" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
  [ "$checks" = passed ]
}

command_install() {
  local python
  python=$(choose_python) || fail 2 'no Python 3.10 to 3.14 found: install a newer release of the operating system'
  exec "$python" "$root/provisioning/install" "$@"
}

case ${1:-} in
  run) command_run "${@:2}" ;;
  test) command_test "${@:2}" ;;
  install) command_install "${@:2}" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
