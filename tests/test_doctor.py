"""``spoton doctor`` against what it looks at: real servers, real files, real limits."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from spoton.doctor import broker, clock, database, gpu, kafka, machine, models, redis, report
from spoton.doctor.finding import Finding, in_thread, settled
from spoton.errors import InputError, LogCorrupt
from spoton.history import schema
from spoton.history.embedded import EmbeddedPostgres
from spoton.kafka.settings import servers
from spoton.log.lock import ProcessLock
from spoton.log.store import Store
from spoton.site import CameraSite, Site
from spoton.vision.weights import CATALOGUE

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("doctor"))
    yield server
    server.stop()


@pytest.fixture
async def fresh(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of an empty database."""
    name = f"doctor_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.url)
    await admin.execute(f"CREATE DATABASE {name}")
    yield postgres.url.replace("/postgres?", f"/{name}?")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis with the password ``open sesame``."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    folder = tmp_path_factory.mktemp("redis")
    settings = f'port {port}\nbind 127.0.0.1\ndir {folder}\nsave ""\nrequirepass "open sesame"\n'
    process = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    process.stdin.write(settings)
    process.stdin.close()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


def a_log(folder: Path) -> str:
    folder.mkdir()
    Store(folder / "log.db", sync="full").close()
    return f"log://{folder}"


class TestLog:
    def test_is_not_made_by_looking(self, tmp_path: Path) -> None:
        finding = broker.check(f"log://{tmp_path}/new/log")
        assert finding.verdict == "ok"
        assert "no log in" in finding.found
        assert list(tmp_path.iterdir()) == []

    def test_can_be_opened(self, tmp_path: Path) -> None:
        finding = broker.check(a_log(tmp_path / "log"))
        assert (finding.verdict, "can be opened; 0 topics, 0 records" in finding.found) == ("ok", True)

    def test_tells_who_has_it(self, tmp_path: Path) -> None:
        url = a_log(tmp_path / "log")
        code = (
            "import sys, pathlib\nfrom spoton.log.lock import ProcessLock\n"
            "lock = ProcessLock(pathlib.Path(sys.argv[1]), subject=pathlib.Path('log'))\nlock.acquire()\n"
            "print('held', flush=True)\nsys.stdin.read()"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "log/log.lock")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            assert owner.stdin is not None
            assert owner.stdout.readline() == "held\n"
            finding = broker.check(url)
            owner.stdin.close()
        assert finding.verdict == "warning"
        assert f"in use by process {owner.pid} (" in finding.found
        assert "kafka://" in finding.remedy

    def test_lock_is_given_back(self, tmp_path: Path) -> None:
        broker.check(a_log(tmp_path / "log"))
        lock = ProcessLock(tmp_path / "log/log.lock", subject=tmp_path)
        lock.acquire()
        lock.release()

    def test_that_is_damaged_is_a_fault(self, tmp_path: Path) -> None:
        url = a_log(tmp_path / "log")
        (tmp_path / "log/log.db").write_bytes(b"no database" * 1000)
        with pytest.raises(LogCorrupt):
            broker.check(url)
        finding = asyncio.run(settled("broker", in_thread(lambda: broker.check(url)), limit_s=5, remedy="?"))
        assert finding.verdict == "fault"
        assert "move its folder away" in finding.remedy


class TestDatabase:
    async def test_that_is_empty_will_be_filled(self, fresh: str) -> None:
        finding, ahead_s = await database.check(fresh)
        assert finding.verdict == "ok"
        assert "no TimescaleDB" in finding.found
        assert "tables are made at the first start" in finding.found
        # The same machine's clock: apart by less than the way there and back can have taken.
        assert ahead_s is not None
        assert abs(ahead_s) < database.TIMEOUT_S

    async def test_that_was_migrated(self, fresh: str) -> None:
        connection = await asyncpg.connect(fresh)
        await schema.migrate(connection)
        finding, _ = await database.check(fresh)
        assert finding.found.endswith("tables are there")
        await connection.execute("DROP TABLE positions")
        finding, _ = await database.check(fresh)
        assert (finding.verdict, "table positions is missing" in finding.found) == ("warning", True)
        await connection.close()

    async def test_counts_connections_that_are_left(self, fresh: str) -> None:
        def free(finding: Finding) -> int:
            return int(finding.found.split(" connections free")[0].rpartition(" ")[2])

        before = free((await database.check(fresh))[0])
        held = [await asyncpg.connect(fresh) for _ in range(3)]
        assert free((await database.check(fresh))[0]) == before - 3
        for connection in held:
            await connection.close()

    async def test_without_rights(self, fresh: str) -> None:
        owner = await asyncpg.connect(fresh)
        user = f"guest_{uuid.uuid4().hex}"
        await owner.execute(f"CREATE USER {user}")
        finding, _ = await database.check(fresh.replace("//postgres:", f"//{user}:"))
        assert finding.verdict == "fault"
        assert "may not make them" in finding.found
        await owner.execute(f"DROP USER {user}")
        await owner.close()

    async def test_of_no_such_name(self, postgres: EmbeddedPostgres) -> None:
        finding, ahead_s = await database.check(postgres.url.replace("/postgres?", "/nowhere?"))
        assert (finding.verdict, ahead_s) == ("fault", None)
        assert "CREATE DATABASE" in finding.remedy

    async def test_that_is_not_there(self, closed_port: int) -> None:
        finding, _ = await database.check(f"postgresql://spoton:secret@127.0.0.1:{closed_port}/spoton")
        assert finding.verdict == "fault"
        assert finding.found == f"127.0.0.1:{closed_port}/spoton: Connection refused"

    async def test_that_is_no_postgresql(self) -> None:
        with pytest.raises(InputError, match="'mysql'"):
            await database.check("mysql://localhost/spoton")

    def test_embedded_can_run(self, tmp_path: Path) -> None:
        finding = database.embedded(tmp_path / "data")
        assert finding.verdict == "ok"
        assert f"can run in {tmp_path / 'data' / 'postgres'}" in finding.found
        assert list(tmp_path.iterdir()) == []

    def test_embedded_that_runs(self, tmp_path: Path) -> None:
        server = EmbeddedPostgres(tmp_path / "postgres")
        try:
            pid = (tmp_path / "postgres/postmaster.pid").read_text().splitlines()[0]
            assert f"runs in {tmp_path / 'postgres'}, process {pid}" in database.embedded(tmp_path).found
        finally:
            server.stop()

    def test_of_a_standby_or_a_full_server(self) -> None:
        tables = frozenset(schema.TABLES)
        standby = database.Seen("16.4", True, True, None, tables, 90)
        assert database.judge("db", standby).verdict == "fault"
        full = database.Seen("16.4", False, True, "2.17.2", tables, 3)
        finding = database.judge("db", full)
        assert (finding.verdict, "TimescaleDB 2.17.2" in finding.found) == ("warning", True)


class TestRedis:
    async def test_answers(self, redis_port: int) -> None:
        finding = await redis.check(f"redis://:open%20sesame@127.0.0.1:{redis_port}/0")
        assert (finding.verdict, finding.found.startswith(f"127.0.0.1:{redis_port}/0 answers in")) == ("ok", False)
        assert finding.found.startswith(f"127.0.0.1:{redis_port} answers in")

    @pytest.mark.parametrize("password", ["", ":wrong@"])
    async def test_wants_a_password(self, redis_port: int, password: str) -> None:
        finding = await redis.check(f"redis://{password}127.0.0.1:{redis_port}")
        assert finding.verdict == "fault"
        assert "give the password" in finding.remedy
        assert "wrong" not in finding.found.lower().replace("wrongpass", "")

    async def test_is_not_there(self, closed_port: int) -> None:
        finding = await redis.check(f"redis://:secret@127.0.0.1:{closed_port}")
        assert (finding.verdict, finding.found) == ("fault", f"127.0.0.1:{closed_port}: Connection refused")

    async def test_is_not_configured(self) -> None:
        assert (await redis.check(None)).verdict == "ok"


@pytest.fixture
def kafka_server(request: pytest.FixtureRequest) -> str:
    """host:port of the broker of all tests; by its name, as the module under test has it too."""
    url: str = request.getfixturevalue("kafka")
    return servers(url)[0]


class TestKafka:
    async def test_answers(self, kafka_server: str) -> None:
        """Topics may be there or not: other tests use the same broker."""
        finding, _ = await kafka.check(f"kafka://{kafka_server}")
        assert f"{kafka_server}: 1 broker, " in finding.found
        assert (finding.verdict == "ok") == (finding.remedy == "")

    async def test_counts_records_and_sees_a_clock_that_is_ahead(self, kafka_server: str) -> None:
        topic = f"spoton-doctor-{uuid.uuid4().hex}"
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_server)
        await admin.start()
        await producer.start()
        try:
            await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
            at_ms = int(time.time() * 1000) + 3_600_000
            for partition in range(2):
                await producer.send_and_wait(topic, b"x", partition=partition, timestamp_ms=at_ms + partition)
            seen = await kafka.look([kafka_server], streams=(topic,))
        finally:
            await producer.stop()
            await admin.delete_topics([topic])
            await admin.close()
        assert (seen.partitions[topic], seen.records[topic], seen.replicas[topic]) == (3, 2, 1)
        assert seen.newest_ms == at_ms + 1

    async def test_is_not_there(self, closed_port: int) -> None:
        finding, ahead_s = await kafka.check(f"kafka://127.0.0.1:{closed_port}")
        assert (finding.verdict, ahead_s) == ("fault", None)
        assert finding.found == f"127.0.0.1:{closed_port}: Connection refused"

    async def test_is_something_else(self) -> None:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            finding, _ = await kafka.check(f"kafka://127.0.0.1:{port}")
        assert finding.verdict == "fault"
        assert "listens but does not answer as Kafka" in finding.found

    async def test_url_without_a_server(self) -> None:
        with pytest.raises(InputError, match="names no Kafka broker"):
            await kafka.check("kafka://")

    def test_what_is_wrong_with_topics(self) -> None:
        def judged(**changed: Any) -> Finding:
            seen = {
                "brokers": 3, "version": "", "cluster": "c", "partitions": {"frames": 4, "detections": 4},
                "replicas": {"frames": 2, "detections": 2}, "leaderless": [], "records": {}, "newest_ms": None,
            }  # fmt: skip
            return kafka.judge(["k:1"], [], kafka.Seen(**{**seen, **changed}))

        assert judged().verdict == "ok"
        assert judged(leaderless=["frames-1"]).verdict == "fault"
        odd = judged(partitions={"frames": 4, "detections": 8})
        assert (odd.verdict, "differ in partitions" in odd.found) == ("fault", True)
        assert judged(replicas={"frames": 1, "detections": 2}).verdict == "warning"


class TestWeights:
    SITE = Site("here", (CameraSite("north"),), detector="yolox-nano+tiles")

    def test_none_are_needed(self, tmp_path: Path) -> None:
        finding = models.check(tmp_path, Site("here", (CameraSite("north"),)))
        assert (finding.verdict, f"{tmp_path}: none" in finding.found) == ("ok", True)

    def test_that_the_site_names_are_missing(self, tmp_path: Path) -> None:
        finding = models.check(tmp_path, self.SITE)
        assert (finding.verdict, finding.remedy) == ("fault", "spoton models pull yolox-nano")

    def test_that_come_from_elsewhere_are_missing(self, tmp_path: Path) -> None:
        site = Site("here", (CameraSite("north"),), embedder="clip")
        finding = models.check(tmp_path, site)
        assert (finding.verdict, "hf download openai/clip" in finding.remedy) == ("fault", True)
        (tmp_path / "clip").mkdir()
        (tmp_path / "clip" / "config.json").write_text("{}")
        assert models.check(tmp_path, site).verdict == "ok"

    @pytest.mark.parametrize(("name", "verdict"), [("yolox-nano", "fault"), ("osnet", "warning")])
    def test_that_are_damaged(self, tmp_path: Path, name: str, verdict: str) -> None:
        (tmp_path / CATALOGUE[name].file).write_bytes(b"cut short")
        finding = models.check(tmp_path, self.SITE if verdict == "fault" else None)
        assert (finding.verdict, finding.found.startswith(f"{tmp_path / CATALOGUE[name].file}: 9 bytes")) == (
            verdict, True,
        )  # fmt: skip
        assert f"spoton models pull {name}" in finding.remedy

    def test_that_are_whole(self) -> None:
        shared = os.environ.get("SPOTON_SHARED")
        if not shared or not (Path(shared) / "weights").is_dir():
            pytest.skip("SPOTON_SHARED names no folder with weights/")
        finding = models.check(Path(shared) / "weights", self.SITE)
        assert (finding.verdict, "yolox-nano" in finding.found) == ("ok", True)

    def test_of_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        site = Site("here", (CameraSite("north", detector="/nowhere/own.onnx"),))
        assert models.check(tmp_path, site).verdict == "fault"


class TestMachine:
    def test_disk_is_measured(self, tmp_path: Path) -> None:
        finding = machine.disk(tmp_path / "data", f"log://{tmp_path}/log")
        assert f"GB free at {tmp_path}, 2.0 GB wanted to start with" in finding.found
        assert list(tmp_path.iterdir()) == []

    def test_disk_need_follows_the_log(self, tmp_path: Path) -> None:
        url = a_log(tmp_path / "log")
        assert machine.week_of_log(url) is None
        hour_ms = 3_600_000
        write_records(tmp_path / "log/log.db", [0, 2 * hour_ms])
        size = (tmp_path / "log/log.db").stat().st_size
        assert machine.week_of_log(url) == size * 7 * 12 - size

    def test_clock_is_read(self) -> None:
        by_kernel = clock.kept()
        if by_kernel is None:
            pytest.skip("the kernel does not say how it keeps time")
        assert by_kernel.most_off_s >= 0.0

    @pytest.mark.parametrize(
        ("jumped_s", "by_kernel", "ahead_s", "verdict", "said"),
        [
            (0.0, clock.Kept(True, 0.004), {}, "ok", "at most 4 ms off"),
            (0.0, clock.Kept(False, 16.0), {}, "warning", "unsynchronised"),
            (0.0, None, {"database": 0.01}, "ok", "database +0.010 s"),
            (-1.0, clock.Kept(True, 0.0), {}, "warning", "jumped by -1.000 s"),
            (0.0, clock.Kept(True, 0.0), {"database": -0.2, "newest record in Kafka": 0.0}, "warning", "-0.200 s"),
        ],
    )
    def test_clock_is_judged(
        self, jumped_s: float, by_kernel: clock.Kept | None, ahead_s: dict[str, float], verdict: str, said: str
    ) -> None:
        finding = clock.judge(jumped_s, by_kernel, ahead_s)
        assert (finding.verdict, said in finding.found) == (verdict, True), finding

    def test_gpu_that_nothing_uses(self) -> None:
        assert gpu.judge(gpu.Gpus((), "", ("CPUExecutionProvider",))).verdict == "ok"
        idle = gpu.judge(gpu.Gpus(("L4",), "550.90", ("CPUExecutionProvider",)))
        assert (idle.verdict, "onnxruntime-gpu" in idle.remedy) == ("warning", True)
        assert gpu.judge(gpu.Gpus(("L4",), "550.90", ("CUDAExecutionProvider",))).verdict == "ok"

    async def test_gpu_here(self) -> None:
        there = await gpu.look()
        assert "CPUExecutionProvider" in there.providers
        assert bool(there.names) == bool(there.driver)


class TestCommand:
    def run(self, *arguments: str, files: int | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPOTON_")}

        def limit() -> None:
            assert files is not None
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        return subprocess.run(
            [sys.executable, "-P", "-m", "spoton.cli", "doctor", *arguments],
            capture_output=True, text=True, env=clean | environment, preexec_fn=limit if files else None, cwd=ROOT,
        )  # fmt: skip

    def test_nothing_wrong(self, tmp_path: Path) -> None:
        done = self.run("--data", str(tmp_path / "data"), "--weights", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "broker", "database", "redis", "weights", "gpu", "disk", "clock", "open", "memory",
        ]  # fmt: skip
        assert "fault" not in done.stdout
        assert list(tmp_path.iterdir()) == []

    def test_faults_and_their_remedies(self, tmp_path: Path, closed_port: int) -> None:
        site = tmp_path / "site.toml"
        site.write_text("[site]\nname = 'here'\n" + "".join(f"[[camera]]\nname = 'c{n}'\n" for n in range(10)))
        done = self.run(
            "--json", "--site", str(site), "--data", str(tmp_path), "--broker", f"kafka://127.0.0.1:{closed_port}",
            "--database", f"postgresql://u:secret@127.0.0.1:{closed_port}/x", "--redis", f"redis://127.0.0.1:{closed_port}",
            files=128,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "secret" not in done.stdout
        said = json.loads(done.stdout)
        assert said["status"] == "fault"
        verdicts = {one["subject"]: one["verdict"] for one in said["findings"]}
        assert [name for name, verdict in verdicts.items() if verdict == "fault"] == [
            "broker", "database", "redis", "open files",
        ]  # fmt: skip
        assert all(one["remedy"] for one in said["findings"] if one["verdict"] != "ok")
        (files,) = (one for one in said["findings"] if one["subject"] == "open files")
        assert files["found"] == "128 open files allowed, 336 wanted for 10 cameras"
        assert "LimitNOFILE=336" in files["remedy"]

    def test_environment_says_what_a_worker_would_take(self, tmp_path: Path, closed_port: int) -> None:
        done = self.run(
            "--json", SPOTON_DATA=str(tmp_path), SPOTON_BROKER=f"kafka://127.0.0.1:{closed_port}",
            SPOTON_SITE=str(tmp_path / "missing.toml"),
        )  # fmt: skip
        said = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}
        assert (said["site"]["verdict"], said["broker"]["verdict"]) == ("fault", "fault")
        assert "missing.toml" in said["site"]["found"]

    def test_broker_of_another_kind(self, tmp_path: Path) -> None:
        done = self.run("--broker", "amqp://host", "--data", str(tmp_path))
        assert (done.returncode, "broker    " in done.stdout) == (1, True)
        assert "write log:///absolute/folder or kafka://host:9092" in done.stdout


class TestReasons:
    async def test_of_every_kind_of_address(self, closed_port: int) -> None:
        """``localhost`` has two addresses on most machines; ``.invalid`` has none anywhere."""
        assert (await redis.check(f"redis://localhost:{closed_port}")).found.endswith(": Connection refused")
        unknown = (await redis.check("redis://nowhere.invalid:1")).found
        assert unknown.startswith("nowhere.invalid:1: ")
        assert "Errno" not in unknown


class TestLimits:
    async def test_what_never_answers_is_a_fault(self) -> None:
        async def silent() -> Finding:
            await asyncio.Event().wait()
            raise AssertionError

        finding = await settled("database", silent(), limit_s=0.01, remedy="wake it")
        assert finding == Finding("database", "fault", "no answer within 0.01 s", "wake it")

    def test_a_thread_that_hangs_does_not_hold_the_command(self) -> None:
        code = (
            "import asyncio, threading\nfrom spoton.doctor.finding import in_thread, settled\n"
            "print(asyncio.run(settled('disk', in_thread(threading.Event().wait), limit_s=0.1, remedy='')).verdict)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "fault\n"), done.stderr

    async def test_all_of_them_have_one(self, tmp_path: Path) -> None:
        """Servers that take the connection and then say nothing."""
        done = asyncio.Event()

        async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await done.wait()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wishes = report.Wishes(
            site=None, broker=f"kafka://127.0.0.1:{port}", database=f"postgresql://u@127.0.0.1:{port}/x",
            redis=f"redis://127.0.0.1:{port}", data=tmp_path, weights=tmp_path,
        )  # fmt: skip
        findings = await asyncio.to_thread(report.examine, wishes)
        verdicts = {one.subject: one.verdict for one in findings}
        assert (verdicts["broker"], verdicts["database"], verdicts["redis"]) == ("fault", "fault", "fault")
        done.set()
        server.close()
        await server.wait_closed()


def write_records(file: Path, at_ms: list[int]) -> None:
    """Put records of these times on a topic of the log."""
    from spoton.log.record import Record, Topic
    from spoton.log.schema import to_row
    from spoton.log.store import Batch

    topic = Topic(1, "detections", 1, None, False)
    store = Store(file, sync="full")
    rows = [to_row(topic.lane(0), Record(n, at, b"k", b"v", ()), at) for n, at in enumerate(at_ms)]
    store.write([Batch(topics=[topic], events=rows)])
    store.close()
