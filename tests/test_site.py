import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton.errors import SiteError
from spoton.geometry import floor_view
from spoton.site import CameraSite, Floor, Homography, Pinhole, PointPairs, Site, Thresholds, Zone
from spoton.site_file import RANGES, dump, parse

GOOD = """\
[site]
name = "plaza"
detector = "auto"

[floor]
size_m = [20.0, 15.0]
plan = "plan.png"
metres_per_pixel = 0.02

[[camera]]
name = "north"
source = "rtsp://192.168.1.20/stream1"
fps = 10
size_px = [1280, 720]
points = [
  { image_px = [100, 600], floor_m = [0, 0] },
  { image_px = [1100, 620], floor_m = [4, 0] },
  { image_px = [800, 300], floor_m = [4, 3] },
  { image_px = [300, 290], floor_m = [0, 3] },
]

[[camera]]
name = "south"
source = "south.mp4"
loop = true
K = [[900, 0, 640], [0, 900, 360], [0, 0, 1]]
R = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
t = [0, 3, 0]
dist = [-0.2, 0.05, 0, 0, 0]
check_points = [{ image_px = [640, 900], floor_m = [0, 5] }]

[[camera]]
name = "east"
homography = [[0.01, 0, 0], [0, -0.01, 7.2], [0, 0.001, 1]]

[[zone]]
name = "door"
polygon_m = [[0, 0], [4, 0], [4, 3]]

[thresholds]
gate_m = 2
"""


def test_a_site_file_is_read_into_frozen_values():
    site = parse(GOOD, "sites/plaza.toml")
    assert site.name == "plaza"
    assert site.floor == Floor((20.0, 15.0), (0.0, 0.0), "plan.png", 0.02)
    assert site.camera("north").calibration == PointPairs(
        ((100.0, 600.0), (1100.0, 620.0), (800.0, 300.0), (300.0, 290.0)),
        ((0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)),
    )
    assert site.camera("north").size_px == (1280, 720)
    south = site.camera("south")
    assert south.loop
    assert south.calibration == Pinhole(
        ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0)),
        ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
        (0.0, 3.0, 0.0),
        (-0.2, 0.05, 0.0, 0.0, 0.0),
    )
    assert south.check_points == PointPairs(((640.0, 900.0),), ((0.0, 5.0),))
    assert site.camera("east").calibration == Homography(((0.01, 0.0, 0.0), (0.0, -0.01, 7.2), (0.0, 0.001, 1.0)))
    assert site.zones == (Zone("door", ((0.0, 0.0), (4.0, 0.0), (4.0, 3.0))),)
    assert site.thresholds == Thresholds(gate_m=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        site.name = "other"  # type: ignore[misc]
    with pytest.raises(KeyError):
        site.camera("west")


def test_the_smallest_site_has_a_name_and_a_camera():
    site = parse('[site]\nname = "a"\n[[camera]]\nname = "b"\n', "site.toml")
    assert site == Site("a", (CameraSite("b"),))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("south.mp4", "sites/south.mp4"),
        ("videos/", "sites/videos/"),
        ("/data/a.mp4", "/data/a.mp4"),
        ("rtsp://host/a", "rtsp://host/a"),
        ("usb:0", "usb:0"),
        ("/dev/video0", "/dev/video0"),
        ("~/a.mp4", "~/a.mp4"),
    ],
)
def test_paths_start_at_the_site_file(written, seen):
    assert parse(GOOD, "sites/plaza.toml").resolve(written) == seen
    assert Site("a", ()).resolve(written) == written


SQUARE = "polygon_m = [[0, 0], [4, 0], [4, 3]]"
PAIRS = GOOD[GOOD.index("points = [") : GOOD.index('[[camera]]\nname = "south"')]
POSE = GOOD[GOOD.index("K = ") : GOOD.index("dist = ")]

MISTAKES = {
    "no TOML": ("fps = 10", "fps = ", "line 13", "fps =", "at column"),
    "an open string": ("gate_m = 2", 'gate_m = "2', "line 41", 'gate_m = "2', "at column"),
    "a key twice": ("fps = 10", "fps = 10\nfps = 11", "line 14", "fps = 11", "overwrite"),
    "an unknown table": ("[floor]", "[flor]", "flor", None, "did you mean floor?"),
    "no site": ('[site]\nname = "plaza"\ndetector = "auto"', "", "site", "(missing)", "write [site]"),
    "site no table": ('[site]\nname = "plaza"\ndetector = "auto"', "site = 3", "site", 3, "is no table"),
    "camera no list": ('[[camera]]\nname = "north"', '[camera]\nname = "north"', "line ", None, ""),
    "no name": ('name = "plaza"\n', "", "site.name", "(missing)", "is needed"),
    "a name with a space": ('"plaza"', '"the plaza"', "site.name", "the plaza", "letters, digits"),
    "an empty name": ('"plaza"', '" "', "site.name", " ", "is no text"),
    "a number for a name": ('"plaza"', "7", "site.name", 7, "is no text"),
    "a path for a name": ('"north"', '"../north"', "camera[1].name", "../north", "letters, digits"),
    "the name of a result": ('"north"', '"world"', 'camera "world".name', "world", "another name"),
    "one name twice": ('"south"', '"north"', "camera[2].name", "north", "camera[1]"),
    "a camera without a name": ('name = "south"\n', "", "camera[2].name", "(missing)", "is needed"),
    "an unknown key": ("fps = 10", "fsp = 10", 'camera "north".fsp', 10, "did you mean fps?"),
    "a key like no other": ("fps = 10", "zzz = 10", 'camera "north".zzz', 10, "known here: name, source"),
    "no source text": ('"south.mp4"', "[]", 'camera "south".source', [], "is no text"),
    "fps zero": ("fps = 10", "fps = 0", 'camera "north".fps', 0, "from 0.01 to 1000"),
    "fps a text": ("fps = 10", 'fps = "10"', 'camera "north".fps', "10", "is no number"),
    "fps true": ("fps = 10", "fps = true", 'camera "north".fps', True, "is no number"),
    "fps infinite": ("fps = 10", "fps = inf", 'camera "north".fps', math.inf, "is no number"),
    "fps beyond floats": ("fps = 10", f"fps = 1{'0' * 400}", 'camera "north".fps', 10**400, "is no number"),
    "loop a text": ("loop = true", 'loop = "yes"', 'camera "south".loop', "yes", "true"),
    "size of three": ("[1280, 720]", "[1280, 720, 3]", 'camera "north".size_px', [1280, 720, 3], "[1920, 1080]"),
    "size of floats": ("[1280, 720]", "[1280.5, 720]", 'camera "north".size_px', [1280.5, 720], "[1920, 1080]"),
    "size of nothing": ("[1280, 720]", "[0, 720]", 'camera "north".size_px', [0, 720], "[1920, 1080]"),
    "size a text": ("[1280, 720]", '"720p"', 'camera "north".size_px', "720p", "[1920, 1080]"),
    "two calibrations": ("t = [0", f"{PAIRS}\nt = [0", 'camera "south".points', None, "second calibration beside K"),
    "homography and points": ("[0, 0.001, 1]]", f"[0, 0.001, 1]]\n{PAIRS}", 'camera "east".points', None, "second"),
    "dist alone": (POSE, "", 'camera "south".dist', None, "needs K, R and t"),
    "no K": ("K = [[900, 0, 640], [0, 900, 360], [0, 0, 1]]\n", "", 'camera "south".K', "(missing)", "is needed"),
    "no R": ("R = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]\n", "", 'camera "south".R', "(missing)", "is needed"),
    "no t": ("t = [0, 3, 0]\n", "", 'camera "south".t', "(missing)", "is needed"),
    "K of two rows": (", [0, 0, 1]]\nR", "]\nR", 'camera "south".K', None, "3 by 3"),
    "K with a text": ("[[900, 0, 640]", '[["f", 0, 640]', 'camera "south".K', None, "3 by 3"),
    "K turned round": ("[[900, 0, 640], [0, 900, 360], [0, 0, 1]]", "[[900, 0, 0], [0, 900, 0], [640, 360, 1]]",
                       'camera "south".K', None, "no camera matrix"),
    "K without focal length": ("[[900, 0, 640]", "[[0, 0, 640]", 'camera "south".K', None, "no camera matrix"),
    "R skewed": ("R = [[1, 0, 0]", "R = [[1, 0.1, 0]", 'camera "south".R', None, "no rotation"),
    "R scaled": ("R = [[1, 0, 0]", "R = [[2, 0, 0]", 'camera "south".R', None, "no rotation"),
    "R mirrored": ("R = [[1, 0, 0]", "R = [[-1, 0, 0]", 'camera "south".R', None, "reflection"),
    "t of two": ("t = [0, 3, 0]", "t = [0, 3]", 'camera "south".t', [0, 3], "list of 3"),
    "t not finite": ("t = [0, 3, 0]", "t = [0, nan, 0]", 'camera "south".t', None, "finite"),
    "camera in the floor": ("t = [0, 3, 0]", "t = [0, 0, 5]", 'camera "south".t', [0, 0, 5], "lies in the floor"),
    "dist of three": ("[-0.2, 0.05, 0, 0, 0]", "[1, 2, 3]", 'camera "south".dist', [1, 2, 3], "4, 5 or 8"),
    "dist a text": ("[-0.2, 0.05, 0, 0, 0]", '"none"', 'camera "south".dist', "none", "4, 5 or 8"),
    "homography singular": ("[[0.01, 0, 0], [0,", "[[0, 0, 0], [0,", 'camera "east".homography', None, "singular"),
    "homography flat": ("[[0.01, 0, 0], [0, -0.01, 7.2], [0, 0.001, 1]]", "[1, 2, 3]", 'camera "east".homography',
                        [1, 2, 3], "3 by 3"),
    "three points": ("  { image_px = [300, 290], floor_m = [0, 3] },\n", "", 'camera "north".points', "3 pairs",
                     "four pairs or more"),
    "points on a line": ("floor_m = [4, 3]", "floor_m = [2, 0]", 'camera "north".points', "4 pairs", "on one line"),
    "points swapped": ("floor_m = [4, 0]", "floor_m = [4, 9]", 'camera "north".points', "4 pairs", "contradict"),
    "no points": (PAIRS, "points = []\n", 'camera "north".points', [], "image_px ="),
    "points no list": (PAIRS, "points = 4\n", 'camera "north".points', 4, "image_px ="),
    "a point no table": ("points = [\n", "points = [ 5,\n", 'camera "north".points[1]', 5, "is no table"),
    "a point without floor": (", floor_m = [4, 3] }", " }", 'camera "north".points[3].floor_m', "(missing)", "needed"),
    "a point of one": ("image_px = [800, 300]", "image_px = [800]", 'camera "north".points[3].image_px', [800],
                       "list of 2"),
    "a point misspelt": ("image_px = [800", "image_x = [800", 'camera "north".points[3].image_x', None,
                         "did you mean image_px?"),
    "nothing to check": (POSE + "dist = [-0.2, 0.05, 0, 0, 0]", "", 'camera "south".check_points', None, "nothing"),
    "zone without a name": ('name = "door"\n', "", "zone[1].name", "(missing)", "is needed"),
    "zone of two corners": (SQUARE, "polygon_m = [[0, 0], [4, 0]]", 'zone "door".polygon_m', [[0, 0], [4, 0]],
                            "fewer than three"),
    "zone crossing itself": (SQUARE, "polygon_m = [[0, 0], [4, 3], [4, 0], [0, 3]]", 'zone "door".polygon_m', None,
                             "edges 1-2 and 3-4 meet"),
    "zone without area": (SQUARE, "polygon_m = [[0, 0], [1, 1], [2, 2]]", 'zone "door".polygon_m', None, "crosses"),
    "zone closed by hand": (SQUARE, SQUARE[:-1] + ", [0, 0]]", 'zone "door".polygon_m', None, "closes by itself"),
    "zone with a half point": (SQUARE, "polygon_m = [[0, 0], [4], [4, 3]]", 'zone "door".polygon_m[2]', [4],
                               "two finite numbers"),
    "zone with an empty corner list": (SQUARE, "polygon_m = []", 'zone "door".polygon_m', [], "polygon_m ="),
    "zone twice": (SQUARE, f'{SQUARE}\n[[zone]]\nname = "door"\n{SQUARE}', "zone[2].name", "door", "zone[1]"),
    "floor of one side": ("[20.0, 15.0]", "[20.0]", "floor.size_m", [20.0], "list of 2"),
    "floor without area": ("[20.0, 15.0]", "[20.0, 0]", "floor.size_m", [20.0, 0], "above zero"),
    "plan without scale": ("size_m = [20.0, 15.0]\nplan = \"plan.png\"\nmetres_per_pixel = 0.02", 'plan = "plan.png"',
                           "floor.metres_per_pixel", "(missing)", "needed with a plan"),
    "scale without plan": ('plan = "plan.png"\n', "", "floor.metres_per_pixel", 0.02, "no plan"),
    "scale negative": ("= 0.02", "= -0.02", "floor.metres_per_pixel", -0.02, "out of range"),
    "threshold unknown": ("gate_m = 2", "gate = 2", "thresholds.gate", 2, "did you mean gate_m?"),
    "threshold out of range": ("gate_m = 2", "high_score = 50", "thresholds.high_score", 50, "from 0 to 1"),
    "threshold a text": ("gate_m = 2", 'gate_m = "2 m"', "thresholds.gate_m", "2 m", "is no number"),
    "low above high": ("gate_m = 2", "low_score = 0.9", "thresholds.low_score", 0.9, "above high_score (0.5)"),
    "high below low": ("gate_m = 2", "high_score = 0.05", "thresholds.high_score", 0.05, "low_score at most"),
    "warn above max": ("gate_m = 2", "max_reprojection_m = 0.1", "thresholds.max_reprojection_m", 0.1, "at most"),
    "no camera": (GOOD[GOOD.index("[[camera]]") : GOOD.index("[[zone]]")], "", "camera", "(missing)", "[[camera]]"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "value", "says"), MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_is_one_message_with_file_key_value_and_remedy(old, new, key, value, says):
    assert GOOD.count(old) >= 1
    with pytest.raises(SiteError) as caught:
        parse(GOOD.replace(old, new, 1), "sites/plaza.toml")
    error = caught.value
    message = str(error)
    assert error.file == "sites/plaza.toml"
    assert error.key.startswith(key) if key == "line " else error.key == key
    assert value is None or error.value == value
    assert says in message
    assert error.remedy
    assert message.startswith(f"sites/plaza.toml: {error.key} = ")
    assert "\n" not in message
    assert len(message) < 420


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("", "site", "write [site]"),
        ('[site]\nname = "a"\n', "camera", "write at least one [[camera]]"),
        ('[site]\nname = "a"\n[camera]\nname = "b"\n', "camera", "write [[camera]], one for each"),
        ('[site]\nname = "a"\ncamera = [', "line 3", "at the end of the file"),
        ("[site", "line 1", "at the end of the file"),
        ('camera = [3]\n[site]\nname = "a"', "camera[1]", "is no table"),
    ],
)
def test_a_file_that_is_not_there_yet_says_what_to_write(text, key, says):
    with pytest.raises(SiteError) as caught:
        parse(text, "site.toml")
    assert caught.value.key == key
    assert says in str(caught.value)


def test_every_threshold_has_a_range_that_holds_its_default():
    assert set(RANGES) == {field.name for field in dataclasses.fields(Thresholds)}
    for key, (low, high, _) in RANGES.items():
        default = getattr(Thresholds(), key)
        assert default is None or low <= default <= high


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True).filter(lambda name: name != "world")
metres = st.floats(-1e4, 1e4, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@st.composite
def calibrations(draw):
    kind = draw(st.sampled_from(["none", "pinhole", "homography", "points"]))
    if kind == "none":
        return None
    if kind == "homography":
        return Homography(((draw(st.floats(0.1, 9)), 0.0, draw(metres)), (0.0, -1.5, 2.0), (0.0, 1e-05, 1.0)))
    if kind == "points":
        x, y = draw(st.floats(-100, 100)), draw(st.floats(-100, 100))
        return PointPairs(
            ((100.0, 600.0), (1100.0, 620.0), (800.0, 300.0), (300.0, 290.0)),
            ((x, y), (x + 4, y), (x + 4, y + 3), (x, y + 3)),
        )
    angle = draw(st.floats(-3, 3))
    R = np.array([[np.cos(angle), -np.sin(angle), 0.0], [0.0, 0.0, -1.0], [np.sin(angle), np.cos(angle), 0.0]])
    dist = draw(st.lists(st.floats(-0.1, 0.1), min_size=8, max_size=8))[: draw(st.sampled_from([4, 5, 8]))]
    return Pinhole(
        ((draw(st.floats(1, 5000)), 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0)),
        tuple(map(tuple, R.tolist())),
        (draw(metres), draw(st.floats(0.5, 50)), draw(metres)),
        tuple(dist),
    )


@st.composite
def sites(draw):
    cameras = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        calibration = draw(calibrations())
        checked = calibration is not None and draw(st.booleans())
        cameras.append(
            CameraSite(
                name,
                draw(st.just("") | texts),
                draw(st.none() | st.floats(0.01, 1000)),
                draw(st.none() | st.tuples(st.integers(1, 4000), st.integers(1, 4000))),
                calibration,
                draw(st.none() | texts),
                draw(st.booleans()),
                PointPairs(((1.0, 2.0),), ((draw(metres), 4.0),)) if checked else None,
            )
        )
    thresholds = {
        key: draw(st.floats(low, high))
        for key, (low, high, _) in RANGES.items()
        if "score" not in key and "reprojection" not in key and draw(st.booleans())
    }
    size_m = draw(st.tuples(st.floats(0.1, 900), st.floats(0.1, 900)))
    floors = [Floor(), Floor(size_m, (1.5, -2.0)), Floor(size_m, plan=draw(texts), metres_per_pixel=0.01)]
    zoned = draw(st.lists(names, max_size=3, unique=True))
    x = draw(st.floats(0.5, 100))
    return Site(
        draw(names),
        tuple(cameras),
        draw(st.sampled_from(floors)),
        tuple(Zone(name, ((0.0, 0.0), (x, 0.0), (x, 1e-07))) for name in zoned),
        Thresholds(**thresholds),
        draw(texts),
        draw(texts),
    )


def test_the_documented_example_and_its_tables_are_true():
    page = (Path(__file__).parents[1] / "docs" / "site-file.md").read_text()
    example = page[page.index("```toml\n") + 8 :]
    site = parse(example[: example.index("```")], "plaza.toml")
    assert [type(camera.calibration) for camera in site.cameras] == [PointPairs, Pinhole]
    for camera in site.cameras:
        known = camera.check_points or camera.calibration
        errors = floor_view(camera.calibration, camera.size_px).residuals(known.image_px, known.floor_m)
        assert errors.floor_m.max() < 0.1
    with pytest.raises(SiteError, match=re.escape(page[page.index('camera "north".fsp') :].splitlines()[0])):
        parse(GOOD.replace("fps = 10", "fsp = 10"), "plaza.toml")
    for kind in (CameraSite, Zone, Floor, Thresholds):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in page or field.name == "calibration"


@given(sites())
@settings(derandomize=True, deadline=None, max_examples=80)
def test_what_is_dumped_reads_back_equal(site):
    text = dump(site)
    assert parse(text, "site.toml") == site
    assert dump(parse(text, "site.toml")) == text


def test_dump_writes_plain_numbers_also_of_numpy():
    K = tuple(map(tuple, np.diag([900.0, 900.0, 1.0])))
    R = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
    site = Site("a", (CameraSite("b", calibration=Pinhole(K, R, tuple(np.array([0.0, 3.0, 0.0])))),))
    assert "np." not in dump(site)
    assert parse(dump(site), "site.toml") == site


@given(st.text(max_size=200))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_text_is_refused_with_a_site_error(text):
    with pytest.raises(SiteError):
        parse(text, "site.toml")
