"""A gallery filled from events: every look that was recorded goes to whom its track turned out to be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spoton.events import AnyEvent, PeopleDetected, PersonsMerged, PersonSplit, TrackAssigned, TrackReassigned
from spoton.gallery.gallery import PROTOTYPES, Gallery


class FollowedGallery:
    """Folds the events of one site, in order, into a gallery; the same events give the same gallery.

    A track that is nobody's yet, or for ever where no camera is calibrated, goes by ``CAMERA/TRACK``. Looks of
    candidates that have not become a track are left out. Where the embedder changes the gallery begins anew: looks of
    two embedders cannot be compared. prototypes, keep_s: as in ``Gallery``.

    Raises ModelError at the first look where FAISS is not installed.
    """

    def __init__(self, *, prototypes: int = PROTOTYPES, keep_s: float | None = None) -> None:
        self.gallery: Gallery | None = None
        self._make: Callable[[int, str], Gallery] = lambda dim, model: Gallery(
            dim, model, prototypes=prototypes, keep_s=keep_s
        )
        self._person: dict[tuple[str, int], str] = {}

    def apply(self, event: AnyEvent) -> None:
        """Take an event in."""
        match event:
            case PeopleDetected():
                self._detected(event)
            case TrackAssigned():
                self._person[event.camera, event.track] = event.person
                self._merge(f"{event.camera}/{event.track}", event.person)
            case TrackReassigned():
                # As with a split: what was taken for somebody else's looks stays theirs.
                self._person[event.camera, event.track] = event.person
            case PersonsMerged():
                self._person = {
                    key: event.person if who == event.merged else who for key, who in self._person.items()
                }
                self._merge(event.merged, event.person)
            case PersonSplit():
                # What their tracks looked like so far is among the views of whom they were taken for, and stays there.
                for ref in event.tracks:
                    self._person[ref.camera, ref.track] = event.new_person

    def _detected(self, event: PeopleDetected) -> None:
        taken = [one for one in event.embeddings if event.tracks[one.row] > 0]
        if taken:
            rows = np.stack([np.frombuffer(one.data, dtype="<f2") for one in taken]).astype(np.float32)
            # Sixteen bits leave a length that is off by a thousandth.
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
            model, dim = taken[0].model, rows.shape[1]
            if self.gallery is None or (self.gallery.model, self.gallery.dim) != (model, dim):
                self.gallery = self._make(dim, model)
            keys = [(event.camera, event.tracks[one.row]) for one in taken]
            self.gallery.add([self._person.get(key, f"{key[0]}/{key[1]}") for key in keys], rows, event.at)
        for track in event.ended:
            self._person.pop((event.camera, track), None)

    def _merge(self, gone: str, stays: str) -> None:
        if self.gallery is not None:
            self.gallery.merge(gone, stays)
