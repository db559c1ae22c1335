"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def beside(name: str) -> ModuleType:
    """A module that lies in this folder, loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"spoton_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One headless browser for all tests that need one."""
    driver = beside("chromium")
    if driver.program() is None:
        pytest.skip(f"no browser here: none of {', '.join(driver.PROGRAMS)} is installed")
    process, port = driver.start(tmp_path_factory.mktemp("chromium"))
    yield port
    driver.stop(process)


@pytest.fixture
async def chromium(chromium_port: int) -> AsyncIterator[Any]:
    """Tabs of the browser: ``await chromium.open(url, width=..., height=...)``; closed after the test."""
    async with beside("chromium").Chromium(chromium_port) as browser:
        yield browser


@pytest.fixture(scope="session")
def plaza_feed() -> ModuleType:
    """The simulated plaza as a live feed of real events."""
    return beside("plaza_feed")
