"""A draft in words and as JSON: every point's residual, before and after, and what a pixel is worth on the floor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spoton.calibration.draft import Draft, uncertainty
from spoton.geometry import Residuals
from spoton.site import Calibration, Homography, Pinhole, PointPairs

Bools = NDArray[np.bool_]


def kind(calibration: Calibration | None) -> str:
    """A calibration in a few words."""
    match calibration:
        case Pinhole(dist=dist):
            return "K, R, t with distortion" if any(dist) else "K, R, t"
        case Homography():
            return "homography"
        case PointPairs(image_px=image_px):
            return f"homography by {len(image_px)} points"
    return "none"


def as_json(draft: Draft) -> dict[str, Any]:
    """Everything that is known of a draft. Lengths that do not exist (above the horizon) are null."""
    used = _used(draft)
    places = uncertainty(draft, draft.image_px) if len(draft.image_px) else []
    before, after = draft.residuals_before, draft.residuals_after
    points = [
        {
            "image_px": draft.image_px[row].tolist(),
            "floor_m": draft.floor_m[row].tolist(),
            "used": bool(used[row]),
            "before_px": None if before is None else _finite(before.image_px[row]),
            "before_m": None if before is None else _finite(before.floor_m[row]),
            "after_px": _finite(after.image_px[row]),
            "after_m": _finite(after.floor_m[row]),
            "ellipse": places[row],
        }
        for row in range(len(draft.image_px))
    ]
    place = draft.view.position_m
    return {
        "camera": draft.after.name,
        "size_px": list(draft.size_px),
        "before": {"kind": kind(draft.before.calibration), **_sums(before, used)},
        "after": {"kind": kind(draft.after.calibration), **_sums(after, used)},
        "points": points,
        "used": int(used.sum()),
        "tolerance_px": None if draft.fitted is None else draft.fitted.tolerance_px,
        "sigma_px": None if draft.fitted is None else draft.fitted.sigma_px,
        "position_m": None if place is None else list(place),
        "notes": notes(draft),
    }


def notes(draft: Draft) -> list[str]:
    """What somebody should know before they take the calibration."""
    said = [draft.note] if draft.note else []
    fitted = draft.fitted
    if fitted is not None:
        count = len(draft.image_px)
        if fitted.sigma_px is None:
            said.append("four pairs always fit exactly, so they prove nothing; give more points")
        elif count < 6:
            said.append(f"of {count} pairs none can be told to be wrong; give six or more")
        if not fitted.used.all():
            left = ", ".join(str(row + 1) for row in np.flatnonzero(~fitted.used))
            said.append(f"left out, more than {fitted.tolerance_px:.1f} px from where the others put them: {left}")
    place = draft.view.position_m
    if place is not None and not 0.3 <= place[2] <= 150.0:
        said.append(f"the camera stands {place[2]:.4g} m above the floor: are all lengths in metres?")
    return said


def render(draft: Draft, console: Console) -> None:
    """Print a draft: every point, then sums and notes."""
    if len(draft.image_px):
        console.print(_points(draft))
    sums = as_json(draft)
    table = Table("", "calibration", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("rms px", "worst px", "rms m", "worst m"):
        table.add_column(heading, justify="right")
    for which in ("before", "after"):
        row = sums[which]
        cells = [_shown(row[key], 2) for key in ("rms_px", "worst_px")] + [
            _shown(row[key], 3) for key in ("rms_m", "worst_m")
        ]
        table.add_row(which, row["kind"], *cells)
    console.print(table)
    if draft.view.position_m is not None:
        console.print(Text("camera at " + ", ".join(f"{side:.2f}" for side in draft.view.position_m) + " m"))
    for note in sums["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def _points(draft: Draft) -> Table:
    table = Table("point", "pixel", "floor m", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("before px", "before m", "after px", "after m", "95 % of a pixel m"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for number, row in enumerate(as_json(draft)["points"], start=1):
        around = row["ellipse"]
        table.add_row(
            str(number), "{:.1f}, {:.1f}".format(*row["image_px"]), "{:.2f}, {:.2f}".format(*row["floor_m"]),
            _shown(row["before_px"], 2), _shown(row["before_m"], 3), _shown(row["after_px"], 2),
            _shown(row["after_m"], 3), "-" if around is None else f"{around['long_m']:.2f} x {around['short_m']:.2f}",
            Text("" if row["used"] else "left out", style="yellow"),
        )  # fmt: skip
    return table


def _used(draft: Draft) -> Bools:
    if draft.fitted is not None:
        return draft.fitted.used
    return np.ones(len(draft.image_px), dtype=np.bool_)


def _sums(residuals: Residuals | None, used: Bools) -> dict[str, float | None]:
    if residuals is None or not used.any():
        return dict.fromkeys(("rms_px", "worst_px", "rms_m", "worst_m"))
    px, m = residuals.image_px[used], residuals.floor_m[used]
    return {
        "rms_px": _finite(np.sqrt(np.mean(px**2))), "worst_px": _finite(px.max()),
        "rms_m": _finite(np.sqrt(np.mean(m**2))), "worst_m": _finite(m.max()),
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
