"""The gallery measured beside the bare index that it stands on, with the same rows and queries, turn by turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton.gallery.gallery import PROTOTYPES, Gallery
from spoton.gallery.rows import Device, faiss_module

ROWS, DIM = 100_000, 512
QUERIES = (1, 16, 64)
PEOPLE = (1, 10)
ROUNDS = 9
SPREAD = 0.7
"""How far a person's views lie around their middle, in lengths of a look: two of them have an inner product of 0.67."""


def run(*, rows: int = ROWS, dim: int = DIM, rounds: int = ROUNDS, device: Device = "cpu") -> dict[str, Any]:
    """Search, filling, removal, saving and loading.

    Looks are made up: people spread evenly, the ``PROTOTYPES`` views of each around their middle; queries are further
    views. ``search`` holds one entry per number of queries at once and of people asked for: ``ms_median`` of the
    gallery, ``bare_ms_median`` of ``IndexFlatIP.search`` for as many rows as people, and ``times_bare``, the median of
    what each turn's two times make. The gallery reads its people out of more rows than that, and finds each only once.
    ``same_best``: share of queries whose first person is the owner of the bare index's first row: 1.0 or a mistake.

    Raises ModelError without FAISS.
    """
    views, names, queries = _people(rows, dim)
    gallery = Gallery(dim, "made up", device=device)
    fill_s = _seconds(lambda: gallery.add(names, views, 0))
    bare = faiss_module().IndexFlatIP(dim)
    bare_fill_s = _seconds(lambda: bare.add(views))
    search = [_search(gallery, bare, names, queries[:count], people, rounds) for count in QUERIES for people in PEOPLE]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery"
        save_s = _seconds(lambda: gallery.save(path))
        size = path.stat().st_size
        start = time.perf_counter()
        again = Gallery.load(path, device=device)
        load_s = time.perf_counter() - start
    before, after = gallery.search(queries, 10), again.search(queries, 10)
    same = before.people.tolist() == after.people.tolist() and before.scores.tobytes() == after.scores.tobytes()
    replaced = queries[:500]
    whose = [names[index * PROTOTYPES % rows] for index in range(len(replaced))]

    def replace() -> None:
        for who, row in zip(whose, replaced, strict=True):
            gallery.add([who], row[None], 1)

    replace_s = _seconds(replace)
    gone = list(gallery)[: gallery.people // 2]
    remove_s = _seconds(lambda: [gallery.remove([person]) for person in gone])
    return {
        "rows": rows,
        "dim": dim,
        "people": len(set(names)),
        "device": device,
        "search": search,
        "worst_times_bare": max(one["times_bare"] for one in search),
        "add_rows_per_s": round(rows / fill_s),
        "add_times_bare": round(fill_s / bare_fill_s, 2),
        "replace_views_per_s": round(len(replaced) / replace_s),
        "remove_people_per_s": round(len(gone) / remove_s),
        "save_s": round(save_s, 3),
        "load_s": round(load_s, 3),
        "file_mb": round(size / 1e6, 1),
        "same_after_load": same,
    }


def _people(rows: int, dim: int) -> tuple[NDArray[np.float32], list[str], NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    people = -(-rows // PROTOTYPES)
    middle = _unit(rng.standard_normal((people, dim), dtype=np.float32))
    owner = np.arange(rows) // PROTOTYPES

    def around(who: NDArray[np.intp]) -> NDArray[np.float32]:
        return _unit(middle[who] + SPREAD * _unit(rng.standard_normal((len(who), dim), dtype=np.float32)))

    asked = rng.integers(0, people, max(max(QUERIES), 500))
    return around(owner), [f"person-{number}" for number in owner.tolist()], around(asked)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _search(
    gallery: Gallery, bare: Any, names: list[str], queries: NDArray[np.float32], people: int, rounds: int
) -> dict[str, Any]:
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds + 1):
        pair: list[tuple[list[float], Callable[[], Any]]] = [
            (ours, lambda: gallery.search(queries, people)),
            (theirs, lambda: bare.search(queries, people)),
        ]
        # Who comes first finds the memory cold: they take turns, and the first round does not count.
        for times, call in pair if turn % 2 else pair[::-1]:
            times.append(_seconds(call))
    del ours[0], theirs[0]
    best = gallery.search(queries, 1).people[:, 0].tolist()
    expected = [names[place] for place in bare.search(queries, 1)[1][:, 0].tolist()]
    return {
        "queries": len(queries),
        "people": people,
        "ms_median": round(1e3 * statistics.median(ours), 2),
        "bare_ms_median": round(1e3 * statistics.median(theirs), 2),
        "times_bare": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3),
        "same_best": sum(a == b for a, b in zip(best, expected, strict=True)) / len(best),
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table and two lines."""
    title = f"{result['rows']:,} views of {result['people']:,} people, {result['dim']} numbers each"
    table = Table("queries at once", "people asked for", "ms, median", "bare FAISS, ms", "times bare", title=title)
    for one in result["search"]:
        table.add_row(
            str(one["queries"]), str(one["people"]), f"{one['ms_median']:.1f}", f"{one['bare_ms_median']:.1f}",
            f"{one['times_bare']:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"added {result['add_rows_per_s']:,} rows/s, replaced {result['replace_views_per_s']:,} views/s, removed "
        f"{result['remove_people_per_s']:,} people/s"
    )
    console.print(
        f"saved {result['file_mb']} MB in {result['save_s']} s, loaded in {result['load_s']} s, "
        f"{'the same' if result['same_after_load'] else 'OTHER'} results afterwards"
    )
