"""`provisioning/release` and its bundles, with the real wheels; needs pip and a network."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from device.bundle import container
from device.update.releases import Releases

import appliance
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(600)

JETPACKS = [("3.10", "12"), ("3.12", "13")][: int(os.environ.get("JETPACKS", "1"))]
"""Python and CUDA of JetPack 6 and 7; `make bundles` takes both."""


def release(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Of the checkout as it is, committed or not."""
    command = [sys.executable, str(ROOT / "provisioning" / "release"), "--no-tag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def says(releases: Releases, version: str, *arguments: str) -> str:
    done = subprocess.run(
        [releases.command(version), *arguments], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bundle_of_this_checkout_is_installed_without_the_network(tmp_path, monkeypatch):
    done = release("--key", tmp_path / "new" / "key", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "keep a copy in a safe place" in done.stdout
    (path,) = tmp_path.glob("*.bundle")
    signers = tmp_path / "signers"
    signers.write_text(done.stdout.rpartition("need this line: ")[2])
    told = container.unpack(path, signers, tmp_path / "unpacked")
    assert told.version == appliance.__version__
    materials = json.loads((tmp_path / "unpacked" / container.SBOM).read_bytes())
    listed = [materials["metadata"]["component"], *materials["components"]]
    hashes = {each["hashes"][0]["content"] for each in listed}
    wheels = {digest for name, digest in told.files.items() if name.endswith(".whl")}
    models = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "models").glob("*.tflite")}
    assert hashes == wheels | models
    assert not [each["name"] for each in listed if not each["licenses"]]

    for name in ("http_proxy", "https_proxy", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    releases = Releases(tmp_path / "opt", python=sys.executable, system_packages=False)
    version = releases.add(tmp_path / "unpacked")
    assert says(releases, version, "--version") == f"interview-grader {appliance.__version__}\n"
    assert "no problems found" in says(releases, version, "check", "--data-dir", str(tmp_path / "state"))


@pytest.mark.parametrize(("python", "cuda"), JETPACKS)
def test_a_bundle_for_another_board_has_what_only_that_one_needs(tmp_path, python, cuda):
    done = release("--key", tmp_path / "key", "--out", tmp_path, "--arch", "aarch64", "--python", python)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob(f"*-aarch64-py{python}.bundle")
    signers = tmp_path / "signers"
    signers.write_text(done.stdout.rpartition("need this line: ")[2])
    files = container.verify(path, signers).files
    assert "provisioning/manual/interview-grader.1" in files
    wheels = [Path(name).name for name in files if name.endswith(".whl")]
    packages = {name.split("-")[0]: name for name in wheels}
    assert "aarch64" in packages["numpy"] and packages["numpy"].startswith("numpy-2.")
    assert ("tomli" in packages) == (python == "3.10"), "Python 3.10 has no tomllib"
    assert packages["cuda_bindings"].startswith(f"cuda_bindings-{cuda}."), "a Jetson's GPU"
    assert "aarch64" in packages["cuda_bindings"]
    if importlib.util.find_spec("onnx"):
        assert {"onnx/compiled.json", "onnx/expression.onnx"} <= files.keys()
        assert not (ROOT / "onnx").exists(), "the checkout is left as it was"
    else:
        assert "continuing without models for TensorRT" in done.stdout
    assert not [name for name in wheels if "x86_64" in name or "cp311-cp311" in name]


def test_a_bundle_for_bookworm_suits_an_updater_that_knows_only_one_set(tmp_path):
    done = release("--key", tmp_path / "key", "--out", tmp_path, "--arch", "aarch64", "--python", "3.11")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*-aarch64-py3.11.bundle")
    signers = tmp_path / "signers"
    signers.write_text(done.stdout.rpartition("need this line: ")[2])
    container.unpack(path, signers, tmp_path / "unpacked")
    wheels = tmp_path / "unpacked/wheels"
    assert "\nnumpy==1." in (wheels / container.REQUIREMENTS).read_text(), "what camera packages there load"
    (numpy,) = wheels.glob("numpy-*.whl")
    assert numpy.name.startswith("numpy-1."), "with the others, where every updater looks"
    assert "\nnumpy==2." in (wheels / container.REQUIREMENTS_NUMPY_2).read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--python", "2.7"], "Python 2.7: expected one of 3.10"),
        (["--key", "/etc/passwd"], "/etc/passwd: cannot"),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path, arguments, words):
    done = release("--out", tmp_path, "--key", tmp_path / "key", *arguments)
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_a_checkout_is_installed_with_the_network(tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("appliance", "models", "provisioning", "requirements", "systemd"):
        ignored = shutil.ignore_patterns("__pycache__", "build")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.sh", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    releases = Releases(tmp_path / "opt", python=sys.executable, system_packages=False)
    version = releases.add_online(checkout)
    assert version == appliance.__version__
    assert says(releases, version, "--version") == f"interview-grader {version}\n"
    before = releases.command(version).stat().st_mtime_ns
    assert releases.add_online(checkout) == version
    assert releases.command(version).stat().st_mtime_ns == before
