"""A folder of your own models: `check` reports what fits, and each fault in a separate line."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import called

OUTPUT = 'output = "logits"'
CLASSES = 'classes = ["angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral"]'


class Own:
    """A copy of two float models, under other names, that a test may damage."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self.manifest = folder, folder / "manifest.toml"
        folder.mkdir()
        text = (models / "manifest.toml").read_text(encoding="utf-8")
        parts = re.split(r"(?m)^(?=\[models\.[\w-]+\]$)", text)
        kept = [
            part for part in parts if part.startswith(("[models.blazeface-short]", "[models.expression]"))
        ]
        assert len(kept) == 2
        head = 'schema = 1\n[defaults]\ndetector = "my-faces"\nclassifier = "my-expressions"\n\n'
        text = head + "".join(kept)
        for old, new in (("blazeface-short", "my-faces"), ("expression", "my-expressions")):
            text = text.replace(f"models.{old}", f"models.{new}")
        for old, new in (("blazeface_short", "faces"), ("expression", "expressions")):
            shutil.copy(models / f"{old}.tflite", folder / f"{new}.tflite")
            text = text.replace(f"{old}.tflite", f"{new}.tflite")
        self.manifest.write_text(text, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        text = self.manifest.read_text(encoding="utf-8")
        assert old in text, old
        self.manifest.write_text(text.replace(old, new, 1), encoding="utf-8")

    def check(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return called("check", "--set", f"vision.models={self.folder}", *arguments)

    def faults(self) -> list[str]:
        """The lines on standard error, the only output."""
        result = self.check("--set", "camera.backend=demo")
        assert (result.returncode, result.stdout) == (2, ""), result.stderr
        lines = result.stderr.splitlines()
        assert lines and all(line.startswith("interview-grader: ") for line in lines), result.stderr
        return lines

    def fault(self) -> str:
        (line,) = self.faults()
        return line


@pytest.fixture
def own(tmp_path: Path, models_dir: Path) -> Own:
    return Own(tmp_path / "mine", models_dir)


def test_a_good_copy_under_another_name_passes(own: Own) -> None:
    result = own.check()
    assert result.returncode == 0, result.stderr
    for pattern in (
        r"^detector +my-faces: faces\.tflite, .+ \d",
        r"^classifier +my-expressions: expressions\.tflite, .+ \d",
        r"^  digest +sha256 [0-9a-f]{12}… as in the manifest$",
        r"^  tensors +face float32\[1, 48, 48, 1\] -> "
        r"expression float32\[1, 7\], covered float32\[1, 1\], as in the manifest$",
        r"^  classes +angry, disgusted, fear, happy, sad, surprised, neutral$",
        r"^  trial +blank picture: no face; demo frame: 2 faces",
        r"^  trial +blank picture: \w+ 0\.\d+; demo frame: \w+ [01]\.\d+; scores are finite and sum to 1$",
        r"^no problems found$",
    ):
        assert re.search(pattern, result.stdout, re.MULTILINE), (pattern, result.stdout)


def test_the_included_models_pass() -> None:
    result = called("check")
    assert result.returncode == 0 and result.stdout.count("  trial ") == 3, result.stderr


def test_a_file_with_the_wrong_digest_is_not_opened(own: Own) -> None:
    path = own.folder / "expressions.tflite"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:1000])
    line = own.fault()
    assert str(path) in line and hashlib.sha256(path.read_bytes()).hexdigest() in line
    assert (
        f"expected {before[:12]}…" in line and "restore" in line and "write the digest of a new model" in line
    )


def test_a_missing_file(own: Own) -> None:
    (own.folder / "faces.tflite").unlink()
    line = own.fault()
    assert "faces.tflite" in line and "No such file" in line and "restore" in line


def test_a_file_that_is_not_a_model(own: Own) -> None:
    path = own.folder / "expressions.tflite"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"these are no weights")
    own.edit(before, hashlib.sha256(path.read_bytes()).hexdigest())
    line = own.fault()
    assert "expressions.tflite" in line and "cannot load it" in line


def test_a_consistent_manifest_that_does_not_fit_the_file(own: Own) -> None:
    own.edit("shape = [1, 48, 48, 1]", "shape = [1, 64, 64, 1]")
    own.edit("size = 48", "size = 64")
    line = own.fault()
    assert "input face float32[1, 48, 48, 1]: expected face float32[1, 64, 64, 1]" in line
    assert "correct the manifest" in line


def test_a_shape_that_does_not_fit_its_own_preprocessing(own: Own) -> None:
    own.edit("shape = [1, 48, 48, 1]", "shape = [1, 64, 64, 1]")
    within, file = own.faults()
    assert "models.my-expressions:" in within and "[1, 48, 48, 1]" in within
    assert "expressions.tflite" in file and "expected face float32[1, 64, 64, 1]" in file


def test_a_scale_and_a_name_that_the_file_does_not_have(own: Own) -> None:
    shape = "shape = [1, 48, 48, 1]\n"
    own.edit(f'{shape}dtype = "float32"', f'{shape}dtype = "int8"\nscale = 0.5\nzero_point = 3')
    own.edit('name = "expression"', 'name = "softmax"')
    lines = own.faults()
    assert len(lines) == 3
    assert "expected face int8[1, 48, 48, 1] scale 0.5 zero point 3" in lines[0]
    assert "no output 'softmax': expected one of expression, covered" in lines[1]
    assert "output expression float32[1, 7] is not in the manifest" in lines[2]


def test_a_wrong_count_of_classes(own: Own) -> None:
    own.edit(CLASSES, 'classes = ["angry", "happy", "neutral"]')
    line = own.fault()
    assert "models.my-expressions:" in line and "'angry', 'happy', 'neutral'" in line and "disgusted" in line


def test_each_unknown_or_missing_key_is_one_line(own: Own) -> None:
    own.edit(OUTPUT, 'outptu = "logits"\nlayers = 7')
    lines = own.faults()
    assert len(lines) == 3
    for key, remedy in (
        ("output", "add it"),
        ("outptu = 'logits'", "spelling"),
        ("layers = 7", "spelling"),
    ):
        assert [line for line in lines if f"models.my-expressions.{key}:" in line and remedy in line], key


def test_the_detectors_outputs_swapped(own: Own) -> None:
    own.edit('boxes = "regressors"', 'boxes = "classificators"')
    own.edit('scores = "classificators"', 'scores = "regressors"')
    line = own.fault()
    assert "models.my-faces:" in line and "decoding.boxes, 'classificators'" in line


def test_logits_declared_as_probabilities(own: Own) -> None:
    own.edit(OUTPUT, 'output = "probabilities"')
    text = own.manifest.read_text(encoding="utf-8")
    own.manifest.write_text(re.sub(r"\[.*calibration\]\n(?:.+\n)+", "", text), encoding="utf-8")
    line = own.fault()
    assert "my-expressions" in line and "sums to" in line and 'set output = "logits"' in line


def test_a_detector_that_finds_no_one(own: Own) -> None:
    own.edit("range = [-1.0, 1.0]", "range = [0.0, 0.001]")
    line = own.fault()
    assert "my-faces" in line and ("found no face" in line or "in a blank picture" in line)


def test_a_classifier_that_sees_nothing(own: Own) -> None:
    text = own.manifest.read_text(encoding="utf-8")
    head, middle, rest = text.partition("[models.my-expressions.preprocessing]")
    own.manifest.write_text(head + middle + rest.replace("range = [-1.0, 1.0]", "range = [0.0, 0.0]"))
    line = own.fault()
    assert "my-expressions" in line and "for a blank picture and for a face" in line


def test_a_name_that_is_not_in_the_manifest(own: Own) -> None:
    own.edit('classifier = "my-expressions"', 'classifier = "my-faces"')
    line = own.fault()
    assert "no classifier 'my-faces'; known: my-expressions" in line


@pytest.mark.parametrize("text", ["", "schema = 2\n", "models = 7\n", 'schema = 1\n[models]\nx = "y"\n'])
def test_a_file_that_is_not_a_manifest(own: Own, text: str) -> None:
    own.manifest.write_text(text)
    assert all("manifest.toml" in line for line in own.faults())


def test_a_missing_manifest(own: Own) -> None:
    own.manifest.unlink()
    assert "manifest.toml" in own.fault()


def test_all_faults_at_once(own: Own) -> None:
    (own.folder / "faces.tflite").unlink()
    own.edit("raw_scale = 128.0", "raw_scale = -1.0")
    own.edit("size = 48", 'size = 48\ncolor = "grey"')
    own.edit(CLASSES, CLASSES.replace("fear", "contempt"))
    own.edit('name = "expression"\nshape = [1, 7]', 'name = "expression"\nshape = [1, 8]')
    lines = own.faults()
    for words in (
        ["my-faces.decoding.raw_scale = -1.0", "greater than 0"],
        ["faces.tflite", "No such file"],
        ["my-expressions.preprocessing.color = 'grey'", "spelling"],
        ["expressions.tflite", "output expression float32[1, 7]: expected expression float32[1, 8]"],
    ):
        assert [line for line in lines if all(word in line for word in words)], (words, lines)
