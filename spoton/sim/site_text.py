"""A simulated site as a SpotOn site file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from spoton.sim.plan import METRES_PER_PIXEL, PLAN_MARGIN_M
from spoton.sim.plaza import Plaza
from spoton.sim.world import World


def site_toml(
    plaza: World,
    *,
    name: str = "plaza",
    epoch_us: int | None = None,
    plan: str | None = "plan.png",
    sources: Sequence[str] | None = None,
) -> str:
    """The site file for a simulated site's cameras, zones and floor.

    ``epoch_us`` goes into the cameras' URLs, so that all of them and the truth agree on which frame is when; ``plan``
    names the picture that ``plan_picture`` gives, relative to the site file, or None for a floor without one.
    ``sources`` are the cameras' sources, in their order, where they are not to be painted live.
    """
    size = [extent + 2 * PLAN_MARGIN_M for extent in plaza.layout.size_m]
    lines = ["[site]", f'name = "{name}"', "", "[floor]", f"size_m = {_numbers(size)}"]
    lines += [f"origin_m = {_numbers((-PLAN_MARGIN_M, -PLAN_MARGIN_M))}"]
    if plan is not None:
        lines += [f'plan = "{plan}"', f"metres_per_pixel = {METRES_PER_PIXEL}"]
    urls = sources if sources is not None else [plaza.url(k, epoch_us) for k in range(len(plaza.views))]
    for k, view in enumerate(plaza.views):
        lines += ["", "[[camera]]", f'name = "{view.name}"', f'source = "{urls[k]}"']
        lines += [f"fps = {plaza.fps!r}", f"size_px = [{view.size_px[0]}, {view.size_px[1]}]"]
        lines += [f"{key} = {_rows(value)}" for key, value in (("K", view.K), ("R", view.R))]
        lines += [f"t = {_numbers(view.t)}", "dist = [0.0, 0.0, 0.0, 0.0, 0.0]"]
    for zone, polygon in zones(plaza):
        lines += ["", "[[zone]]", f'name = "{zone}"', f"polygon_m = {_rows(polygon)}"]
    return "\n".join(lines) + "\n"


def source_url(plaza: Plaza, camera: int, epoch_us: int | None = None) -> str:
    """The URL under which ``open_simulated`` gives this camera of this plaza."""
    return plaza.url(camera, epoch_us)


def zones(plaza: World) -> list[tuple[str, np.ndarray]]:
    """Names and floor polygons (K, 2) in metres: around a fountain, and inside the first two gates."""
    found = []
    if plaza.layout.fountain is not None:
        (x, y), radius = plaza.layout.fountain.centre_m, plaza.layout.fountain.radius_m + 1.2
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        found = [("fountain", np.stack((x + radius * np.cos(turn), y + radius * np.sin(turn)), axis=1))]
    for gate in plaza.layout.gates[:2]:
        half = gate.width_m / 2 + 0.4
        corners = [gate.at(inward, side) for inward, side in ((0, -half), (1.8, -half), (1.8, half), (0, half))]
        found.append((f"{gate.name}-gate", np.array(corners)))
    return found


def _numbers(values: Iterable[float]) -> str:
    return "[" + ", ".join(repr(round(float(value), 9) + 0.0) for value in values) + "]"


def _rows(values: Iterable[Iterable[float]]) -> str:
    return "[" + ", ".join(_numbers(row) for row in values) + "]"
