"""Which cameras a site has while it runs: what operators added and took away, as facts.

As long as there is no such fact, the site file says it. The first change records every camera there is, and from then
on the facts alone say it, so that workers started from an older file agree with the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from spoton import site_file
from spoton.events import CameraAdded, CameraCommand, CameraRemoved, CommandEvent, event_id
from spoton.site import CameraSite, Site
from spoton.site_text import dump


class Roster(msgspec.Struct, frozen=True):
    """The cameras that were recorded, by name, each as the text of its table; None before the first fact."""

    seq: int = 0
    cameras: Mapping[str, str] | None = None


def evolve(roster: Roster, event: CommandEvent) -> Roster:
    """The roster after a fact; one seen before, or of another kind, changes nothing."""
    if event.seq <= roster.seq:
        return roster
    cameras = dict(roster.cameras or {})
    if isinstance(event, CameraAdded):
        cameras[event.camera] = event.definition
    elif isinstance(event, CameraRemoved):
        cameras.pop(event.camera, None)
    else:
        return msgspec.structs.replace(roster, seq=event.seq)
    return Roster(event.seq, cameras)


def decide(roster: Roster, wanted: Site, *, at: int, by: str, why: str) -> list[CameraCommand]:
    """The facts that make a roster agree with a site file; none when it does.

    at: microseconds UTC. by, why: who wants it, for what reason.
    """
    texts = {camera.name: definition(camera) for camera in wanted.cameras}
    known = roster.cameras or {}
    gone: list[tuple[type[CameraCommand], dict[str, Any]]] = [
        (CameraRemoved, {"camera": name}) for name in sorted(set(known) - set(texts))
    ]
    new: list[tuple[type[CameraCommand], dict[str, Any]]] = [
        (CameraAdded, {"camera": name, "definition": text})
        for name, text in texts.items()
        if known.get(name) != text
    ]
    decided: list[CameraCommand] = []
    for seq, (kind, fields) in enumerate((*gone, *new), start=roster.seq + 1):
        number = event_id("commands", wanted.name, seq, at)
        decided.append(kind(id=number, at=at, site=wanted.name, seq=seq, by=by, why=why, **fields))
    return decided


def definition(camera: CameraSite) -> str:
    """A camera as the text of its ``[[camera]]`` table."""
    text = dump(Site("site", (camera,)))
    return text[text.index("[[camera]]") :]


def applied(site: Site, roster: Roster) -> Site:
    """The site with the cameras that are recorded, where any are; those that stay the same stay the same objects.

    Raises SiteError for a definition that this version cannot read.
    """
    if roster.cameras is None:
        return site
    known = {camera.name: camera for camera in site.cameras}
    cameras = []
    for name, text in roster.cameras.items():
        camera = known.get(name)
        cameras.append(camera if camera is not None and definition(camera) == text else _read(site, name, text))
    return replace(site, cameras=tuple(cameras))


def differences(site: Site, roster: Roster) -> Sequence[str]:
    """Names of the cameras in which a site file and the roster differ."""
    if roster.cameras is None:
        return ()
    texts = {camera.name: definition(camera) for camera in site.cameras}
    return sorted(name for name in {*texts, *roster.cameras} if texts.get(name) != roster.cameras.get(name))


def _read(site: Site, name: str, text: str) -> CameraSite:
    return site_file.parse(f'[site]\nname = "{site.name}"\n{text}', f"the recorded camera {name}").cameras[0]
