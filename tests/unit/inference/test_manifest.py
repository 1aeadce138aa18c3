"""The models' manifest: any mismatch is a `ModelError` with value, expectation and next step."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from appliance.composition.reader import make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.errors import ModelError
from appliance.inference.manifest import Manifest, check_tensors
from appliance.values import EMOTIONS


@pytest.fixture
def folder(tmp_path: Path, models_dir: Path) -> Path:
    """A copy of the models that a test may damage."""
    for path in models_dir.iterdir():
        if path.suffix in (".tflite", ".toml"):
            shutil.copy(path, tmp_path)
    return tmp_path


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "manifest.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def opened(folder: Path) -> None:
    """Everything the daemon does with the models before it starts."""
    make_reader(load_config(ConfigOptions(data_dir=folder, settings=[f"vision.models={folder}"]), {}))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        opened(folder)
    return str(caught.value)


def test_the_models_that_ship_fit(folder: Path) -> None:
    opened(folder)


@pytest.mark.parametrize(
    "name", ["blazeface_full_int8.tflite", "blazeface_short_int8.tflite", "expression_int8.tflite"]
)
def test_a_truncated_file(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:1000])
    text = refusal(folder)
    assert str(path) in text and "sha256" in text and "truncated or replaced" in text and "restore" in text


def test_a_file_replaced_by_another_model(folder: Path) -> None:
    manifest = Manifest.load(folder)
    one, other = manifest.classifier(""), manifest.detector("")
    shutil.copy(folder / one.file, folder / other.file)
    named = re.findall(r"\b([0-9a-f]{12})…", refusal(folder))
    assert named == [one.sha256[:12], other.sha256[:12]], "both the actual and the expected digest are named"


def test_a_missing_file(folder: Path) -> None:
    (folder / "expression_int8.tflite").unlink()
    text = refusal(folder)
    assert "expression_int8.tflite" in text and "cannot be read" in text and "restore" in text


def test_a_file_with_the_right_digest_that_is_not_a_model(folder: Path) -> None:
    model = Manifest.load(folder).classifier("")
    path = folder / model.file
    path.write_bytes(b"these are no weights")
    edit(folder, model.sha256, hashlib.sha256(path.read_bytes()).hexdigest())
    assert "cannot load it" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "found", "expected"),
    [
        ('name = "face"', 'name = "image"', "face int8", "image int8"),
        ('[1, 7]\ndtype = "int8"', '[1, 7]\ndtype = "uint8"', "expression int8", "expression uint8"),
    ],
    ids=["name", "type"],
)
def test_tensors_that_differ_from_the_manifest(
    folder: Path, old: str, new: str, found: str, expected: str
) -> None:
    edit(folder, old, new)
    before, after = refusal(folder).split("expected", 1)
    assert found in before and expected in after
    assert "manifest" in after


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("size = 128", "size = 96", "size"),
        ("shape = [1, 128, 128, 3]", "shape = [1, 96, 96, 3]", "[1, 96, 96, 3]"),
        ("shape = [1, 896, 16]", "shape = [1, 896, 18]", "[1, 896, 18]"),
        ("{ cells = 8, per_cell = 6 },", "{ cells = 8, per_cell = 2 },", "anchors"),
        ('boxes = "regressors"', 'boxes = "boxes"', "boxes"),
        ('scores = "classificators"', 'scores = "regressors"', "scores"),
        ('colour = "grey"', 'colour = "rgb"', "colour"),
        ('"surprised", "neutral"]', '"surprise", "neutral"]', "surprise"),
        ('"surprised", "neutral"]', '"surprised"]', "classes"),
        ('covered = "covered"', 'covered = "hidden"', "hidden"),
        ('covered = "covered"', "", "outputs"),
        ("offsets = [", "offsets = [0.5, ", "calibration.offsets"),
        ('output = "logits"', 'output = "probabilities"', "calibration"),
        ("temperature = ", "temperature = -", "temperature"),
        ("weights = [\n", "weights = [\n    [1.0, 2.0],\n", "calibration.weights"),
        ("typical = [", "typical = [0.5, ", "typical"),
        ("radius = ", "radius = -", "radius"),
    ],
)
def test_a_manifest_that_contradicts_itself(folder: Path, old: str, new: str, named: str) -> None:
    edit(folder, old, new)
    assert named in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ("raw_scale = 128.0", "raw_scale = 0.0", "raw_scale"),
        ("raw_scale = 128.0", "", "raw_scale"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nlicense = "MIT"', "license"),
        ('role = "classifier"', 'role = "oracle"', "role"),
        ("[defaults]", "[default]", "defaults"),
        ('output = "logits"', 'output = "percent"', "output"),
        ('sha256 = "3bc1', 'sha256 = "XYZ1', "sha256"),
        ("schema = 1", "schema = = 1", "not valid TOML"),
    ],
)
def test_a_broken_manifest_is_reported_with_file_and_position(
    folder: Path, old: str, new: str, named: str
) -> None:
    edit(folder, old, new)
    text = refusal(folder)
    assert str(folder / "manifest.toml") in text
    assert named in text and "correct" in text


def test_all_mistakes_of_a_manifest_are_reported_at_once(folder: Path) -> None:
    edit(folder, "raw_scale = 128.0", "raw_scale = -1")
    edit(folder, 'output = "logits"', 'output = "percent"')
    text = refusal(folder)
    assert "raw_scale" in text and "output" in text


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml: cannot be read"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("name", ["blazeface", "expression-int8"], ids=["unknown", "of the other role"])
def test_a_detector_of_another_name(models_dir: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        Manifest.load(models_dir).detector(name)
    assert repr(name) in str(caught.value) and "blazeface-short" in str(caught.value)


def test_an_empty_name_is_the_default(models_dir: Path) -> None:
    manifest = Manifest.load(models_dir)
    assert manifest.detector("") == manifest.detector("blazeface-full-int8")
    assert manifest.verifier("") == manifest.detector("blazeface-short-int8")
    assert manifest.classifier("") == manifest.classifier("expression-int8")
    assert sorted(manifest.classifier("").classes) == sorted(EMOTIONS)


def test_the_order_of_tensors_in_the_file_does_not_matter(models_dir: Path) -> None:
    model = Manifest.load(models_dir).detector("blazeface-short")
    outputs = [tensor.spec() for tensor in model.outputs]
    check_tensors("a file", model, [tensor.spec() for tensor in model.inputs], outputs[::-1])
