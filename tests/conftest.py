"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import onnxruntime
import pytest

from spoton.errors import KafkaMissing
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.settings import servers

LIBRARIES = ("PIL", "onnxscript", "torch", "torchvision", "transformers", "ultralytics")
"""What the extra ``models`` brings and its tests import."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked ``models`` or ``openvino`` runs where that part is installed."""
    if item.get_closest_marker("models"):
        missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
        if missing:
            lacks("models", f"the extra `models` is not installed: no {', '.join(missing)}")
    if item.get_closest_marker("openvino") and "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        lacks("openvino", "this ONNX Runtime has no OpenVINO provider")


def lacks(part: str, why: str) -> NoReturn:
    """Skip a test for want of an optional part; SPOTON_TEST_REQUIRE=PART,... names those that may not be lacking."""
    if part in os.environ.get("SPOTON_TEST_REQUIRE", "").split(","):
        pytest.fail(f"SPOTON_TEST_REQUIRE asks for {part}: {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Libraries that would ask the network or leave settings behind do neither, here and in processes of tests."""
    os.environ |= {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(tmp_path_factory.mktemp("ultralytics")),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("huggingface")),
    }


def beside(name: str) -> ModuleType:
    """A module that lies in this folder, loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"spoton_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
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


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """People who walk before calibrated cameras, and what a site makes of it: the makers in ``test_people.py``."""
    return beside("test_people")


def started_kafka(folder: Path, **options: Any) -> LocalBroker:
    """A running broker; the test is skipped where none can be had, and fails with SPOTON_TEST_REQUIRE=kafka."""
    broker = LocalBroker(folder, **options)
    try:
        broker.start()
    except KafkaMissing as error:
        lacks("kafka", str(error))
    return broker


@pytest.fixture
def local_kafka(tmp_path: Path) -> Iterator[Callable[..., LocalBroker]]:
    """``local_kafka(**options)``: brokers of the test's own, which it may stop and kill."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> LocalBroker:
            broker = started_kafka(tmp_path / f"kafka-{len(started)}", **options)
            started.append(broker)
            stack.callback(broker.stop)
            return broker

        started: list[LocalBroker] = []
        yield start


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one broker for all tests: that of SPOTON_TEST_KAFKA=host:port, else one started here.

    Topics and groups of other tests are there too.
    """
    given = os.environ.get("SPOTON_TEST_KAFKA", "")
    if given:
        yield f"kafka://{';kafka://'.join(servers(given))}"
        return
    broker = started_kafka(tmp_path_factory.mktemp("kafka"))
    yield broker.url
    broker.stop()


@pytest.fixture(params=["log", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each engine in turn, as in ``brokers.py``: ``url``, a ``prefix`` for names, and what is stored there."""
    if request.param == "log":
        return beside("brokers").LogBroker(tmp_path / "log")
    return beside("brokers").KafkaBroker(request.getfixturevalue("kafka"))


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``flow(url, first, last, **options)`` starts the counting app of ``flow_app.py`` in a process of its own."""
    process = beside("flow_process")
    with contextlib.ExitStack() as stack:

        def start(*args: Any, **options: Any) -> Any:
            one = process.Running(tmp_path, *args, **options)
            stack.callback(one.close)
            return one

        yield start


@pytest.fixture(scope="session")
def certificates() -> ModuleType:
    """An authority that signs certificates for 127.0.0.1."""
    return beside("certificates")
