"""Model weights: which of the known ones are here, unharmed, and whether the site asks for one that is not."""

from __future__ import annotations

from pathlib import Path

from spoton.doctor.finding import Finding
from spoton.errors import ModelError
from spoton.site import Site
from spoton.vision import clip_embedder
from spoton.vision.weights import CATALOGUE, find, verify

SUBJECT = "weights"
_TILED = "+tiles"


def check(folder: Path, site: Site | None) -> Finding:
    """Look for every known model and compare checksums. Blocking.

    A model that the site names must be there and whole; another one that is damaged is worth a warning.
    """
    asked = _asked(site) if site is not None else set()
    damaged: dict[str, ModelError] = {}
    here: list[str] = []
    for name in CATALOGUE:
        path = find(name, folder)
        if path is None:
            continue
        try:
            verify(name, path)
            here.append(name)
        except ModelError as error:
            damaged[name] = error
    if damaged:
        first = next((error for name, error in damaged.items() if name in asked), next(iter(damaged.values())))
        return Finding(SUBJECT, "fault" if asked & damaged.keys() else "warning", first.problem, first.remedy)
    missing = [name for name in sorted(asked) if name in CATALOGUE and name not in here]
    missing += [name for name in sorted(asked) if name.endswith(".onnx") and not Path(name).expanduser().is_file()]
    if clip_embedder.NAME in asked and clip_embedder.find(folder) is None:
        found = f"clip: the site names it, but it is not in {folder}"
        return Finding(SUBJECT, "fault", found, clip_embedder.remedy(folder))
    if missing:
        return Finding(
            SUBJECT, "fault", f"{', '.join(missing)}: the site names it, but it is not in {folder}",
            f"spoton models pull {missing[0]}" if missing[0] in CATALOGUE else "correct the path in the site file",
        )  # fmt: skip
    absent = [name for name in CATALOGUE if name not in here]
    found = f"{folder}: {', '.join(here) or 'none'}"
    return Finding(SUBJECT, "ok", f"{found}; not here, and not asked for: {', '.join(absent)}" if absent else found)


def _asked(site: Site) -> set[str]:
    """Names and paths of the networks that the site wants for certain; ``auto`` takes what there is."""
    wanted = {site.detector, site.embedder, *(camera.detector for camera in site.cameras)}
    return {spec.removesuffix(_TILED) for spec in wanted if spec}
