"""The sites that a worker serves, as they are now: a camera that is added or removed changes them while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from spoton.site import Site


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
