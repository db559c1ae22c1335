"""What is installed and what it brings with it; the rules that hold for every module; the links in the texts."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {"spoton", "agents", "tables", "api"}
IMPURE = {"spoton.cli", "spoton.config", "spoton.diagnostics"}


def contract(kind: str, about: str) -> dict[str, Any]:
    """The one import rule of this kind whose name has ``about`` in it."""
    (found,) = (
        one for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == kind and about in one["name"]
    )
    return dict(found)


def imported(source: str) -> set[str]:
    """Every module and every name of a module that ``source`` imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import on line {node.lineno}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def is_here(requirement: str) -> bool:
    """Whether the distribution that a requirement names is here."""
    try:
        importlib.metadata.version(Requirement(requirement).name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def brought_in(requirements: Collection[str]) -> set[str]:
    """Canonical names of these requirements and of all that they need here in turn, read from what is installed."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    base = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    to_read = [(Requirement(line), "") for line in requirements]
    while to_read:
        requirement, extra = to_read.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        names.add(name)
        for wanted in {"", *requirement.extras} - {read for known, read in seen if known == name}:
            seen.add((name, wanted))
            try:
                needs = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                # Of an extra that is not installed here, as the GPU's.
                assert name not in base
                continue
            to_read += [(Requirement(line), wanted) for line in needs]
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("spoton-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    command += ["--disable-pip-version-check", "--root-user-action=ignore", "--target", str(folder), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def said_by(command: list[str], installed: Path, outside: Path) -> str:
    """What the command prints where only the installed project can be found, not the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=outside, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestWheel:
    def test_holds_the_project_and_nothing_else(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == {*PACKAGES, "faust_app.py"}
        assert not [name for name in names if "__pycache__" in name or name.endswith((".onnx", ".pyc", ".log"))]

    def test_holds_every_module_page_file_and_the_types(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        modules = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
        page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "api/static").rglob("*") if path.is_file()}
        assert "api/static/index.html" in page
        assert modules | page | {"spoton/py.typed", "faust_app.py"} <= names

    def test_is_small(self, wheel: Path) -> None:
        assert wheel.stat().st_size < 2_000_000

    def test_every_package_says_what_it_is(self) -> None:
        folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
        assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


class TestInstalled:
    def test_command_tells_its_version(self, installed: Path, tmp_path: Path) -> None:
        said = said_by([str(installed / "bin/spoton"), "--version"], installed, tmp_path)
        assert said == f"spoton {PROJECT['project']['version']}"

    def test_names_are_ours(self, installed: Path, tmp_path: Path) -> None:
        """PyTables and openai-agents install packages of the names ``tables`` and ``agents`` as well."""
        code = "import spoton, agents, tables, api\nfor one in spoton, agents, tables, api: print(one.__file__)"
        said = said_by([sys.executable, "-c", code], installed, tmp_path)
        assert said.splitlines() == [
            str(installed / name / "__init__.py") for name in ("spoton", "agents", "tables", "api")
        ]

    def test_everything_can_be_imported(self, installed: Path, tmp_path: Path) -> None:
        code = "import faust_app, spoton.cli, api.page\nprint(faust_app.__file__)"
        assert said_by([sys.executable, "-c", code], installed, tmp_path) == str(installed / "faust_app.py")

    def test_faust_finds_the_log(self, installed: Path, tmp_path: Path) -> None:
        code = (
            "from faust.transport.drivers import by_url\nfrom yarl import URL\n"
            "one = by_url(URL('log:///there'))\nimport inspect\nprint(one.__module__, inspect.getfile(one))"
        )
        said = said_by([sys.executable, "-W", "ignore", "-c", code], installed, tmp_path)
        assert said == f"spoton.log.transport {installed / 'spoton/log/transport.py'}"


class TestDependencies:
    def test_base_install_is_light(self) -> None:
        base = brought_in(PROJECT["project"]["dependencies"])
        assert {"numpy", "aiokafka", "mode-streaming"} <= base
        heavy = {"torch", "scipy", "pandas", "ultralytics", "opencv-python", "faiss-cpu", "matplotlib", "transformers"}
        assert not base & heavy

    def test_nobody_else_brings_our_names(self) -> None:
        everything = [*PROJECT["project"]["dependencies"]]
        for name, extra in PROJECT["project"]["optional-dependencies"].items():
            # What takes gigabytes, or a GPU, is looked into where somebody installed it.
            if name not in ("models", "gallery-gpu") or all(map(is_here, extra)):
                everything += extra
        assert not brought_in(everything) & {"tables", "openai-agents", "agents", "api"}


class TestRules:
    def test_every_module_is_pure_or_known_not_to_be(self) -> None:
        """A new file beside the others cannot escape the rules: it is in the contract or named here."""
        there = {f"spoton.{path.stem}" for path in (ROOT / "spoton").glob("*.py")} - {"spoton.__init__"}
        pure = contract("forbidden", "Pure modules")["source_modules"]
        assert len(pure) == len(set(pure))
        assert set(pure) == there - IMPURE
        assert there >= IMPURE

    def test_pure_modules_are_typed_strictly(self) -> None:
        (strict,) = (one["module"] for one in PROJECT["tool"]["mypy"]["overrides"] if one.get("strict"))
        assert set(strict) == {*contract("forbidden", "Pure modules")["source_modules"], "agents.*", "tables.*"}

    def test_pure_modules_know_no_package(self) -> None:
        packages = {f"spoton.{path.parent.name}" for path in (ROOT / "spoton").glob("*/__init__.py")}
        assert packages | IMPURE <= set(contract("forbidden", "Pure modules")["forbidden_modules"])

    def test_rules_have_no_exceptions(self) -> None:
        loopholes = {"ignore_imports", "allow_indirect_imports", "unmatched_ignore_imports_alerting"}
        assert not [one["name"] for one in PROJECT["tool"]["importlinter"]["contracts"] if loopholes & set(one)]

    def test_pure_modules_draw_nothing_by_chance(self) -> None:
        """numpy's chance is out of an import rule's sight."""
        for module in contract("forbidden", "Pure modules")["source_modules"]:
            source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
            assert not re.search(r"\b(np|numpy)\.random\b", source), module

    def test_nobody_imports_the_worker(self) -> None:
        assert set(contract("forbidden", "Nobody imports")["source_modules"]) == PACKAGES
        for package in sorted(PACKAGES):
            for path in (ROOT / package).rglob("*.py"):
                assert not {name for name in imported(path.read_text()) if name.split(".")[0] == "faust_app"}, path

    def test_imports_run_one_way(self) -> None:
        assert contract("layers", "one way")["layers"] == ["agents | api", "tables", "spoton"]
        assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == PACKAGES


TEXTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()]


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_project(text: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)|<img[^>]*src=\"([^\"]+)\"", text.read_text())
    local = [one or other for one, other in links if not re.match(r"[a-z]+:", one or other)]
    targets = {link: (text.parent / link).resolve() for link in local}
    assert not [link for link, target in targets.items() if not (target.exists() and target.is_relative_to(ROOT))]
