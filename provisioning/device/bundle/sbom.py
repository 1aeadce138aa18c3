"""The bill of materials of a release: every wheel and model in its bundle, as CycloneDX 1.6."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
import zipfile
from collections.abc import Iterable
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MODELS = "appliance/_models/"
_OWN = "interview-grader"


def sbom(wheels: Iterable[Path], onnx: Iterable[Path] = ()) -> bytes:
    """JSON, the same for the same files. `onnx`: the models for TensorRT, made from those in our wheel."""
    libraries = [_wheel(path) for path in wheels]
    (own,) = (path for path, component in libraries if component["name"] == _OWN)
    (application,) = (component for path, component in libraries if path == own)
    application["type"] = "application"
    components = [component for path, component in libraries if path != own]
    components += _models(own, onnx)
    components.sort(key=lambda each: str(each["bom-ref"]))
    content = json.dumps([application, components], sort_keys=True)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {"component": application},
        "components": components,
        "dependencies": [
            {"ref": application["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]},
            *({"ref": each["bom-ref"]} for each in components),
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _wheel(path: Path) -> tuple[Path, dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        (name,) = (each for each in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", each))
        about = BytesParser().parsebytes(archive.read(name))
    name, version = re.sub(r"[-_.]+", "-", about["Name"]).lower(), about["Version"]
    purl = f"pkg:{'generic' if name == _OWN else 'pypi'}/{name}@{version.replace('+', '%2B')}"
    return path, _component("library", name, purl, path.read_bytes(), _licences(about), version=version)


def _models(own: Path, onnx: Iterable[Path]) -> list[dict[str, Any]]:
    with zipfile.ZipFile(own) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name.startswith(_MODELS)}
    manifest = tomllib.loads(files.get(f"{_MODELS}manifest.toml", b"").decode())
    licences = {Path(each["file"]).stem: each["licence"] for each in manifest.get("models", {}).values()}
    files |= {f"onnx/{path.name}": path.read_bytes() for path in onnx}
    return [
        _component("machine-learning-model", path.name, name, content, _expression(licences.get(path.stem)))
        for name, content in files.items()
        if (path := PurePosixPath(name)).suffix in (".tflite", ".onnx")
    ]


def _component(
    kind: str, name: str, reference: str, content: bytes, licences: list[dict[str, Any]], **more: str
) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    made: dict[str, Any] = {"type": kind, "bom-ref": reference, "name": name, **more}
    made |= {"hashes": [{"alg": "SHA-256", "content": digest}], "licenses": licences}
    return made | ({"purl": reference} if reference.startswith("pkg:") else {})


def _licences(about: Message) -> list[dict[str, Any]]:
    """By the wheel's metadata: an expression, else the classifiers, else the first line of the text."""
    if about["License-Expression"]:
        return _expression(about["License-Expression"])
    classified = [each.split(" :: ") for each in about.get_all("Classifier", [])]
    names = [each[2] for each in classified if each[0] == "License" and len(each) == 3]
    text = (about["License"] or "").strip().splitlines()[:1]
    return [{"license": {"name": name}} for name in names or text]


def _expression(licence: str | None) -> list[dict[str, Any]]:
    return [{"expression": licence}] if licence else []
