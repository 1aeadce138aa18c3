"""Trains the expression net: first a deep teacher, then the net that ships.

    python models/build/train_expression.py --data DATA --work WORK [--threads 2] [--quick]

DATA is the folder with `emotion/fer_train_publictest.npz` and `facedet/facemask_cc0`; WORK stores the package
with the initial weights, a checkpoint after every epoch, the log and the results. A stopped run continues
when started again. Two cores without a GPU need a few hours; with bfloat16 units (AMX) about one. --quick
uses one face in sixteen, once per round: it runs everything in minutes, and the resulting net is useless.

1. `teacher`: the complete face recognition net (see expression_net.py), fine-tuned on the FER+ votes.
2. `student`: the net that ships. Its first layer is fitted to replace the teacher's first two, its blocks are
   the teacher's, and it learns from the votes and from the teacher's output for each training face.
3. Its last round learns from its own output for each face and its mirror image, with faces mixed in pairs.

Both have a second head that follows face-api's expression model; the student has a third for covered faces.
Everything random comes from one seed, but the order of sums (which depends on processor and thread count)
changes the last digits. So another run does not give the same bytes, but the same figures within about half a
point of accuracy.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import covered_faces
import numpy as np
import torch
import torch.nn.functional as F
from expression_data import Camera, as_input
from expression_net import Deep, PosedTeacher, Shipped
from labelled_faces import Votes, accuracy_and_f1, load_photographs, load_votes
from npm_package import FACE_API, unpacked
from torch import Tensor, nn
from tqdm import tqdm

BATCH = 128
RARE = 0.25
"""How much more often rare classes are shown: in proportion to (their number) ** -RARE."""
POSED_SHARE, COVERED_SHARE = 0.3, 0.3
"""Weights of the second and third head in the loss."""
TEACHER_SHARE = 0.6
"""The teacher's share of the student's target; the rest are the votes."""
ITSELF_SHARE = 0.5
"""The same in the last round, when the student is its own teacher."""
COVERED_EVERY = 4
"""One in this many faces of a student's batch is for learning covered faces."""
MIXED = 0.4
"""How two faces are mixed (Zhang and others 2018, "mixup"): shares come from a symmetric beta distribution
with this parameter."""
AVERAGING = 0.998
"""How slowly, per step, the averaged weights (the result) follow the trained ones."""
VIEWS = 4
QUICK = 16
"""One in this many faces is used in a trial."""


@dataclass(frozen=True)
class Recipe:
    """The parameters that differ between the two trainings."""

    epochs: int
    rate: float
    decay: float
    strength: float = 1.0
    mixed: float = 0.0
    """The share of batches with mixed faces."""


TEACHER = Recipe(12, 4e-4, 1e-2)
STUDENT = (
    Recipe(14, 1.2e-3, 2e-2),
    Recipe(26, 1e-3, 2e-2, strength=0.7),
    Recipe(26, 8e-4, 2e-2, strength=0.7),
    Recipe(26, 1e-3, 2e-2, strength=0.8, mixed=0.5),
)
"""The student's rates rise and fall four times; each round starts with the result of the previous one. After
the first the faces are changed less, closer to real input."""


class Run:
    """One training: net, averaged net, optimiser and progress, stored in one file."""

    def __init__(self, name: str, net: nn.Module, recipe: Recipe, steps: int, work: Path) -> None:
        self.name, self.recipe, self.steps, self.work = name, recipe, steps, work
        self.net = net.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.net).eval()
        self._optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=recipe.decay)
        self._rates = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, recipe.rate, recipe.epochs * steps, pct_start=0.12
        )
        self.epoch, self._step = 0, 0
        self._file = work / f"{name}.checkpoint"
        if self._file.exists():
            self._load()

    @property
    def done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.recipe.epochs

    def step(self, loss: Tensor) -> None:
        """One optimiser step for `loss`."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimiser.step()
        self._rates.step()
        self._step += 1
        keep = min(AVERAGING, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for slow, fast in zip(self.averaged.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)

    def finish_epoch(self, line: dict[str, object]) -> None:
        """Save everything to disk and add a line to the log."""
        self.epoch += 1
        names = ("net", "averaged", "_optimiser", "_rates")
        state = {name: getattr(self, name).state_dict() for name in names}
        partial = self._file.with_suffix(".part")
        torch.save(state | {"epoch": self.epoch, "step": self._step}, partial)
        partial.replace(self._file)
        log = self.work / f"{self.name}.csv"
        fresh = not log.exists()
        with log.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(line))
            if fresh:
                writer.writeheader()
            writer.writerow(line)

    def _load(self) -> None:
        state = torch.load(self._file, weights_only=True)
        for name in ("net", "averaged", "_optimiser", "_rates"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch, self._step = state["epoch"], state["step"]


@dataclass(frozen=True)
class Lessons:
    """All training data: faces and, row by row, the targets of two heads."""

    votes: Votes
    people: Tensor
    posed: Tensor
    photographs: tuple[np.ndarray, np.ndarray, np.ndarray]

    def epoch(self, random: np.random.Generator) -> Iterator[np.ndarray]:
        """The rows of each batch, with rare classes more often."""
        rows = self.votes.chosen
        classes = self.votes.shares[rows].argmax(1)
        weight = (1 / np.bincount(classes) ** RARE)[classes]
        order = random.choice(rows, len(rows), p=weight / weight.sum())
        yield from order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)


def train(run: Run, lessons: Lessons, seed: int, covering: Covering | None = None) -> nn.Module:
    """Run the remaining epochs; returns the averaged net."""
    while not run.done:
        random = np.random.default_rng((seed, run.epoch))
        generator = torch.Generator().manual_seed(1000 * seed + run.epoch)
        camera = Camera(generator, run.recipe.strength)
        torch.manual_seed(1000 * seed + run.epoch)
        run.net.train()
        total = 0.0
        bar = tqdm(lessons.epoch(random), f"{run.name} {run.epoch + 1}/{run.recipe.epochs}", run.steps)
        for rows in bar:
            x, _ = camera(lessons.votes.images[rows])
            batch = x, lessons.people[rows], lessons.posed[rows]
            if random.random() < run.recipe.mixed:
                batch = mixed(batch, random)
            loss = _loss(run.net, *batch)
            if covering:
                loss = loss + COVERED_SHARE * covering.loss(run.net, camera, random)
            run.step(loss)
            total += float(loss)
            bar.set_postfix(loss=f"{total / (bar.n + 1):.3f}")
        run.finish_epoch(
            {"epoch": run.epoch, "loss": f"{total / run.steps:.4f}", **_judge(run, lessons, covering)}
        )
    return run.averaged


class Covering:
    """Teaches the student's third head which faces are covered, with drawn and photographed examples."""

    def __init__(self, votes: Votes, data: Path) -> None:
        self._votes = votes
        faces, covered, kept = covered_faces.photographed(data)
        self._faces, self._covered = faces[~kept], covered[~kept]
        self._kept = as_input(faces[kept]), covered[kept]

    def loss(self, net: nn.Module, camera: Camera, random: np.random.Generator) -> Tensor:
        """The loss of a small batch: a third photographed, the rest drawn, half of them covered."""
        count = BATCH // COVERED_EVERY
        rows = random.choice(len(self._faces), count // 3)
        faces, truth = list(self._faces[rows]), list(self._covered[rows])
        for row in random.choice(self._votes.chosen, count - len(faces)):
            covered = random.random() < 0.5
            change = covered_faces.cover if covered else covered_faces.decorate
            keep = not covered and random.random() < 0.5
            faces.append(self._votes.images[row] if keep else change(self._votes.images[row], random))
            truth.append(float(covered))
        x, cut = camera(np.stack(faces))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))[2].float()[:, 0]
        # A random patch may cover a mouth or nothing: for these faces the truth is unknown.
        each = F.binary_cross_entropy_with_logits(logits, torch.tensor(truth), reduction="none")
        return (each * ~cut).sum() / (~cut).sum()

    def judge(self, net: nn.Module) -> dict[str, str]:
        """On held-out photographs: masked faces recognised, bare faces mistaken for covered ones."""
        with torch.no_grad():
            logits = net(self._kept[0])[2][:, 0].numpy()
        covered = self._kept[1] > 0
        return {
            "masks_told": f"{np.mean(logits[covered] > 0):.3f}",
            "bare_mistaken": f"{np.mean(logits[~covered] > 0):.3f}",
        }


def _loss(net: nn.Module, x: Tensor, people: Tensor, posed: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        predicted, followed, *_ = net(x.contiguous(memory_format=torch.channels_last))
    one = -(people * F.log_softmax(predicted.float(), 1)).sum(1).mean()
    other = -(posed * F.log_softmax(followed.float(), 1)).sum(1).mean()
    return one + POSED_SHARE * other


Batch = tuple[Tensor, Tensor, Tensor]


def mixed(batch: Batch, random: np.random.Generator) -> Batch:
    """Every face mixed with another of the batch, and the targets in the same shares."""
    share, others = float(random.beta(MIXED, MIXED)), torch.from_numpy(random.permutation(len(batch[0])))
    x, people, posed = (share * part + (1 - share) * part[others] for part in batch)
    return x, people, posed


def answers(net: nn.Module, faces: np.ndarray) -> list[Tensor]:
    """The output of every head for grey faces: logits, each (count, ...)."""
    net.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(faces), 256):
            x = as_input(faces[start : start + 256]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                parts.append([head.float() for head in net(x)])
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _judge(run: Run, lessons: Lessons, covering: Covering | None) -> dict[str, str]:
    """Figures on the two thirds that are used for choices."""
    votes, (faces, labels, kept) = lessons.votes, lessons.photographs
    found: dict[str, str] = {}
    sets = (
        ("people", votes.images[votes.selection], votes.majority[votes.selection]),
        ("photographs", faces[~kept], labels[~kept]),
    )
    for name, images, truth in sets:
        predicted = answers(run.averaged, images)[0].numpy().argmax(1)
        right, f1 = accuracy_and_f1(truth, predicted)
        found |= {f"{name}_accuracy": f"{right:.4f}", f"{name}_f1": f"{f1:.4f}"}
    return found | (covering.judge(run.averaged) if covering else {})


def follow_posed(package: Path, votes: Votes, work: Path) -> Tensor:
    """The output of face-api's expression model for every training face, (rows, 7); stored on disk."""
    file = work / "posed.npy"
    if not file.exists():
        teacher, found = PosedTeacher(package), np.zeros((len(votes.images), 7), np.float32)
        for start in tqdm(range(0, len(votes.chosen), 64), "second teacher"):
            rows = votes.chosen[start : start + 64]
            pixels = torch.from_numpy(votes.images[rows]).float()[:, None]
            pixels = F.interpolate(pixels, size=(PosedTeacher.SIZE,) * 2, mode="bilinear").repeat(1, 3, 1, 1)
            found[rows] = teacher(pixels).numpy()
        np.save(file, found)
    return torch.from_numpy(np.load(file))


def follow(net: nn.Module, votes: Votes, file: Path, seed: int) -> Tensor:
    """A net's output for every training face, (rows, 7): the mean over mildly changed views, each with its
    mirror image; stored in `file`."""
    if not file.exists():
        camera = Camera(torch.Generator().manual_seed(seed), strength=0.5)
        found = np.zeros((len(votes.images), 7), np.float32)
        for start in tqdm(range(0, len(votes.chosen), BATCH), file.stem):
            rows = votes.chosen[start : start + BATCH]
            for _ in range(VIEWS):
                found[rows] += _mirrored(net, camera(votes.images[rows])[0]).numpy() / VIEWS
        np.save(file, found)
    return torch.from_numpy(np.load(file))


@torch.no_grad()
def _mirrored(net: nn.Module, x: Tensor) -> Tensor:
    """The probabilities of faces, read together with their mirror images."""
    net.eval()
    both = torch.cat([x, x.flip(3)]).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(both)[0].float()
    return F.softmax(sum(logits.chunk(2)) / 2, 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Train the expression net.")
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints, log and results")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a trial of everything, in minutes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    package = unpacked(FACE_API, options.work) / "model"
    votes, recipes = load_votes(options.data), (TEACHER, *STUDENT)
    trial = options.work / "trial"
    if (options.work / "posed.npy").exists() and trial.exists() != options.quick:
        parser.error(f"{options.work} was started with{'out' * options.quick} --quick: use another --work")
    if options.quick:
        trial.touch()
        votes = replace(votes, chosen=votes.chosen[::QUICK])
        recipes = tuple(replace(recipe, epochs=1) for recipe in recipes)
    posed, photographs = follow_posed(package, votes, options.work), load_photographs(options.data)
    shares = torch.from_numpy(votes.shares)
    steps = len(votes.chosen) // BATCH

    lessons = Lessons(votes, shares, posed, photographs)
    teacher = train(Run("teacher", Deep(package), recipes[0], steps, options.work), lessons, options.seed)
    targets = follow(teacher, votes, options.work / "teacher.npy", options.seed)

    student: nn.Module = Shipped(package)
    if not (options.work / "student-1.checkpoint").exists():
        every = max(1, len(votes.chosen) // 4096)
        student.begin_from(teacher, as_input(votes.images[votes.chosen[::every]]))
    lessons = Lessons(votes, torch.lerp(shares, targets, TEACHER_SHARE), posed, photographs)
    covering = Covering(votes, options.data)
    for number, recipe in enumerate(recipes[1:], 1):
        if number == len(STUDENT):
            targets = follow(student, votes, options.work / "itself.npy", options.seed)
            lessons = replace(lessons, people=torch.lerp(shares, targets, ITSELF_SHARE))
        run = Run(f"student-{number}", copy.deepcopy(student), recipe, steps, options.work)
        student = train(run, lessons, options.seed + number, covering)
    torch.save(student.state_dict(), options.work / "student.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
