"""What runs in containers: docker-compose.yml, Dockerfile and what lies in deploy/, property by property."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from api.metrics import LiveMetrics
from api.status import WorkerMetrics
from spoton.live.state import LiveState
from spoton.site import CameraSite, Site

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ROLES = ("capture", "detection", "identity", "archive", "projection", "behaviour")
OURS = {name: one for name, one in SERVICES.items() if str(one["image"]).startswith("spoton:")}
PER_PROFILE = {"cpu": {"capture", "detection", "findings"}, "gpu": {"capture", "detection-gpu", "findings"}}
REQUIRED = {"SITE_FOLDER", "WEIGHTS_FOLDER", "DATABASE_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}


def words(service: dict[str, Any]) -> list[str]:
    command = service.get("command", [])
    return shlex.split(command) if isinstance(command, str) else list(command)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def role_ports(service: dict[str, Any]) -> dict[str, int]:
    """Where a worker serves each of its roles: the k-th, in the program's order, on its metrics port + k."""
    command = words(service)
    asked = option(command, "--roles").split(",")
    first = int(option(command, "--metrics-port"))
    return {role: first + k for k, role in enumerate(role for role in ROLES if role in asked)}


def workers() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in OURS.items() if words(one)[0] == "worker"}


def interpolated(text: str) -> dict[str, str]:
    """Every variable that Compose puts in, and what follows its name."""
    return dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", text))


def read_by_the_program() -> set[str]:
    sources = [*(ROOT / "spoton").rglob("*.py"), *(ROOT / "api").rglob("*.py"), ROOT / "faust_app.py"]
    return {name for path in sources for name in re.findall(r"SPOTON_[A-Z_]+", path.read_text())}


class TestServices:
    def test_what_there_is(self) -> None:
        assert set(SERVICES) - set(OURS) == {"kafka", "database", "redis", "prometheus", "grafana"}
        assert set(OURS) == {"api", "capture", "detection", "detection-gpu", "findings"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_image_is_pinned(self, name: str) -> None:
        tag = SERVICES[name]["image"].rpartition(":")[2]
        assert tag in ("cpu", "cuda") if name in OURS else re.match(r"v?\d+\.\d+\.\d+", tag)

    @pytest.mark.parametrize("name", SERVICES)
    def test_health_is_checked(self, name: str) -> None:
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert len(check["test"]) > 1
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)

    @pytest.mark.parametrize("name", SERVICES)
    def test_user_is_not_root(self, name: str) -> None:
        assert re.fullmatch(r"[1-9]\d*:\d+", SERVICES[name]["user"])

    @pytest.mark.parametrize("name", SERVICES)
    def test_process_gains_no_rights(self, name: str) -> None:
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert not {"privileged", "cap_add", "pid", "network_mode", "devices"} & set(service)

    @pytest.mark.parametrize("name", SERVICES)
    def test_comes_back_and_is_bounded(self, name: str) -> None:
        service = SERVICES[name]
        assert service["restart"] == "unless-stopped"
        assert re.fullmatch(r"\d+[mg]", service["deploy"]["resources"]["limits"]["memory"])
        assert "max-size" in service["logging"]["options"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_waits_for_the_health_of_what_it_needs(self, name: str) -> None:
        needs = SERVICES[name].get("depends_on", {})
        assert all(need["condition"] == "service_healthy" for need in needs.values())
        assert set(needs) >= ({"kafka", "database"} if name in OURS else set())

    def test_only_the_api_is_published_and_on_loopback(self) -> None:
        ports = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
        assert ports == {"api": ["${SPOTON_PUBLISH:-127.0.0.1}:${SPOTON_PORT:-8321}:8321"]}
        assert option(words(SERVICES["api"]), "--port") == "8321"

    def test_only_who_must_reaches_the_outside(self) -> None:
        assert COMPOSE["networks"]["inside"] == {"internal": True}
        assert {name for name, one in SERVICES.items() if "outside" in one["networks"]} == {"api", "capture"}
        assert all("inside" in one["networks"] for one in SERVICES.values())

    def test_dashboards_are_published_on_loopback_alone(self) -> None:
        extra = yaml.safe_load((DEPLOY / "dashboards-port.yml").read_text())
        assert list(extra["services"]) == ["grafana"]
        assert all(port.startswith("127.0.0.1:") for port in extra["services"]["grafana"]["ports"])


class TestVolumes:
    def test_data_lies_on_named_volumes(self) -> None:
        used = set()
        for one in SERVICES.values():
            for volume in one.get("volumes", []):
                source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
                if not source.startswith(("./", "${")):
                    used.add(source)
        assert used == set(COMPOSE["volumes"]) == {"kafka", "database", "redis", "prometheus", "grafana"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_what_lies_on_the_host_is_read_only(self, name: str) -> None:
        for volume in SERVICES[name].get("volumes", []):
            if isinstance(volume, dict):
                assert (volume["type"], volume["read_only"]) == ("bind", True)
            elif volume.startswith("./"):
                source, _, mode = volume.split(":")
                assert mode == "ro"
                assert (ROOT / source).exists()

    @pytest.mark.parametrize("name", OURS)
    def test_site_and_weights_lie_where_the_program_looks(self, name: str) -> None:
        targets = {volume["target"] for volume in OURS[name]["volumes"]}
        environment = OURS[name]["environment"]
        assert targets == {str(Path(environment["SPOTON_SITE"]).parent), environment["SPOTON_WEIGHTS"]}
        assert option(words(OURS[name]), "--site") == environment["SPOTON_SITE"]

    @pytest.mark.parametrize("name", OURS)
    def test_root_of_ours_is_read_only(self, name: str) -> None:
        assert OURS[name]["read_only"] is True
        assert f"VOLUME {OURS[name]['environment']['SPOTON_DATA']}\n" in DOCKERFILE


class TestSecrets:
    def test_must_be_set(self) -> None:
        found = interpolated(TEXT)
        assert {name for name, rest in found.items() if rest.startswith(":?")} == REQUIRED
        assert all(f"set {name} in .env" in found[name] for name in REQUIRED)

    def test_none_is_written_down(self) -> None:
        for path in (ROOT / "docker-compose.yml", *DEPLOY.rglob("*")):
            for line in path.read_text().splitlines() if path.is_file() else ():
                assert not re.search(r"://[^/\s:@]*:[^/\s@$]+@", line), f"{path}: {line}"
                secret = re.search(r"(?i)(?:password|secret|token|requirepass|_auth)\w*\"?\s*[:=\s]\s*(\S+)", line)
                if secret and not line.lstrip().startswith("#"):
                    assert secret[1].startswith(("${", '"$$')), f"{path}: {line}"

    def test_example_names_all_and_fills_in_none(self) -> None:
        lines = [line for line in (DEPLOY / ".env.example").read_text().splitlines() if line and line[0] != "#"]
        assert all(re.fullmatch(r"[A-Z_]+=", line) for line in lines)
        assert {line.rstrip("=") for line in lines} == set(interpolated(TEXT))

    def test_env_file_stays_private(self) -> None:
        assert ".env" in (ROOT / ".gitignore").read_text().split()


class TestRedisCommand:
    def test_wants_the_password_and_is_healthy(self, tmp_path: Path) -> None:
        """What the container runs, on a Redis of this machine."""
        if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
            pytest.skip("redis-server is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        service = SERVICES["redis"]
        assert service["command"][:2] == ["sh", "-c"]
        script = service["command"][2].replace("$$", "$").replace("/data", f"{tmp_path}\nbind 127.0.0.1\nport {port}")
        environment = {**os.environ, "REDISCLI_AUTH": "it's 5 $PATH words"}
        asking = service["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -h 127.0.0.1 -p {port}")
        process = subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                healthy = subprocess.run(["sh", "-c", asking], env=environment, capture_output=True).returncode == 0
                if healthy:
                    break
                time.sleep(0.1)
            assert healthy
            refused = subprocess.run(["sh", "-c", asking], env={**environment, "REDISCLI_AUTH": "other"})
            assert refused.returncode != 0
            assert environment["REDISCLI_AUTH"] not in Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.terminate()
            assert process.wait(10) == 0


class TestWorkers:
    @pytest.mark.parametrize("profile", PER_PROFILE)
    def test_a_profile_runs_every_role_once(self, profile: str) -> None:
        running = {name: one for name, one in workers().items() if profile in one["profiles"]}
        assert set(running) == PER_PROFILE[profile]
        roles = [role for one in running.values() for role in role_ports(one)]
        assert sorted(roles) == sorted(ROLES)

    def test_the_rest_runs_with_any_profile(self) -> None:
        assert {name for name, one in SERVICES.items() if "profiles" not in one} == set(SERVICES) - set(workers())

    def test_gpu_is_reserved_for_the_gpu_image(self) -> None:
        reserving = {
            name: one["build"]["target"]
            for name, one in SERVICES.items()
            if "reservations" in one["deploy"]["resources"]
        }
        assert reserving == {"detection-gpu": "cuda"}

    def test_variables_are_those_that_the_program_reads(self) -> None:
        set_here = {name for one in OURS.values() for name in one["environment"] if name.startswith("SPOTON_")}
        assert {"SPOTON_SITE", "SPOTON_BROKER", "SPOTON_DATABASE"} <= set_here <= read_by_the_program()

    @pytest.mark.parametrize("name", OURS)
    def test_options_agree_with_the_environment(self, name: str) -> None:
        command, environment = words(OURS[name]), OURS[name]["environment"]
        assert option(command, "--broker") == environment["SPOTON_BROKER"]
        assert option(command, "--database") == environment["SPOTON_DATABASE"]

    def test_addresses_are_those_of_the_services(self) -> None:
        environment = SERVICES["api"]["environment"]
        kafka = SERVICES["kafka"]["environment"]
        assert kafka["KAFKA_ADVERTISED_LISTENERS"] == environment["SPOTON_BROKER"].replace("kafka://", "PLAINTEXT://")
        database = SERVICES["database"]["environment"]
        user, name = database["POSTGRES_USER"], database["POSTGRES_DB"]
        assert environment["SPOTON_DATABASE"] == f"postgresql://{user}@database:5432/{name}"
        assert environment["PGPASSWORD"] == database["POSTGRES_PASSWORD"]

    @pytest.mark.parametrize("name", workers())
    def test_health_of_every_role_is_asked(self, name: str) -> None:
        _, program, *urls = OURS[name]["healthcheck"]["test"]
        assert program == "spoton-healthy"
        assert urls == [f"http://127.0.0.1:{port}/health" for port in role_ports(OURS[name]).values()]


class TestPrometheus:
    JOBS: ClassVar = {one["job_name"]: one for one in PROMETHEUS["scrape_configs"]}

    def test_every_role_is_read_where_it_is_served(self) -> None:
        served: dict[str, set[tuple[str, int]]] = {"api": {("api", 8321)}}
        for name, one in workers().items():
            for role, port in role_ports(one).items():
                served.setdefault(role, set()).add((name, port))
        read = {
            job: {(name, found["port"]) for found in one["dns_sd_configs"] for name in found["names"]}
            for job, one in self.JOBS.items()
            if "dns_sd_configs" in one
        }
        assert read == served

    def test_names_are_looked_up_as_addresses(self) -> None:
        found = [found for one in self.JOBS.values() for found in one.get("dns_sd_configs", [])]
        assert {one["type"] for one in found} == {"A"}

    def test_configuration_is_mounted_where_it_is_read(self) -> None:
        (mounted,) = (one for one in SERVICES["prometheus"]["volumes"] if one.startswith("./"))
        assert f"--config.file={mounted.split(':')[1]}" in words(SERVICES["prometheus"])


class TestGrafana:
    DASHBOARD: ClassVar[dict[str, Any]] = json.loads((DEPLOY / "grafana/dashboards/spoton.json").read_text())

    def expressions(self) -> list[str]:
        panels = [target["expr"] for panel in self.DASHBOARD["panels"] for target in panel["targets"]]
        return panels + [one["definition"] for one in self.DASHBOARD["templating"]["list"]]

    def test_draws_only_what_is_measured(self) -> None:
        registry = CollectorRegistry()
        registry.register(LiveMetrics(LiveState(Site("here", (CameraSite("north"),)))))
        registry.register(WorkerMetrics("identity", dict, {}))
        served = set(re.findall(r"# TYPE (\w+)", generate_latest(registry).decode()))
        # Served once there has been an event.
        served.add("spoton_event_age_seconds")
        drawn = {name for one in self.expressions() for name in re.findall(r"\bspoton_\w+", one)}
        least = {"spoton_camera_online", "spoton_camera_frames_total", "spoton_camera_lag_seconds"}
        assert least | {"spoton_worker_lag_records", "spoton_worker_restarts_total"} <= drawn <= served

    def test_counters_are_drawn_as_rates(self) -> None:
        for one in self.expressions():
            for name in re.findall(r"\bspoton_\w+_total", one):
                assert f"rate({name}" in one

    def test_panels_do_not_overlap(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in self.DASHBOARD["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert place["x"] + place["w"] <= 24
            taken |= cells

    def test_finds_its_source_and_its_dashboard(self) -> None:
        provisioning = DEPLOY / "grafana/provisioning"
        (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
        assert source["url"] == "http://prometheus:9090"
        used = {panel["datasource"]["uid"] for panel in self.DASHBOARD["panels"]}
        assert used == {source["uid"]}
        (provider,) = yaml.safe_load((provisioning / "dashboards/spoton.yml").read_text())["providers"]
        mounted = dict(one.split(":")[:2] for one in SERVICES["grafana"]["volumes"])
        assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        assert Path(home) == Path(provider["options"]["path"]) / "spoton.json"


class TestCompose:
    def command(self) -> list[str]:
        for command in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
                return command
        pytest.skip("neither docker compose nor docker-compose is installed")

    def config(self, tmp_path: Path, given: set[str], *files: str) -> subprocess.CompletedProcess[str]:
        env_file = tmp_path / "env"
        env_file.write_text("".join(f"{name}=/{name.lower()}\n" for name in sorted(given)))
        chosen = [word for file in ("docker-compose.yml", *files) for word in ("--file", str(ROOT / file))]
        options = ["--env-file", str(env_file), *chosen, "--profile", "cpu", "--profile", "gpu"]
        clean = {name: value for name, value in os.environ.items() if name not in interpolated(TEXT)}
        return subprocess.run(
            [*self.command(), *options, "config"], cwd=ROOT, env=clean, capture_output=True, text=True
        )

    def test_accepts_the_file(self, tmp_path: Path) -> None:
        done = self.config(tmp_path, REQUIRED)
        assert done.returncode == 0, done.stderr
        resolved = yaml.safe_load(done.stdout)
        assert set(resolved["services"]) == set(SERVICES)
        assert "127.0.0.1" in str(resolved["services"]["api"]["ports"])
        # One dollar stays for the shell in the container.
        assert "requirepass" in str(resolved["services"]["redis"]["command"])

    def test_accepts_the_port_of_the_dashboards(self, tmp_path: Path) -> None:
        done = self.config(tmp_path, REQUIRED, "deploy/dashboards-port.yml")
        assert done.returncode == 0, done.stderr
        assert yaml.safe_load(done.stdout)["services"]["grafana"]["ports"]

    @pytest.mark.parametrize("missing", sorted(REQUIRED))
    def test_refuses_to_go_on_without(self, tmp_path: Path, missing: str) -> None:
        done = self.config(tmp_path, REQUIRED - {missing})
        assert done.returncode != 0
        assert f"set {missing} in .env" in done.stderr.replace("\n", " ")


class TestDockerfile:
    STAGES: ClassVar = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))

    def test_stages(self) -> None:
        assert list(self.STAGES) == ["wheel", "cpu-packages", "cuda-python", "cuda-packages", "cuda", "cpu"]
        assert {one["build"]["target"] for one in OURS.values()} <= set(self.STAGES)

    @pytest.mark.parametrize("target", ["cpu", "cuda"])
    def test_target(self, target: str) -> None:
        stage = self.STAGES[target]
        user = re.findall(r"^USER (\S+)", stage, re.MULTILINE)
        assert user == [OURS["api"]["user"]]
        assert f"--uid {user[0].partition(':')[0]} " in stage
        assert re.search(r"^HEALTHCHECK .*CMD", stage, re.MULTILINE)
        assert 'ENTRYPOINT ["spoton"]' in stage
        # Nothing is built or downloaded in what is shipped.
        assert not re.search(r"\b(pip|apt-get|curl|wget)\b", stage)

    def test_targets_differ_in_their_packages_alone(self) -> None:
        assert self.STAGES["cuda"].replace("cuda-packages", "cpu-packages").strip() == self.STAGES["cpu"].strip()

    def test_nothing_is_fetched_by_address(self) -> None:
        assert not re.search(r"^ADD\b", DOCKERFILE, re.MULTILINE)
        assert "://" not in DOCKERFILE

    def test_images_are_pinned(self) -> None:
        images = re.findall(r"^ARG \w+_IMAGE=\S+:(\S+)$", DOCKERFILE, re.MULTILINE)
        assert len(images) == 2
        assert all(re.match(r"\d+\.\d+", tag) for tag in images)

    def test_no_secret_comes_by_argument(self) -> None:
        assert not re.search(r"(?i)^(ARG|ENV).*(password|secret|token|key)", DOCKERFILE, re.MULTILINE)

    def test_wheel_is_built_from_what_is_copied(self, tmp_path: Path) -> None:
        """The first stage by hand: copy what it copies of what .dockerignore lets through, build, look inside."""
        source = tmp_path / "source"
        source.mkdir()
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", self.STAGES["wheel"], re.MULTILINE)
        for name in " ".join(copied).split():
            assert name in allowed
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / name)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.glob("spoton-*.whl"))

    def test_everything_copied_later_is_let_through(self) -> None:
        later = re.findall(r"^COPY --chmod=\d+ (\S+) ", DOCKERFILE, re.MULTILINE)
        assert set(later) == {"deploy/healthy.py"}
        assert "!deploy/healthy.py" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.fixture
def answers() -> Iterator[tuple[str, str]]:
    """Two addresses: one that answers 200, one that answers 503."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        where = f"http://127.0.0.1:{server.server_port}"
        yield f"{where}/health", f"{where}/down"
        server.shutdown()
        thread.join()


class TestHealthy:
    def healthy(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        # A proxy for everything else must not be asked for what runs in the container itself.
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        spec = importlib.util.spec_from_file_location("healthy", DEPLOY / "healthy.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    def test_when_all_answer(self, answers: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.healthy(monkeypatch)([answers[0], answers[0]]) == 0

    def test_not_when_one_is_down(
        self, answers: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.healthy(monkeypatch)(list(answers)) == 1
        assert answers[1] in capsys.readouterr().err

    def test_asks_the_api_by_default(self, answers: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPOTON_PORT", answers[0].rpartition(":")[2].partition("/")[0])
        assert self.healthy(monkeypatch)([]) == 0
        monkeypatch.setenv("SPOTON_PORT", "1")
        assert self.healthy(monkeypatch)([]) == 1
