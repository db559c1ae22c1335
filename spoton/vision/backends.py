"""Detectors by scheme: ``scheme:what`` in a site file is looked up among the installed ``spoton.detectors``.

A package adds one with one class and one line of its metadata, see docs/new-detector.md::

    [project.entry-points."spoton.detectors"]
    mine = "my_package.mine:MyDetector"
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from spoton.errors import ModelError
from spoton.vision.inference import Inference
from spoton.vision.protocols import Detector

GROUP = "spoton.detectors"
_SPEC = re.compile(r"([a-z][a-z0-9_-]+):(.+)")


class Opens(Protocol):
    """The class of a backend: called with what stands behind the colon, and with how networks are run here."""

    def __call__(self, what: str, *, inference: Inference | None = None) -> Detector:
        """A detector; raises ModelError, in one line with a remedy, when it cannot be made."""
        ...


def split(spec: str) -> tuple[str, str] | None:
    """Scheme and the rest of ``scheme:rest``; None for a spec of another form."""
    found = _SPEC.fullmatch(spec)
    return (found[1], found[2]) if found else None


def open_detector(scheme: str, what: str, inference: Inference) -> Detector:
    """The detector that an installed backend makes; its module is imported now.

    Raises ModelError when no backend has this scheme, when it does not import, or when the backend refuses.
    """
    installed: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if scheme not in installed:
        raise ModelError(
            f"detector {scheme}:{what}: no backend is called {scheme!r}",
            remedy=f"choose from {', '.join(sorted(installed)) or 'none installed'}, or reinstall spoton",
        )
    try:
        opens: Opens = installed[scheme].load()
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"detector {scheme}:{what}: {installed[scheme].value} does not import: {error}",
            remedy="reinstall the package that brings it",
        ) from error
    return opens(what, inference=inference)
