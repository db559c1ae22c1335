"""The moving body: joints of walking people in world metres, and the rounded parts that make up their outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton.sim.looks import Looks, Rgb

Floats = NDArray[np.float64]
Dress = tuple[Rgb | None, ...]
"""The colour of each part of ``PARTS``; None for a part that this person does not have."""

Places = dict[str, tuple[Floats, Floats, Floats]]
"""Forward, left and up of each joint, seen from the person's floor point."""
THIGH, SHIN = 0.245, 0.235
"""Lengths as shares of the body height."""

JOINTS = (
    "head", "crown", "back_head", "nape", "neck", "shoulder_l", "shoulder_r", "elbow_l", "elbow_r", "wrist_l",
    "wrist_r", "hand_l", "hand_r", "waist_l", "waist_r", "hip_l", "hip_r", "knee_l", "knee_r", "ankle_l",
    "ankle_r", "toe_l", "toe_r", "bag_top", "bag_low", "hem_l", "hem_r",
)  # fmt: skip
J = {name: k for k, name in enumerate(JOINTS)}

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("shoe_l", ("ankle_l", "toe_l")),
    ("shoe_r", ("ankle_r", "toe_r")),
    ("shin_l", ("knee_l", "ankle_l")),
    ("shin_r", ("knee_r", "ankle_r")),
    ("thigh_l", ("hip_l", "knee_l")),
    ("thigh_r", ("hip_r", "knee_r")),
    ("skirt", ("waist_l", "waist_r", "hem_l", "hem_r")),
    ("seat", ("waist_l", "waist_r", "hip_l", "hip_r")),
    ("torso", ("shoulder_l", "shoulder_r", "waist_l", "waist_r")),
    ("upper_arm_l", ("shoulder_l", "elbow_l")),
    ("upper_arm_r", ("shoulder_r", "elbow_r")),
    ("forearm_l", ("elbow_l", "wrist_l")),
    ("forearm_r", ("elbow_r", "wrist_r")),
    ("hand_l", ("wrist_l", "hand_l")),
    ("hand_r", ("wrist_r", "hand_r")),
    ("neck", ("neck", "head")),
    ("face", ("head", "crown")),
    ("hair", ("back_head", "crown")),
    ("mane", ("back_head", "nape")),
    ("bag", ("bag_top", "bag_low")),
)
"""Each part is the outline around spheres at its joints; two spheres make a capsule."""
PART = {name: k for k, (name, _) in enumerate(PARTS)}

RADII = {
    "head": 0.054, "crown": 0.052, "back_head": 0.056, "nape": 0.046, "neck": 0.036, "shoulder": 0.047,
    "elbow": 0.029, "wrist": 0.022, "hand": 0.023, "waist": 0.058, "hip": 0.056, "knee": 0.038, "ankle": 0.028,
    "toe": 0.023, "bag_top": 0.075, "bag_low": 0.085, "hem": 0.07,
}  # fmt: skip
"""Sphere radii as shares of the body height."""


def joint_radii(heights_m: Floats, builds: Floats) -> Floats:
    """(N, J) sphere radii in metres for bodies of these heights; the build widens all but head and hands."""
    shares = np.array([RADII[name] if name in RADII else RADII[name[:-2]] for name in JOINTS])
    thin = np.array([name in ("head", "crown", "back_head", "nape", "hand_l", "hand_r") for name in JOINTS])
    return np.asarray(heights_m[:, None] * shares * np.where(thin, 1.0, builds[:, None]))


def joints_m(floor_m: Floats, heading: Floats, phase: Floats, stride_m: Floats, heights_m: Floats) -> Floats:
    """(N, J, 3) world places of all joints.

    The midpoint between the ankles stays above ``floor_m``; in stance a foot moves backwards against the body by as
    much as the body moves forward, so feet stand still on the ground. ``stride_m`` near its minimum is standing.
    """
    H = heights_m
    forward = np.stack((np.cos(heading), np.sin(heading), 0 * heading), axis=1)
    left = np.stack((-np.sin(heading), np.cos(heading), 0 * heading), axis=1)
    moving = np.clip((stride_m - 0.55) / 0.7, 0.0, 1.0)
    swing = np.arcsin(0.96 * np.sin(phase)) / np.arcsin(0.96)
    reach = 0.25 * stride_m * moving
    places: Places = {}
    hip_z = 0.028 * H + np.sqrt((0.992 * (THIGH + SHIN) * H) ** 2 - (reach * swing) ** 2)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        ankle_x, ankle_z = sign * reach * swing, 0.028 * H + 0.075 * H * moving * np.maximum(sign * np.cos(phase), 0)
        _leg(places, side, sign, H, hip_z, ankle_x, ankle_z)
        _arm(places, side, sign, H, hip_z, -swing * sign * moving)
    rise = hip_z - 0.5 * H
    for name, x_share, z_share in (
        ("head", 0.014, 0.925), ("crown", 0.012, 0.945), ("back_head", -0.014, 0.946), ("nape", -0.028, 0.865),
        ("neck", 0.0, 0.855), ("bag_top", -0.105, 0.765), ("bag_low", -0.11, 0.665),
    ):  # fmt: skip
        places[name] = (x_share * H, 0 * H, z_share * H + rise)
    local = np.array([[axis + 0 * H for axis in places[name]] for name in JOINTS])
    world = local[:, 0, :, None] * forward + local[:, 1, :, None] * left
    world[..., 2] = local[:, 2]
    world[..., :2] += floor_m
    return np.asarray(world.transpose(1, 0, 2))


def _leg(places: Places, side: str, sign: float, H: Floats, hip_z: Floats, ankle_x: Floats, ankle_z: Floats) -> None:
    """The knee lies where thigh and shin meet, bent forward."""
    across, drop = sign * 0.052 * H, hip_z - ankle_z
    down = np.hypot(ankle_x, drop)
    along = np.clip((down**2 + (THIGH * H) ** 2 - (SHIN * H) ** 2) / (2 * down), -THIGH * H, THIGH * H)
    bend = np.sqrt(np.maximum((THIGH * H) ** 2 - along**2, 0.0))
    knee_x = (ankle_x * along + drop * bend) / down
    places[f"hip_{side}"] = (0 * H, across, hip_z)
    places[f"knee_{side}"] = (knee_x, across, hip_z - (drop * along - ankle_x * bend) / down)
    places[f"ankle_{side}"] = (ankle_x, across * 0.8, ankle_z)
    places[f"toe_{side}"] = (ankle_x + 0.085 * H, across * 0.9, np.maximum(ankle_z - 0.012 * H, 0.018 * H))
    places[f"hem_{side}"] = (0.35 * knee_x, sign * 0.06 * H, hip_z - 0.2 * H)


def _arm(places: Places, side: str, sign: float, H: Floats, hip_z: Floats, swing: Floats) -> None:
    angle = 0.5 * swing
    twist = 0.02 * H * swing
    shoulder_z = hip_z + 0.318 * H
    elbow_x, elbow_z = twist + 0.172 * H * np.sin(angle), shoulder_z - 0.172 * H * np.cos(angle)
    lower = angle + 0.3 + 0.2 * np.maximum(swing, 0.0)
    wrist_x, wrist_z = elbow_x + 0.14 * H * np.sin(lower), elbow_z - 0.14 * H * np.cos(lower)
    places[f"shoulder_{side}"] = (twist, sign * 0.098 * H, shoulder_z)
    places[f"elbow_{side}"] = (elbow_x, sign * 0.128 * H, elbow_z)
    places[f"wrist_{side}"] = (wrist_x, sign * 0.122 * H, wrist_z)
    hand = (wrist_x + 0.04 * H * np.sin(lower), sign * 0.118 * H, wrist_z - 0.04 * H * np.cos(lower))
    places[f"hand_{side}"] = hand
    places[f"waist_{side}"] = (-0.3 * twist, sign * 0.042 * H, hip_z + 0.085 * H)


def part_colours(looks: Looks) -> Dress:
    """The colours of one person's parts."""
    sleeve = looks.skin if looks.short_sleeves else looks.top
    leg = looks.bottom if looks.legs == "trousers" else looks.skin
    upper_leg = looks.skin if looks.legs == "skirt" else looks.bottom
    colours: dict[str, Rgb | None] = {
        "shoe": looks.shoes, "shin": leg, "thigh": upper_leg, "upper_arm": looks.top, "forearm": sleeve,
        "hand": looks.skin, "skirt": looks.bottom if looks.legs == "skirt" else None, "seat": looks.bottom,
        "torso": looks.top, "neck": looks.skin, "face": looks.skin, "hair": looks.hair,
        "mane": looks.hair if looks.long_hair else None, "bag": looks.bag,
    }  # fmt: skip
    return tuple(colours[name] if name in colours else colours[name[:-2]] for name, _ in PARTS)
