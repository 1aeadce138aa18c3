"""Makes the demo clip: two people in front of a camera, for machines without a camera.

The people are two public-domain portraits that ship in Python packages:

    astronaut.png      scikit-image 0.25.2   skimage/data                          photograph: NASA
    grace_hopper.jpg   matplotlib 3.10.3     matplotlib/mpl-data/sample_data       photograph: US Navy

Pass the two files (--astronaut, --hopper), or install the packages, where the script finds them. Both people
are cut out, placed behind a desk in a drawn room, and filmed by a camera that shakes slightly, pans and
zooms, in changing light, with new sensor noise in every frame. Every movement returns to its start, so that
the clip can loop. The same seed gives the same pictures; with the same ffmpeg, also the same file.

Needs numpy, OpenCV (opencv-python-headless) and the `ffmpeg` command with libx264.

    python models/build/make_demo_clip.py --astronaut astronaut.png --hopper grace_hopper.jpg
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Matrix = NDArray[np.float64]

WIDTH, HEIGHT, RATE = 1280, 720, 30
MARGIN = 80  # the drawn room extends this far beyond the picture on every side
CLIP = Path(__file__).resolve().parents[1] / "demo" / "demo.mp4"


class ClipError(Exception):
    """The clip cannot be made."""


@dataclass(frozen=True)
class Portrait:
    """Where a portrait comes from, and how the person in it is cut out and placed.

    `outline` is drawn by hand, slightly outside the person; the exact edge is found from it.
    `face` is the centre of the face in the portrait, `seat` its position in the picture.
    """

    package: str
    file: str
    sha256: str
    face: tuple[float, float]
    seat: tuple[float, float]
    scale: float
    outline: tuple[tuple[int, int], ...]


ASTRONAUT = Portrait(
    package="skimage",
    file="data/astronaut.png",
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    face=(225.0, 128.0),
    seat=(372.0, 352.0),
    scale=2.3,
    outline=(
        (225, 13), (262, 18), (291, 44), (303, 80), (297, 112), (277, 130), (267, 150), (256, 172),
        (278, 190), (306, 232), (304, 240), (332, 256), (353, 285), (360, 330), (362, 512), (15, 512),
        (22, 430), (36, 325), (46, 288), (70, 245), (100, 218), (112, 205), (114, 188), (124, 166),
        (150, 152), (184, 150), (180, 126), (164, 115), (153, 98), (151, 72), (165, 45), (190, 22),
    ),
)  # fmt: skip

HOPPER = Portrait(
    package="matplotlib",
    file="mpl-data/sample_data/grace_hopper.jpg",
    sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
    face=(266.0, 243.0),
    seat=(898.0, 358.0),
    scale=1.14,
    outline=(
        (258, 22), (300, 38), (340, 62), (353, 85), (371, 92), (372, 130), (368, 178), (377, 195),
        (365, 240), (358, 275), (343, 302), (331, 316), (338, 326), (400, 358), (478, 387), (494, 412),
        (501, 440), (499, 520), (488, 599), (14, 599), (30, 480), (44, 405), (60, 384), (150, 350),
        (204, 322), (202, 302), (176, 280), (163, 235), (152, 200), (156, 180), (148, 160), (146, 110),
        (154, 92), (174, 84), (174, 66), (195, 45), (230, 26),
    ),
)  # fmt: skip


def find_portrait(portrait: Portrait, given: Path | None) -> Path:
    """Return the file given on the command line, or the one in the installed package."""
    if given is not None:
        return given
    spec = importlib.util.find_spec(portrait.package)
    if spec is None or spec.origin is None:
        raise ClipError(f"{portrait.package} is not installed; install it or pass {Path(portrait.file).name}")
    return Path(spec.origin).parent / portrait.file


def load_portrait(portrait: Portrait, path: Path) -> NDArray[np.uint8]:
    """Read a portrait as BGR, after checking that it is the one with the known outline."""
    if not path.is_file():
        raise ClipError(f"{path}: no such file")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != portrait.sha256:
        raise ClipError(f"{path}: SHA-256 is {found}, expected {portrait.sha256}")
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)


def ellipse(size: int) -> NDArray[np.uint8]:
    """Return a round structuring element."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def cut_out(image: NDArray[np.uint8], portrait: Portrait) -> Picture:
    """Return the share of the person in each pixel: 0 to 1, with a soft edge."""
    border = 20  # the outline may leave the portrait; erosion must not start at that edge
    drawn = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(drawn, [np.array(portrait.outline, np.int32)], (1,))
    wide = cv2.copyMakeBorder(drawn, border, border, border, border, cv2.BORDER_REPLICATE)
    inside = cv2.erode(wide, ellipse(15))[border:-border, border:-border]
    around = cv2.dilate(wide, ellipse(13))[border:-border, border:-border]
    guess = np.where(drawn > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    guess = np.where(inside > 0, cv2.GC_FGD, np.where(around == 0, cv2.GC_BGD, guess)).astype(np.uint8)
    cv2.setRNGSeed(1)
    room, people = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, guess, (0, 0, 1, 1), room, people, 4, cv2.GC_INIT_WITH_MASK)
    person = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.medianBlur(person * 255, 7)
    wide = cv2.copyMakeBorder(person, border, border, border, border, cv2.BORDER_REPLICATE)
    wide = cv2.GaussianBlur(cv2.erode(wide, ellipse(3)), (0, 0), 1.3)
    return wide[border:-border, border:-border].astype(np.float32) / 255.0


@dataclass(frozen=True)
class Layer:
    """A cut-out person at their size in the picture."""

    pixels: Picture  # height x width x 4: blue, green, red (each times alpha), alpha
    face: tuple[float, float]
    seat: tuple[float, float]


def make_layer(portrait: Portrait, path: Path) -> Layer:
    """Cut a person out, scale them, and extend them downwards beyond the picture's lower edge."""
    image = load_portrait(portrait, path)
    alpha = cut_out(image, portrait)
    size = (round(image.shape[1] * portrait.scale), round(image.shape[0] * portrait.scale))
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    mask = cv2.resize(alpha, size, interpolation=cv2.INTER_CUBIC)[..., None].clip(0.0, 1.0)
    pixels = np.concatenate([large * mask, mask], axis=2)
    pixels = cv2.copyMakeBorder(pixels, 0, 200, 0, 0, cv2.BORDER_REPLICATE)
    face = (portrait.face[0] * portrait.scale, portrait.face[1] * portrait.scale)
    return Layer(np.asarray(pixels, np.float32), face, portrait.seat)


def colour(red: int, green: int, blue: int) -> tuple[int, int, int]:
    """Return a colour in OpenCV's order."""
    return (blue, green, red)


def draw_room() -> Picture:
    """Draw the wall behind the two people, far out of focus."""
    width, height = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    shade = (1.06 - 0.22 * down - 0.10 * np.abs(across - 0.45))[..., None]
    room: Picture = (np.array(colour(168, 160, 148)) * shade).astype(np.float32)
    cv2.rectangle(room, (40, 60), (300, 560), colour(222, 232, 240), -1)  # a window
    for x in (40, 170, 300):
        cv2.line(room, (x, 60), (x, 560), colour(120, 116, 110), 14)
    cv2.line(room, (40, 300), (300, 300), colour(120, 116, 110), 10)
    cv2.rectangle(room, (1130, 150), (1440, 880), colour(112, 84, 62), -1)  # a bookcase
    spines = np.random.default_rng(5)
    for shelf in (160, 330, 500, 670):
        x = 1150
        while x < 1430:
            thick, tall = int(spines.integers(14, 30)), int(spines.integers(90, 140))
            grey = int(spines.integers(70, 150))
            hue = colour(*(grey + int(c) for c in spines.integers(-28, 28, 3)))
            cv2.rectangle(room, (x, shelf + 150 - tall), (x + thick, shelf + 150), hue, -1)
            x += thick + 2
    cv2.rectangle(room, (640, 130), (860, 290), colour(92, 88, 84), -1)  # a picture on the wall
    cv2.rectangle(room, (654, 144), (846, 276), colour(126, 148, 150), -1)
    for angle in np.linspace(-2.6, -0.5, 12):  # a plant
        tip = (round(700 + 120 * math.cos(angle)), round(640 + 190 * math.sin(angle)))
        cv2.line(room, (700, 660), tip, colour(74, 104, 66), 16)
    return np.asarray(cv2.GaussianBlur(room, (0, 0), 13), np.float32)


def draw_desk() -> Picture:
    """Draw the edge of the desk in front, with an alpha channel."""
    width, height = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    grain = np.random.default_rng(6).normal(0, 1, (height, width)).astype(np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), sigmaX=60, sigmaY=2) * 90, np.float32)
    top = MARGIN + 668
    down = np.clip((np.arange(height) - top) / (height - top), 0, 1)[:, None]
    tone = (1.0 - 0.35 * down)[..., None] * np.array(colour(134, 98, 68)) + grain[..., None]
    alpha = np.zeros((height, width), np.float32)
    alpha[top:] = 1.0
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 4.0), np.float32)[..., None]
    return np.concatenate([tone * alpha, alpha], axis=2).astype(np.float32)


class Wander:
    """A smooth movement that returns to its start: a few sines with integer periods in the clip."""

    def __init__(self, random: np.random.Generator, turns: tuple[int, ...], size: float) -> None:
        weights = random.uniform(0.5, 1.0, len(turns)) / np.sqrt(np.array(turns, float))
        self._weights = size * weights / np.abs(weights).sum()
        self._turns = np.array(turns, float)
        self._phases = random.uniform(0, 2 * math.pi, len(turns))

    def at(self, phase: float) -> float:
        """Return the movement at `phase` (0 to 1 over the clip), at most `size` to either side."""
        return float((self._weights * np.sin(2 * math.pi * self._turns * phase + self._phases)).sum())


def placed(source: tuple[float, float], target: tuple[float, float], scale: float, degrees: float) -> Matrix:
    """Return the 3x3 matrix that rotates and scales about `source` and moves that point to `target`."""
    angle = math.radians(degrees)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    x, y = source
    return np.array([[c, -s, target[0] - c * x + s * y], [s, c, target[1] - s * x - c * y], [0, 0, 1]])


def warp(picture: Picture, matrix: Matrix, border: int) -> Picture:
    """Transform a layer into the picture."""
    warped = cv2.warpAffine(picture, matrix[:2], (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.float32)


class Scene:
    """Everything in front of the camera, and how it moves."""

    def __init__(self, astronaut: Layer, hopper: Layer, seed: int, noise: float) -> None:
        random = np.random.default_rng(seed)
        self._people = (astronaut, hopper)
        self._room, self._desk = draw_room(), draw_desk()
        self._noise = noise
        self._random = random
        slow, hand = (1, 2, 3), (1, 2, 3, 5, 8, 13, 21)
        self._pan = Wander(random, hand, 26.0), Wander(random, hand, 13.0)
        self._roll = Wander(random, hand, 0.7)
        self._sway = [(Wander(random, slow, 12.0), Wander(random, slow, 6.0)) for _ in self._people]
        self._tilt = [Wander(random, (1, 2, 3, 4), 1.8) for _ in self._people]
        self._light = Wander(random, (1, 2, 3, 7), 0.10)
        self._warmth = Wander(random, (1, 2, 5), 0.045)
        self._side = Wander(random, (1, 2), 0.09)
        self._across = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]
        down = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None, None]
        self._vignette = 1.0 - 0.13 * (self._across**2 + 0.6 * down**2)

    def _compose(self, phase: float) -> Picture:
        """Return the evenly lit scene at this moment."""
        middle = (WIDTH / 2, HEIGHT / 2)
        zoom = 1.05 - 0.05 * math.cos(2 * math.pi * phase)
        pan = (self._pan[0].at(phase), self._pan[1].at(phase))

        def seen(depth: float) -> Matrix:
            """The camera's view of objects at a depth: farther objects move and grow less."""
            target = (middle[0] + depth * pan[0], middle[1] + depth * pan[1])
            return placed(middle, target, 1.0 + (zoom - 1.0) * depth, self._roll.at(phase))

        room_middle = (MARGIN + middle[0], MARGIN + middle[1])
        picture = warp(self._room, seen(0.6) @ placed(room_middle, middle, 1.0, 0.0), cv2.BORDER_REPLICATE)
        lean = 0.075 * math.sin(4 * math.pi * phase)  # one leans forward while the other leans back
        moves = zip(self._people, self._sway, self._tilt, (lean, -lean), strict=True)
        for person, sway, tilt, nearer in moves:
            seat = (person.seat[0] + sway[0].at(phase), person.seat[1] + sway[1].at(phase) + 60 * nearer)
            inside = placed(person.face, seat, 1.0 + nearer, tilt.at(phase))
            layer = warp(person.pixels, seen(1.0) @ inside, cv2.BORDER_CONSTANT)
            picture = picture * (1.0 - layer[..., 3:]) + layer[..., :3]
        desk = warp(self._desk, seen(1.25) @ placed(room_middle, middle, 1.0, 0.0), cv2.BORDER_REPLICATE)
        return np.asarray(picture * (1.0 - desk[..., 3:]) + desk[..., :3], np.float32)

    def _grain(self) -> Picture:
        """Return the sensor noise of one frame: mostly in brightness, slightly in colour."""
        luma = self._random.standard_normal((HEIGHT, WIDTH), np.float32)
        chroma = self._random.standard_normal((HEIGHT // 4, WIDTH // 4, 3), np.float32)
        coarse = cv2.resize(chroma, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        return np.asarray(self._noise * (luma[..., None] + 0.4 * coarse), np.float32)

    def frame(self, phase: float) -> NDArray[np.uint8]:
        """Return one frame, BGR."""
        gain = 1.0 + self._light.at(phase) + 0.004 * float(self._random.standard_normal())
        warmth = self._warmth.at(phase)
        tint = np.array([1.0 - warmth, 1.0, 1.0 + warmth], np.float32)
        light = gain * tint * (1.0 + self._side.at(phase) * self._across) * self._vignette
        return np.asarray(np.clip(self._compose(phase) * light + self._grain() + 0.5, 0, 255), np.uint8)

    def frames(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of one loop of the clip."""
        for index in range(count):
            yield self.frame(index / count)


def encode(frames: Iterator[NDArray[np.uint8]], target: Path, crf: float) -> None:
    """Write H.264 that starts at once, is cheap to decode and seek, and contains no date."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "-"]
    command += ["-an", "-c:v", "libx264", "-profile:v", "main", "-preset", "slower", "-crf", str(crf)]
    command += ["-bf", "0", "-refs", "2", "-g", str(RATE), "-keyint_min", str(RATE), "-sc_threshold", "0"]
    command += ["-threads", "1", "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
    command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    command += ["-fflags", "+bitexact", "-flags", "+bitexact", "-movflags", "+faststart", str(target)]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
    except FileNotFoundError as error:
        raise ClipError("the ffmpeg command is not installed") from error
    assert process.stdin is not None
    try:
        for frame in frames:
            process.stdin.write(frame.tobytes())
        process.stdin.close()
    except BrokenPipeError:
        pass  # ffmpeg has reported why, and its exit code shows the failure
    if process.wait() != 0:
        raise ClipError("ffmpeg could not encode the clip")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if the clip was made, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Make the demo clip from two portraits.")
    parser.add_argument("--astronaut", type=Path, help="astronaut.png (default: from installed scikit-image)")
    parser.add_argument("--hopper", type=Path, help="grace_hopper.jpg (default: from installed matplotlib)")
    parser.add_argument("--output", type=Path, default=CLIP, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=14, help="length of the clip (default: %(default)s)")
    parser.add_argument(
        "--noise", type=float, default=2.4, help="grey levels of noise (default: %(default)s)"
    )
    parser.add_argument("--crf", type=float, default=23.0, help="lower is better (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="chooses the movements (default: %(default)s)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        astronaut = make_layer(ASTRONAUT, find_portrait(ASTRONAUT, options.astronaut))
        hopper = make_layer(HOPPER, find_portrait(HOPPER, options.hopper))
        options.output.parent.mkdir(parents=True, exist_ok=True)
        scene = Scene(astronaut, hopper, options.seed, options.noise)
        encode(scene.frames(options.seconds * RATE), options.output, options.crf)
    except ClipError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.output}: {options.output.stat().st_size} bytes, {options.seconds} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
