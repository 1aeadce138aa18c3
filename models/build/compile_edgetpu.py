"""Compiles the int8 models for the Edge TPU (Coral).

    python models/build/compile_edgetpu.py --out DIR     # blazeface_full_int8_edgetpu.tflite …, compiled.json

Needs `edgetpu_compiler`, which Google provides only for x86-64 (see docs/accelerators.md). It exits with 1,
and reports the model, if the compiler leaves an operator to the CPU: each change between the two costs more
than the operator. Copy DIR to the device and set `engine.compiled` to its path.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fetch_models import MODELS, write

NAMES = ("blazeface_full_int8", "blazeface_short_int8", "expression_int8")
COMPILER = "edgetpu_compiler"
SUFFIX = "_edgetpu.tflite"


def left_to_the_cpu(output: str) -> int:
    """How many operators the compiler reports as not mapped; -1 if its report is unclear."""
    found = re.search(r"Number of operations that will run on CPU: (\d+)", output)
    if found:
        return int(found[1])
    # If it maps everything, it reports only the total.
    return 0 if "Total number of operations" in output and "not all operations" not in output else -1


def compile_model(model: Path, folder: Path) -> str:
    """Compile one model into a folder; returns the output of the compiler."""
    command = [COMPILER, "--show_operations", "--out_dir", str(folder), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not (folder / f"{model.stem}{SUFFIX}").exists():
        raise SystemExit(f"{model}: {COMPILER} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compile the int8 models for the Edge TPU.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    if shutil.which(COMPILER) is None:
        parser.error(f"{COMPILER} is not installed; install it on x86-64 Debian: see docs/accelerators.md")
    options.out.mkdir(parents=True, exist_ok=True)
    listing, left = {}, 0
    for name in NAMES:
        model = options.models / f"{name}.tflite"
        cpu = left_to_the_cpu(compile_model(model, options.out))
        made = (options.out / f"{name}{SUFFIX}").read_bytes()
        original = hashlib.sha256(model.read_bytes()).hexdigest()
        listing[f"{name}{SUFFIX}"] = {"sha256": hashlib.sha256(made).hexdigest(), "from": original}
        words = "unknown" if cpu < 0 else str(cpu)
        print(f"{name}: {len(made)} bytes, operators left to the CPU: {words}")
        left += cpu != 0
    write(options.out / "compiled.json", (json.dumps(listing, indent=1) + "\n").encode())
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
