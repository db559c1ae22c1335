"""What looks at a site's cameras."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spoton.site import CameraSite
from spoton.vision.apart import BuiltinApart, DetectorProcess, Watched
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.choose import make_detector
from spoton.vision.inference import Inference
from spoton.vision.protocols import Detector, Embedder


@dataclass(slots=True)
class Eyes:
    """Makes the detectors of a site; one that can be shared is made once for all its cameras.

    spec: as ``make_detector`` takes it, for all cameras; None for what each camera, or else the site, says.
    embedder: describes people; one for all cameras, or looks could not be compared.
    processes: the built-in detectors are spread over them; none: they run where they are called. inference: how
    networks are run here.
    """

    spec: str | None
    site_spec: str
    weights_dir: Path
    embedder: Embedder
    processes: Sequence[DetectorProcess] = ()
    _shared: dict[str, Detector] = field(default_factory=dict)
    _turn: itertools.count[int] = field(default_factory=itertools.count)
    _placed: dict[str, DetectorProcess] = field(default_factory=dict)
    inference: Inference = field(default_factory=Inference)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def at_hand(self, camera: CameraSite) -> bool:
        """Whether a camera's detector needs no weights that are not in memory yet."""
        spec = self._spec(camera)
        return spec in self._shared or spec == BuiltinDetector.name

    def _spec(self, camera: CameraSite) -> str:
        return self.spec or camera.detector or self.site_spec

    def detector(self, camera: CameraSite, size_px: tuple[int, int] | None) -> Detector:
        """The detector for a camera's pictures of ``size_px``; may be called from several threads.

        Raises ModelError when its weights are missing, damaged or of an unknown kind.
        """
        spec = self._spec(camera)
        with self._loading:
            if spec in self._shared:
                return self._shared[spec]
            made = make_detector(spec, weights_dir=self.weights_dir, inference=self.inference)
            if made.shared:
                self._shared[spec] = made
                return made
        watched = Watched(camera, size_px)
        if not self.processes:
            return watched.detector()
        if camera.name not in self._placed:
            self._placed[camera.name] = self.processes[next(self._turn) % len(self.processes)]
            self._placed[camera.name].start()
        return BuiltinApart(watched, self._placed[camera.name])
