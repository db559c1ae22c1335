"""`spoton bench tracking`: the same detections for all, and clear words when something is not there."""

import importlib.util

import numpy as np
import pytest

from spoton.errors import InputError
from spoton.offline import peers, tracking_bench

PEERS_HERE = importlib.util.find_spec("trackers") is not None


@pytest.fixture
def shared(tmp_path):
    """Three people walk past each other for four seconds at 10 fps."""
    folder = tmp_path / "seqs" / "yard"
    rng = np.random.default_rng(0)
    found, truth = [], []
    for frame in range(1, 41):
        for person in range(3):
            x, y = 100 + 150 * person + (4 - 3 * person) * frame, 100 + 70 * person
            truth.append(f"{frame},{person + 1},{x},{y},40,100,1,1,1")
            dx, dy = rng.normal(0, 1, 2)
            found.append(f"{frame},-1,{x + dx:.2f},{y + dy:.2f},40,100,0.9,-1,-1,-1")
    for part, lines in (("det", found), ("gt", truth)):
        (folder / part).mkdir(parents=True)
        (folder / part / "gate.txt").write_text("\n".join(lines))
    return tmp_path


def test_sequences_are_named_with_their_frame_rate():
    assert tracking_bench.parse_sequences(["a=30", "b=12.5"]) == {"a": 30.0, "b": 12.5}
    for wrong in ("a", "a=", "a=0", "=30", "a=fast"):
        with pytest.raises(InputError, match="is not NAME=FPS"):
            tracking_bench.parse_sequences([wrong])


def test_a_missing_sequence_is_named(tmp_path):
    with pytest.raises(InputError, match=r"MOT17-02 has 0 cameras.*SPOTON_SHARED"):
        tracking_bench.run(tmp_path)


@pytest.mark.skipif(PEERS_HERE, reason="the peers are installed")
def test_without_the_peers_it_says_what_to_install(shared):
    with pytest.raises(InputError, match=r"pip install --no-deps trackers"):
        tracking_bench.run(shared, sequences={"yard": 10.0})


def test_our_rows_are_tracks_and_no_candidates(shared):
    ours = peers.Spoton()
    boxes, scores = np.array([[100.0, 100, 40, 100]]), np.array([0.9])
    assert [len(ours.rows(ours.feed(k, k * 100_000, boxes, scores))) for k in range(3)] == [0, 1, 1]


@pytest.mark.skipif(not PEERS_HERE, reason="the trackers package is not installed (see docs/performance.md)")
@pytest.mark.filterwarnings("ignore")
def test_every_tracker_is_measured_on_the_same_frames(shared):
    result = tracking_bench.run(shared, sequences={"yard": 10.0}, crowds=(20,), thinned_fps=(5.0,))
    names = {"spoton", "sort", "bytetrack", "ocsort", "botsort"}
    yard = result["sequences"]["yard"]
    assert set(yard["trackers"]) == set(result["thinned"]["5 fps"]) == set(result["crowd"]["20"]["ms_median"]) == names
    assert yard["frames"] == 40
    assert yard["trackers"]["spoton"]["idf1"] > 95
    assert yard["best_peer"]["idf1"] == max(yard["trackers"][name]["idf1"] for name in names - {"spoton"})
    assert yard["times_botsort"] > 0
    assert result["mean"]["trackers"]["sort"]["hota"] == pytest.approx(yard["trackers"]["sort"]["hota"])
