"""The sites that a process serves, as they are now: a camera that is added or removed changes them while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import structlog

from spoton import events, roster
from spoton.roster import Roster
from spoton.site import Site

log = structlog.get_logger("commands")


class Sites(Mapping[str, Site]):
    """Sites by name. Whoever keeps something made from a site asks again: another object means that it changed."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self._sites = {site.name: site for site in sites}

    def __getitem__(self, name: str) -> Site:
        return self._sites[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def change(self, site: Site) -> None:
        """Put another version of a site in the place of the one with its name."""
        self._sites[site.name] = site


class RecordedSites(Sites):
    """Sites with the cameras that are recorded for them; where nothing is recorded, those of their files."""

    def __init__(self, sites: Iterable[Site]) -> None:
        files = list(sites)
        super().__init__(files)
        self._files = {site.name: site for site in files}
        self._rosters = {site.name: Roster() for site in files}

    def heard(self, fact: events.AnyEvent) -> None:
        """Take a command in; one for a site that is not served here changes nothing."""
        if not isinstance(fact, events.CommandEvent) or fact.site not in self._rosters:
            return
        after = roster.evolve(self._rosters[fact.site], fact)
        if after is not self._rosters[fact.site]:
            self._rosters[fact.site] = after
            self.change(roster.applied(self[fact.site], after))

    def tell_differences(self) -> None:
        """Warn of site files that say something else than what is recorded."""
        for name, site in self._files.items():
            if differing := roster.differences(site, self._rosters[name]):
                log.warning(
                    "the site file differs from the recorded cameras, which count",
                    site=name, cameras=differing, remedy="spoton cameras apply, or correct the file",
                )  # fmt: skip
