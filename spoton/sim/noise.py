"""A detector's mistakes as a model: what it misses, how its boxes shake, what it sees that is not there, its scores.

Every number can be fitted to a real detector (``noise_fit``). Heights count as shares of the picture's height, since
detectors look at pictures of a fixed size; times in seconds, so that a model holds at any frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USUAL_SHARE = 0.2
"""Of the picture's height: the height of a person for whom the intercepts below hold."""
EDGES = ("x", "foot", "width", "height")
"""What of a box shakes: its middle by its width, its lower edge by its height, and the logarithms of both sizes."""

Four = tuple[float, float, float, float]


class Chance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that depends on the person: intercept + per_doubling log2(h / (0.2 H)) + per_occlusion (1 - visible)."""

    intercept: float
    per_doubling: float = 0.0
    per_occlusion: float = 0.0

    def of(self, height_share: Floats, visible: Floats) -> Floats:
        """(N,) for persons of these heights (N,), shares of the picture's, of whom this much (N,) is visible."""
        doublings = np.log2(np.maximum(height_share, 1e-6) / USUAL_SHARE)
        return np.asarray(self.intercept + self.per_doubling * doublings + self.per_occlusion * (1.0 - visible))


class Noise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A detector's mistakes.

    miss: the log-odds of being missed; miss_tau_s: how long misses hang together. bias, sigma, tau_s: of ``EDGES``,
    mean and spread of what a box is off, and how long an error lasts (Ornstein and Uhlenbeck). score: the log-odds of a
    true box's score, score_sigma their spread. false_per_frame: boxes around nobody, in the mean; false_s: how long one
    lasts; false_near: share of them whose middle is on somebody for that reason, the others lie anywhere; false_height,
    false_height_sigma: log2 of its height over 0.2 of the picture's; false_aspect, false_aspect_sigma: log2 of width
    over height; false_score, false_score_sigma: the log-odds of its score. score_min: nothing below is told. fitted:
    what it was fitted to, in words.
    """

    miss: Chance
    miss_tau_s: float
    bias: Four
    sigma: Four
    tau_s: Four
    score: Chance
    score_sigma: float
    false_per_frame: float
    false_s: float
    false_near: float
    false_height: float
    false_height_sigma: float
    false_aspect: float
    false_aspect_sigma: float
    false_score: float
    false_score_sigma: float
    score_min: float = 0.05
    fitted: dict[str, str] = {}

    def __post_init__(self) -> None:
        spreads = {
            "sigma": self.sigma, "tau_s": self.tau_s, "miss_tau_s": (self.miss_tau_s,),
            "score_sigma": (self.score_sigma,), "false_per_frame": (self.false_per_frame,), "false_s": (self.false_s,),
            "false_height_sigma": (self.false_height_sigma,), "false_aspect_sigma": (self.false_aspect_sigma,),
            "false_score_sigma": (self.false_score_sigma,),
        }  # fmt: skip
        for name, values in spreads.items():
            if not all(0 <= value < 1e4 for value in values):
                raise ValueError(f"{name} = {values} is below 0 or no number")
        if not 0 <= self.false_near <= 1:
            raise ValueError(f"false_near = {self.false_near} is not between 0 and 1")
        if not 0 < self.score_min < 1:
            raise ValueError(f"score_min = {self.score_min} is not between 0 and 1")


def read_noise(path: Path) -> Noise:
    """A model from a TOML file; InputError names what is wrong with it."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Noise)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise InputError(
            f"noise = {str(path)!r} cannot be read: {error}", remedy="make one with: spoton sim fit-noise"
        ) from error


def usual_noise() -> Noise:
    """The model that ships with SpotOn; its ``fitted`` says what it was fitted to."""
    return read_noise(Path(__file__).with_name("usual_noise.toml"))


def noise_text(noise: Noise) -> str:
    """The model as TOML, to six digits."""
    lines = ["# A detector's mistakes, for spoton sim --noise. Made by: spoton sim fit-noise"]
    values = msgspec.to_builtins(noise)
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in values.items():
        if key not in tables:
            shown = [f"{one:.6g}" if "." in f"{one:.6g}" or "e" in f"{one:.6g}" else f"{one:.6g}.0" for one in
                     (value if isinstance(value, (list, tuple)) else [value])]  # fmt: skip
            lines.append(f"{key} = " + (f"[{', '.join(shown)}]" if isinstance(value, (list, tuple)) else shown[0]))
    for key, table in tables.items():
        lines += ["", f"[{key}]"]
        for name, one in table.items():
            shown_one = msgspec.json.encode(one).decode() if isinstance(one, str) else repr(round(float(one), 6))
            lines.append(f"{name} = {shown_one}")
    return "\n".join(lines) + "\n"


@dataclass(slots=True, eq=False)
class Detected:
    """One frame of all cameras. camera: (K,) ascending; boxes_px: (K, 4) left, top, width, height; scores: (K,)."""

    camera: Ints
    boxes_px: Floats
    scores: Floats


@dataclass(slots=True, eq=False)
class NoisyDetector:
    """Turns what cameras really see into what a detector would say, frame after frame; the same seed, the same words.

    sizes_px: (C, 2) of the pictures. people: how many rows the crowd has. What it remembers is errors by camera and
    row, which hang together in time, and the false boxes that are still there.
    """

    noise: Noise
    seed: int
    sizes_px: Floats
    people: int
    fps: float
    _errors: Floats = field(init=False)
    _last: Ints = field(init=False)
    _person: Ints = field(init=False)
    _false: Floats = field(init=False)
    _chance: np.random.Generator = field(init=False)
    _frame: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        cells = len(self.sizes_px) * self.people
        self._errors = np.zeros((cells, 5))
        self._last = np.full(cells, -(10**9))
        self._person = np.zeros(cells, dtype=np.int64)
        # Camera, left, top, width, height, log-odds of the score.
        self._false = np.zeros((0, 6))
        self._chance = np.random.default_rng([self.seed, 107])

    def detect(self, camera: Ints, row: Ints, person: Ints, boxes_px: Floats, visible: Floats) -> Detected:
        """The next frame of all cameras; arguments as in ``Sight``, persons (K,) beside them."""
        noise, draw = self.noise, self._chance
        errors = self._drift(camera * self.people + row, person)
        self._renew_false(camera, boxes_px)
        height = self.sizes_px[camera, 1]
        odds = noise.miss.of(boxes_px[:, 3] / height, visible)
        # The last error is standard normal, so below this quantile is as likely as the odds say.
        kept = normal_cdf(errors[:, 4]) >= 1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50)))
        camera, boxes_px, visible, errors = camera[kept], boxes_px[kept], visible[kept], errors[kept, :4]
        logit = noise.score.of(boxes_px[:, 3] / self.sizes_px[camera, 1], visible)
        logit = logit + noise.score_sigma * draw.standard_normal(len(camera))
        found = shaken(boxes_px, np.array(noise.bias) + np.array(noise.sigma) * errors)
        camera = np.concatenate((camera, self._false[:, 0].astype(np.int64)))
        found = np.concatenate((found, self._false[:, 1:5]))
        scores = 1.0 / (1.0 + np.exp(-np.concatenate((logit, self._false[:, 5]))))
        low = np.maximum(found[:, :2], 0.0)
        high = np.minimum(found[:, :2] + found[:, 2:], self.sizes_px[camera])
        good = ((high - low) >= 1.0).all(axis=1)
        order = np.argsort(camera[good], kind="stable")
        boxes = np.concatenate((low, high - low), axis=1)[good][order]
        return Detected(camera[good][order], boxes, np.clip(scores, noise.score_min, 0.9999)[good][order])

    def _drift(self, cell: Ints, person: Ints) -> Floats:
        """(K, 5) standard normal errors of box and miss, each as near to its last value as its time constant says."""
        self._frame += 1
        gap_s = (self._frame - self._last[cell]) / self.fps
        gap_s = np.where(self._person[cell] == person, gap_s, np.inf)
        tau_s = np.array([*self.noise.tau_s, self.noise.miss_tau_s])
        stay = np.exp(-gap_s[:, None] / np.maximum(tau_s, 1e-9))
        fresh = np.sqrt(1.0 - stay**2) * self._chance.standard_normal((len(cell), 5))
        errors = stay * self._errors[cell] + fresh
        self._errors[cell], self._last[cell], self._person[cell] = errors, self._frame, person
        return np.asarray(errors)

    def _renew_false(self, seen: Ints, boxes_px: Floats) -> None:
        """Some false boxes go, others come, so that ``false_per_frame`` are there in the mean."""
        noise, draw = self.noise, self._chance
        ends = 1.0 / max(1.0, noise.false_s * self.fps)
        stays = self._false[draw.random(len(self._false)) >= ends]
        mean = noise.false_per_frame * (ends if self._frame > 1 else 1.0)
        count = draw.poisson(mean, len(self.sizes_px))
        camera = np.repeat(np.arange(len(count)), count)
        size = self.sizes_px[camera]
        height = USUAL_SHARE * size[:, 1] * 2 ** draw.normal(noise.false_height, noise.false_height_sigma, len(camera))
        height = np.clip(height, 4.0, size[:, 1])
        width = height * 2 ** draw.normal(noise.false_aspect, noise.false_aspect_sigma, len(camera))
        width = np.clip(width, 2.0, size[:, 0])
        place = draw.random((len(camera), 2)) * (size - np.stack((width, height), axis=1))
        # On somebody: as much of it inside their box as there is room for.
        start, end = np.searchsorted(seen, camera, "left"), np.searchsorted(seen, camera, "right")
        near = (draw.random(len(camera)) < noise.false_near) & (end > start)
        chosen = (start + (draw.random(len(camera)) * (end - start)).astype(np.int64))[near]
        room = boxes_px[chosen, 2:] - np.stack((width, height), axis=1)[near]
        share = draw.random((len(chosen), 2))
        place[near] = boxes_px[chosen, :2] + np.where(room > 0, share, 0.5) * room
        logit = draw.normal(noise.false_score, noise.false_score_sigma, len(camera))
        self._false = np.concatenate((stays, np.column_stack((camera, place, width, height, logit))))


def shaken(boxes_px: Floats, errors: Floats) -> Floats:
    """Boxes (N, 4) left, top, width, height moved and resized by ``errors`` (N, 4) in the order of ``EDGES``."""
    middle = boxes_px[:, 0] + boxes_px[:, 2] / 2 + errors[:, 0] * boxes_px[:, 2]
    foot = boxes_px[:, 1] + boxes_px[:, 3] + errors[:, 1] * boxes_px[:, 3]
    size = boxes_px[:, 2:] * np.exp(errors[:, 2:])
    return np.column_stack((middle - size[:, 0] / 2, foot - size[:, 1], size))


def errors_of(boxes_px: Floats, found_px: Floats) -> Floats:
    """The ``errors`` that ``shaken`` needs to make ``found_px`` (N, 4) of ``boxes_px``."""
    middle = (found_px[:, 0] + found_px[:, 2] / 2 - boxes_px[:, 0] - boxes_px[:, 2] / 2) / boxes_px[:, 2]
    foot = (found_px[:, 1] + found_px[:, 3] - boxes_px[:, 1] - boxes_px[:, 3]) / boxes_px[:, 3]
    return np.column_stack((middle, foot, np.log(found_px[:, 2:] / boxes_px[:, 2:])))


def normal_cdf(x: Floats) -> Floats:
    """Abramowitz and Stegun (1964), 7.1.26: good to 1.5e-7, and numpy has none."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x) / np.sqrt(2.0))
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * poly * np.exp(-(x**2) / 2.0)
    return np.asarray(np.where(x >= 0, 1.0 - tail, tail))
