"""The how-to for a detector of one's own is true: its class is installed, found by its name, and keeps the contract."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from spoton.errors import ModelError
from spoton.vision.choose import make_detector
from spoton.vision.detector_contract import CHECKS

PAGE = Path(__file__).parents[1] / "docs" / "new-detector.md"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The page's file and its line of metadata, as an installed package would have them."""
    text = PAGE.read_text(encoding="utf-8")
    code, test = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "bright.py").write_text(code, encoding="utf-8")
    folder = tmp_path / "bright-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: bright\nVersion: 1.0\n")
    entry = re.search(r'\[project\.entry-points\."spoton\.detectors"\]\nbright = "(.*)"', text)
    (folder / "entry_points.txt").write_text(f"[spoton.detectors]\nbright = {entry[1]}\nbroken = nowhere:Nothing\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield test
    sys.modules.pop("bright", None)


def test_it_is_found_by_its_name_and_finds(installed, tmp_path):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:40, 20:35] = 220
    for spec, name in (("bright:200", "bright-200"), ("bright:200+tiles", "bright-200 in tiles")):
        detector = make_detector(spec, weights_dir=tmp_path)
        assert detector.name == name
        assert detector.detect([picture])[0].boxes_px.tolist() == [[20, 10, 15, 30]]
    with pytest.raises(ModelError, match="bright:soon is no brightness; write bright:200"):
        make_detector("bright:soon", weights_dir=tmp_path)
    with pytest.raises(ModelError, match=r"nowhere:Nothing does not import: .*; reinstall the package"):
        make_detector("broken:x", weights_dir=tmp_path)


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_the_pages_own_test_passes(check, installed):
    names: dict = {}
    exec(compile(installed, str(PAGE), "exec"), names)
    names["test_contract"](check)
