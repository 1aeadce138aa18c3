"""The bill of materials of a bundle: everything in it, and nothing else; CycloneDX 1.6."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest
from device.bundle import container, signing
from device.bundle.sbom import sbom

from tests.fakes.releases import ARCH, PYTHON, make_key, small_wheel

MANIFEST = b"""
[models.face]
file = "face_int8.tflite"
licence = "Apache-2.0"
"""
MODELS = {"appliance/_models/face_int8.tflite": b"a model", "appliance/_models/other.tflite": b"another"}


def licensed(wheel: Path, *lines: str) -> Path:
    """The wheel with more lines in its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            more = "".join(f"{line}\n" for line in lines).encode() if name.endswith("/METADATA") else b""
            archive.writestr(name, data + more)
    return wheel


@pytest.fixture
def wheels(tmp_path) -> Path:
    folder = tmp_path / "wheels"
    (folder / container.NUMPY_2).mkdir(parents=True)
    own = small_wheel(
        folder, "interview_grader", "1.2.3", {"appliance/_models/manifest.toml": MANIFEST, **MODELS}
    )
    licensed(own, "License-Expression: Apache-2.0")
    licensed(
        small_wheel(folder / container.NUMPY_2, "numpy", "2.0", {}),
        "License-Expression: BSD-3-Clause AND MIT",
    )
    licensed(
        small_wheel(folder, "numpy", "1.9", {}),
        "License: Copyright (c) 2005",
        "        All rights reserved",
        "Classifier: License :: OSI Approved :: BSD License",
    )
    licensed(
        small_wheel(folder, "Some_thing", "1.0+cpu", {}), "License: Apache 2.0", "Classifier: Topic :: X"
    )
    small_wheel(folder, "silent", "1", {})
    return folder


def parts(document: dict) -> dict:  # type: ignore[type-arg]
    return {each["bom-ref"]: each for each in document["components"]}


def test_it_lists_every_wheel_and_model_of_the_bundle_with_its_hash(wheels, tmp_path):
    checkout, onnx = tmp_path / "checkout", tmp_path / "onnx"
    for name in ("appliance", "provisioning", "systemd"):
        (checkout / name).mkdir(parents=True)
    (checkout / "appliance/__init__.py").write_text('__version__ = "1.2.3"\n')
    (checkout / "setup.sh").write_text("")
    onnx.mkdir()
    (onnx / "face_int8.onnx").write_bytes(b"for TensorRT")
    (onnx / "compiled.json").write_bytes(b"{}")
    key = make_key(tmp_path)
    made = container.build(checkout, tmp_path, arch=ARCH, python=PYTHON, wheels=wheels, key=key, onnx=onnx)
    signers = tmp_path / "signers"
    signers.write_text(signing.public_line(key))
    into = tmp_path / "into"
    container.unpack(made, signers, into)
    text = (into / container.SBOM).read_bytes()
    assert (tmp_path / f"{made.stem}.cdx.json").read_bytes() == text, (
        "next to the bundle, to be read without it"
    )

    document = json.loads(text)
    listed = {each["hashes"][0]["content"] for each in document["components"]}
    listed.add(document["metadata"]["component"]["hashes"][0]["content"])
    carried = [path.read_bytes() for path in [*into.rglob("*.whl"), *into.rglob("*.onnx")]]
    assert len(carried) == 6
    assert listed == {hashlib.sha256(content).hexdigest() for content in [*carried, *MODELS.values()]}


def test_it_has_what_the_standard_requires(wheels):
    document = json.loads(sbom(sorted(wheels.rglob("*.whl"))))
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    application = document["metadata"]["component"]
    assert (application["type"], application["name"], application["version"]) == (
        "application",
        "interview-grader",
        "1.2.3",
    )
    everything = [application, *document["components"]]
    references = [each["bom-ref"] for each in everything]
    assert len(set(references)) == len(references)
    for each in everything:
        assert each["type"] in ("application", "library", "machine-learning-model") and each["name"]
        (digest,) = each["hashes"]
        assert digest["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", digest["content"])
        for licence in each["licenses"]:
            assert list(licence) in (["expression"], ["license"])
    first, *others = document["dependencies"]
    assert first["ref"] == application["bom-ref"] and set(first["dependsOn"]) == set(references[1:])
    assert [each["ref"] for each in others] == references[1:]


def test_names_addresses_and_licences(wheels):
    found = parts(json.loads(sbom(sorted(wheels.rglob("*.whl")))))
    new, old = found["pkg:pypi/numpy@2.0"], found["pkg:pypi/numpy@1.9"]
    assert (new["version"], new["purl"]) == ("2.0", "pkg:pypi/numpy@2.0")
    assert new["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert old["licenses"] == [{"license": {"name": "BSD License"}}], "not the first line of the text"
    assert found["pkg:pypi/some-thing@1.0%2Bcpu"]["licenses"] == [{"license": {"name": "Apache 2.0"}}]
    assert found["pkg:pypi/silent@1"]["licenses"] == [], "no licence is invented"
    model = found["appliance/_models/face_int8.tflite"]
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"expression": "Apache-2.0"}]
    assert "appliance/_models/other.tflite" in found, "listed, although no manifest names it"


def test_the_same_wheels_give_the_same_bytes(wheels):
    found = sorted(wheels.rglob("*.whl"))
    assert sbom(found) == sbom(reversed(found))
