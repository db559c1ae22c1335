"""What a simulated floor is asked to be: one value that says all, from the command line or a ``sim://floor`` URL."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from spoton.errors import InputError

RIGS = ("grid", "corridor", "ring", "gaps")
LONGEST_SKEW_MS = 2000.0
DENSEST = 1.5
"""People per square metre; above that nobody can walk."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A simulated floor. The same scenario is the same world, byte for byte.

    floor_m: width and depth. people: how many are about at any time. rig: how cameras are mounted, see ``rigs``.
    groups: share of people who walk in groups of two to four, 0 to 1. crowding: share of goals at a few places that
    everyone likes, 0 to 1. returns: share of those who leave the floor and come back as the same person. skew_ms: each
    camera's clock is off by up to this much, either way. dropout: share of frames that never come. dropout_s: mean
    length of a drop-out; 0 for single frames, each by its own chance.

    Raises InputError for a value out of range.
    """

    seed: int = 7
    people: int = 30
    floor_m: tuple[float, float] = (36.0, 14.0)
    cameras: int = 8
    rig: str = "grid"
    fps: float = 10.0
    size_px: tuple[int, int] = (640, 480)
    groups: float = 0.3
    crowding: float = 0.3
    returns: float = 0.5
    skew_ms: float = 0.0
    dropout: float = 0.0
    dropout_s: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("seed", 0, 2**31), ("people", 0, 5000), ("cameras", 1, 500), ("fps", 0.5, 60), ("groups", 0, 1),
            ("crowding", 0, 1), ("returns", 0, 1), ("skew_ms", 0, LONGEST_SKEW_MS), ("dropout", 0, 0.95),
            ("dropout_s", 0, 600),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{name} = {value}", remedy=f"choose {low:g} to {high:g}")
        if self.rig not in RIGS:
            raise InputError(f"rig = {self.rig!r}", remedy=f"choose from {', '.join(RIGS)}")
        if self.rig == "gaps" and self.cameras != 8:
            raise InputError(f"cameras = {self.cameras} with rig = 'gaps'", remedy="that rig has 8 cameras")
        if not all(4.0 <= side <= 500.0 for side in self.floor_m):
            raise InputError(f"floor = {text(self.floor_m)}", remedy="choose 4 to 500 m for width and depth")
        if not all(64 <= side <= 4096 for side in self.size_px):
            raise InputError(f"size = {text(self.size_px)}", remedy="choose 64 to 4096 pixels for width and height")
        most = int(DENSEST * (self.floor_m[0] - 1.6) * (self.floor_m[1] - 1.6))
        if self.people > most:
            raise InputError(
                f"people = {self.people} on {text(self.floor_m)} m", remedy=f"at most {most} can walk there"
            )

    def query(self) -> str:
        """All values as the query of a URL."""
        values = asdict(self) | {"floor": text(self.floor_m), "size": text(self.size_px)}
        del values["floor_m"], values["size_px"]
        return urlencode({key: f"{value:g}" if isinstance(value, float) else value for key, value in values.items()})


def text(pair: tuple[float, float]) -> str:
    """``60x40``."""
    return f"{pair[0]:g}x{pair[1]:g}"


def pair_of(name: str, given: str) -> tuple[float, float]:
    """Two numbers from ``60x40``; InputError names the option."""
    try:
        first, second = (float(part) for part in given.lower().split("x"))
    except ValueError:
        raise InputError(f"{name} = {given!r}", remedy="write two numbers, as in 60x40") from None
    return first, second


def from_values(values: dict[str, str]) -> Scenario:
    """The scenario of a URL's query, what is not there by default; InputError for an unknown key or a bad value."""
    fields = Scenario.__dataclass_fields__
    given: dict[str, object] = {}
    for key, value in values.items():
        if key == "floor":
            given["floor_m"] = pair_of(key, value)
        elif key == "size":
            width, height = pair_of(key, value)
            given["size_px"] = int(width), int(height)
        elif key == "rig":
            given[key] = value
        elif key in fields and key not in ("floor_m", "size_px"):
            try:
                given[key] = int(value) if fields[key].type == "int" else float(value)
            except ValueError:
                raise InputError(f"{key} = {value!r} is not a number", remedy=f"write {key} as a number") from None
        else:
            known = ", ".join((*(name for name in fields if name not in ("floor_m", "size_px")), "floor", "size"))
            raise InputError(f"unknown key {key!r}", remedy=f"use camera, epoch_us, {known}")
    return Scenario(**given)  # type: ignore[arg-type]
