"""The gallery: exact scores, people instead of rows, time, and a file that is whole or refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from spoton.errors import InputError, ModelError
from spoton.gallery.gallery import Gallery
from spoton.gallery.rows import ExactRows
from spoton.offline import gallery_bench

DIM = 16


def unit(count, seed=0, dim=DIM):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(row, far, seed=0):
    """Unit rows that differ from ``row`` by about ``far``."""
    off = np.random.default_rng(seed).standard_normal(len(row)).astype(np.float32)
    made = row + far * off / np.linalg.norm(off)
    return made / np.linalg.norm(made)


class Plain:
    """The same promises kept the slow way: a list of views, every score computed."""

    def __init__(self, prototypes, keep_us=None):
        self.prototypes, self.keep_us, self.newest, self.known = prototypes, keep_us, 0, {}

    def add(self, person, row, at):
        mine = self.known.setdefault(person, [])
        mine.append((at, row))
        if len(mine) > self.prototypes:
            pairs = [(float(a[1] @ b[1]), i, j) for i, a in enumerate(mine) for j, b in enumerate(mine) if i < j]
            _, i, j = max(pairs)
            mine.pop(i if mine[i][0] <= mine[j][0] else j)

    def expire(self, at):
        self.newest = max(self.newest, at)
        for person in list(self.known):
            if self.keep_us is not None:
                self.known[person] = [one for one in self.known[person] if one[0] >= self.newest - self.keep_us]
            if not self.known[person]:
                del self.known[person]

    def remove(self, person):
        self.known.pop(person, None)

    def search(self, row, k):
        best = {person: max(float(row @ view) for _, view in mine) for person, mine in self.known.items()}
        return sorted(best.items(), key=lambda one: -one[1])[:k]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_it_gives_what_a_plain_list_gives(data):
    prototypes = data.draw(st.integers(1, 4))
    keep_s = data.draw(st.sampled_from([None, 3.0]))
    gallery, plain = Gallery(DIM, "test", prototypes=prototypes, keep_s=keep_s), Plain(prototypes, keep_s and 3_000_000)
    looks = unit(100, data.draw(st.integers(0, 1000)))
    at = 0
    for index in range(data.draw(st.integers(1, 30))):
        at += data.draw(st.integers(3, 1_000_000))
        three = slice(3 * index, 3 * index + 3)
        person = f"p-{data.draw(st.integers(1, 6))}"
        match data.draw(st.sampled_from(["add", "add", "add", "add several", "remove", "expire"])):
            case "add":
                gallery.add([person], looks[three][:1], at)
                plain.add(person, looks[three][0], at)
            case "add several":
                gallery.add([person] * 3, looks[three], [at, at + 1, at + 2])
                for later, row in enumerate(looks[three]):
                    plain.add(person, row, at + later)
            case "remove":
                assert gallery.remove([person]) == len(plain.known.get(person, []))
                plain.remove(person)
            case "expire":
                gallery.expire(at)
        plain.expire(at + 2)
        gallery.expire(at + 2)
        assert set(gallery) == set(plain.known)
        assert len(gallery) == sum(map(len, plain.known.values()))
        matches = gallery.search(looks[-5:], 3)
        for query, row in enumerate(looks[-5:]):
            expected = plain.search(row, 3)
            assert [person for person, _ in matches.of(query)] == [person for person, _ in expected]
            assert [score for _, score in matches.of(query)] == pytest.approx([s for _, s in expected], abs=1e-5)


def test_scores_are_exact_inner_products_of_a_persons_best_view():
    looks = unit(40, dim=512)
    gallery = Gallery(512, "test")
    gallery.add([f"p-{index % 10}" for index in range(40)], looks, 0)
    queries = unit(3, 9, 512)
    matches = gallery.search(queries, 10)
    by_hand = (queries.astype(np.float64) @ looks.T.astype(np.float64)).reshape(3, 4, 10).max(axis=1)
    for query in range(3):
        assert [p for p, _ in matches.of(query)] == [f"p-{k}" for k in np.argsort(-by_hand[query])]
    assert np.sort(by_hand, axis=1)[:, ::-1] == pytest.approx(matches.scores, abs=1e-6)
    assert gallery.search(looks[:1]).scores[0, 0] == pytest.approx(1.0, abs=1e-6)


def test_many_views_of_one_person_do_not_hide_the_next():
    one, other, third = unit(3)
    gallery = Gallery(DIM, "test", prototypes=8)
    gallery.add(["one"] * 8, np.stack([near(one, 0.05, seed) for seed in range(8)]), 0)
    gallery.add(["other", "third"], np.stack([other, third]), 0)
    assert {person for person, _ in gallery.search(one[None], 3).of(0)} == {"one", "other", "third"}
    assert gallery.search(one[None], 5).people[0, 3:].tolist() == ["", ""]
    assert gallery.search(one[None], 5).scores[0, 3:].tolist() == [-np.inf, -np.inf]


def test_what_is_kept_of_a_person_stays_different():
    front, back, side = unit(3)
    gallery = Gallery(DIM, "test", prototypes=3)
    gallery.add(["p"] * 3, np.stack([front, back, side]), [1, 2, 3])
    for at in range(4, 20):
        gallery.add(["p"], near(front, 0.1, at)[None], at)
    rows, times = gallery.views("p")
    assert sorted(times.tolist()) == [2, 3, 19]
    assert np.abs(rows @ back).max() > 0.999
    gallery.add(["p"], near(front, 0.1, 99)[None], 10)
    assert sorted(gallery.views("p")[1].tolist()) == [2, 3, 19], "a late view that is like a newer one adds nothing"


def test_two_who_were_one_become_one():
    looks = unit(4)
    gallery = Gallery(DIM, "test", prototypes=3)
    gallery.add(["a", "a", "b", "b"], looks, [1, 2, 3, 4])
    gallery.merge("b", "a")
    assert list(gallery) == ["a"]
    assert len(gallery) == 3
    assert gallery.search(looks[3:]).of(0) == [("a", pytest.approx(1.0, abs=1e-6))]
    gallery.merge("nobody", "a")
    gallery.merge("a", "a")
    assert len(gallery) == 3


def test_a_view_is_forgotten_when_its_time_is_over():
    gallery = Gallery(DIM, "test", keep_s=10.0)
    looks = unit(3)
    gallery.add(["old", "new"], looks[:2], [1_000_000, 5_000_000])
    gallery.add(["late"], looks[2:], 11_000_000)
    assert set(gallery) == {"old", "new", "late"}, "ten seconds to the microsecond are not more than ten"
    assert gallery.expire(11_000_001) == 1
    assert set(gallery) == {"new", "late"}
    assert gallery.expire(3) == 0, "time never runs backwards"
    gallery.add(["ancient"], looks[:1], 4)
    assert "ancient" not in gallery
    assert [person for person, _ in gallery.search(looks[:1], 3).of(0)] != ["ancient"]


def filled(count=500, keep_s=None):
    gallery = Gallery(DIM, "osnet", prototypes=4, keep_s=keep_s)
    rng = np.random.default_rng(3)
    for start in range(0, count, 50):
        people = [f"p-{number}" for number in rng.integers(0, 120, 50)]
        gallery.add(people, unit(50, start), [start * 1000 + k for k in range(50)])
        gallery.remove([f"p-{number}" for number in rng.integers(0, 120, 5)])
    return gallery


@pytest.mark.parametrize("queries", [1, 7, 64])
def test_results_are_the_same_after_save_and_load(tmp_path, queries):
    gallery = filled()
    gallery.save(tmp_path / "people.gallery")
    again = Gallery.load(tmp_path / "people.gallery", model="osnet")
    looks = unit(queries, 77)
    before, after = gallery.search(looks, 9), again.search(looks, 9)
    assert before.people.tolist() == after.people.tolist()
    assert before.scores.tobytes() == after.scores.tobytes()
    for one in (gallery, again):
        one.add([f"p-{k % 130}" for k in range(300)], unit(300, 5), 1_000_000)
        one.remove([f"p-{k}" for k in range(20)])
        one.save(tmp_path / f"{id(one)}")
    before, after = gallery.search(looks, 9), again.search(looks, 9)
    assert before.people.tolist() == after.people.tolist(), "and whatever happens afterwards is the same too"
    assert before.scores.tobytes() == after.scores.tobytes()


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path):
    filled(keep_s=60.0).save(tmp_path / "a")
    Gallery.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_an_empty_gallery_is_searched_and_kept(tmp_path):
    Gallery(DIM, "test").save(tmp_path / "new" / "empty")
    empty = Gallery.load(tmp_path / "new" / "empty")
    assert empty.search(unit(2), 2).people.tolist() == [["", ""], ["", ""]]
    assert empty.search(np.zeros((0, DIM)), 2).people.shape == (0, 2)
    assert (len(empty), empty.people, empty.remove(["nobody"])) == (0, 0, 0)
    empty.add([], np.zeros((0, DIM)), 0)
    assert len(empty) == 0


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0.0, 1.0), kind=st.sampled_from(["cut", "flip", "longer"]))
def test_a_damaged_file_is_refused_with_one_clear_error(tmp_path_factory, where, kind):
    path = tmp_path_factory.mktemp("gallery") / "g"
    filled(100).save(path)
    data = bytearray(path.read_bytes())
    place = min(int(where * len(data)), len(data) - 1)
    if kind == "cut":
        del data[place:]
    elif kind == "flip":
        data[place] ^= 0x40
    else:
        data[place:place] = b"\0"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"g: (no gallery|damaged or cut short|written in version)") as error:
        Gallery.load(path)
    assert error.value.remedy
    assert "\n" not in str(error.value)


def test_a_file_that_is_away_or_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone: cannot be read: No such file.*check the path"):
        Gallery.load(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/g: cannot be written"):
        filled(50).save(tmp_path / "file" / "g")
    filled(50).save(tmp_path / "g")
    with pytest.raises(InputError, match=r"holds looks of 'osnet', not of 'histogram'; search with embedder 'osnet'"):
        Gallery.load(tmp_path / "g", model="histogram")


@pytest.mark.parametrize(
    ("people", "looks", "problem"),
    [
        pytest.param(["a"], unit(1, dim=8), r"looks of shape \[1, 8\].*length 16; give shape \[N, 16\]", id="dim"),
        pytest.param(["a"], unit(1)[0], r"looks of shape \[16\]", id="one row flat"),
        pytest.param(["a", "b"], unit(1), r"2 people for 1 looks", id="counts"),
        pytest.param(["a", ""], unit(2), r"name is empty", id="no name"),
        pytest.param(["a"], np.full((1, DIM), np.nan), r"looks row 0 holds NaN", id="nan"),
        pytest.param(["a", "b"], np.vstack([unit(1), 3 * unit(1)]), r"row 1 has length 3; give rows", id="length"),
        pytest.param(["a"], np.zeros((1, DIM)), r"looks row 0 has length 0", id="nothing"),
    ],
)
def test_what_cannot_be_taken_in_changes_nothing(people, looks, problem):
    gallery = filled(50)
    before = len(gallery), list(gallery)
    with pytest.raises(InputError, match=problem):
        gallery.add(people, looks, 0)
    assert (len(gallery), list(gallery)) == before


def test_senseless_arguments_are_named():
    with pytest.raises(InputError, match=r"gallery dim = 0"):
        Gallery(0, "test")
    with pytest.raises(InputError, match=r"gallery prototypes = 0"):
        Gallery(4, "test", prototypes=0)
    with pytest.raises(InputError, match=r"gallery keep_s = -1"):
        Gallery(4, "test", keep_s=-1)
    with pytest.raises(InputError, match=r"gallery device = 'tpu'; choose cpu or gpu"):
        Gallery(4, "test", device="tpu")
    with pytest.raises(InputError, match=r"k = 0 people"):
        filled(50).search(unit(1), 0)
    with pytest.raises(InputError, match=r"query row 0 holds NaN"):
        filled(50).search(np.full((1, DIM), np.nan))


def test_a_gpu_is_used_or_refused_with_a_remedy():
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        rows = ExactRows(DIM, "gpu")
        rows.append(unit(300))
        assert rows.search(unit(5), 3)[1][:, 0].tolist() == [0, 1, 2, 3, 4]
    else:
        with pytest.raises(ModelError, match=r"gallery device 'gpu': FAISS .*; (use|replace|install).*cpu"):
            Gallery(DIM, "test", device="gpu")


def test_without_faiss_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "from spoton.gallery.gallery import Gallery\n"
        "from spoton.errors import ModelError\n"
        "try: Gallery(4, 'test')\n"
        "except ModelError as error: print(error)\n"
    )
    root = Path(__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True).stdout
    assert said.count("\n") == 1
    assert "the gallery needs FAISS" in said
    assert "pip install 'spoton[gallery]'" in said


def test_the_bench_measures_the_same_search_as_the_bare_index():
    result = gallery_bench.run(rows=400, dim=32, rounds=2)
    assert (result["rows"], result["people"]) == (400, 50)
    assert {one["same_best"] for one in result["search"]} == {1.0}
    assert result["same_after_load"]
    assert result["worst_times_bare"] == max(one["times_bare"] for one in result["search"])
    console = Console(record=True, width=120)
    gallery_bench.render(result, console)
    assert "400 views of 50 people" in console.export_text()
