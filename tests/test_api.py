"""The API over a real history database and a live state fed with real events."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from api import checks
from api.app import create_api
from api.health import Health
from api.history import History as Asked
from api.history import NoHistory
from spoton import events
from spoton.errors import LogError
from spoton.events import Evidence, Located, TrackRef, event_id
from spoton.history.embedded import EmbeddedPostgres
from spoton.history.history import History
from spoton.live.state import LiveState
from spoton.site import CameraSite, Floor, Homography, Pinhole, Site, Zone

START_US = 1_700_000_000_000_000
LOOKING_DOWN = Pinhole(
    K=((500.0, 0.0, 320.0), (0.0, 500.0, 240.0), (0.0, 0.0, 1.0)),
    R=((1.0, 0.0, 0.0), (0.0, -0.5, -0.8660254037844386), (0.0, 0.8660254037844386, -0.5)),
    t=(-4.0, 4.330127018922193, 2.5),
)
SITE = Site(
    name="plaza",
    cameras=(
        CameraSite("north", size_px=(640, 480), calibration=LOOKING_DOWN),
        CameraSite("south", calibration=Homography(((0.01, 0, 0), (0, 0.01, 0), (0, 0, 1)))),
        CameraSite("blind"),
    ),
    floor=Floor(size_m=(8.0, 6.0)),
    zones=(Zone("door", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))),),
)


def recorded() -> list[Any]:
    """Three seconds of one person, as events in the order of their streams."""
    made: list[Any] = []

    def add(kind: type[events.Event], key: str, s: float, **fields: Any) -> None:
        seq = 1 + sum(one.stream == kind.stream for one in made)
        at = START_US + round(s * 1e6)
        made.append(kind(id=event_id(kind.stream, key, seq, at), at=at, site="plaza", seq=seq, **fields))

    add(events.CameraOnline, "north", 0, camera="north", session=1, size_px=(640, 480), epoch=START_US)
    add(events.PersonAppeared, "plaza", 0, person="p-1", number=1, x_m=1.0, y_m=2.0, seen=[TrackRef("north", 5)])
    add(events.TrackAssigned, "plaza", 0, person="p-1", camera="north", track=5, evidence=Evidence(distance_m=0.2))
    for n in range(30):
        add(
            events.PeopleDetected, "north", n / 10, camera="north", frame=n, size_px=(640, 480),
            boxes_px=[(10.0 + n, 20.0, 30.0, 60.0)], scores=[0.9], tracks=[5], detector="picodet-s",
        )  # fmt: skip
        person = Located(
            person="p-1", number=1, x_m=n / 10, y_m=2.0, vx_m_s=1.0, vy_m_s=0.0, cov_m2=(0.1, 0.0, 0.1),
            seen=[TrackRef("north", 5)], zone="door",
        )  # fmt: skip
        add(events.PeopleLocated, "plaza", n / 10, tick=n, frames={"north": n}, people=[person])
    add(events.FramesSkipped, "north", 3, camera="north", first=30, last=33)
    return made


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    yield server.url
    server.stop()


@pytest.fixture
async def history(database_url: str) -> AsyncIterator[History]:
    opened = await History.connect(database_url)
    await opened.write([events.encode(event) for event in recorded()])
    yield opened
    await opened.close()


@pytest.fixture
def live() -> LiveState:
    state = LiveState(SITE)
    for event in recorded():
        state.apply(event)
    return state


class Asking:
    """A client of one running API."""

    def __init__(self, server: TestServer, session: ClientSession) -> None:
        self.server, self.session = server, session

    async def get(self, path: str, expect: int = 200, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.server.make_url(path), headers=named) as response:
            text = await response.text()
            assert response.status == expect, text
            self.headers = response.headers
            return json.loads(text) if response.content_type == "application/json" else text

    def socket(self, **options: Any) -> Any:
        return self.session.ws_connect(self.server.make_url("/ws/tracking"), **options)


Start = Callable[..., Awaitable[Asking]]


@pytest.fixture
async def start(live: LiveState) -> AsyncIterator[Start]:
    """``await start(...)`` runs an API; the history is one that is not configured unless given."""
    servers: list[TestServer] = []
    session = ClientSession()

    async def run(history: Asked | None = None, *, site: Site = SITE, **options: Any) -> Asking:
        asked = history or NoHistory()
        wanted = options.pop("measure", {"database": checks.database(asked)})
        app = create_api(
            site=site, live=options.pop("live", live), history=asked, registry=CollectorRegistry(),
            health=Health(wanted, version="1.2.3", timeout_s=options.pop("timeout_s", 5.0)), **options,
        )  # fmt: skip
        server = TestServer(app)
        await server.start_server(shutdown_timeout=2)
        servers.append(server)
        return Asking(server, session)

    yield run
    await session.close()
    for server in servers:
        await server.close()


# --- health and metrics -------------------------------------------------------------------------------------------


async def test_health_measures_each_service(start: Start, history: History) -> None:
    async def broker() -> dict[str, Any]:
        return {"status": "ok", "url": "log:///tmp/x"}

    measure = {
        "database": checks.database(history), "redis": checks.redis(None), "gpu": checks.gpu(), "broker": broker,
    }  # fmt: skip
    api = await start(history, measure=measure)
    told = await api.get("/health")
    assert set(told) == {"status", "timestamp", "version", "site", "services"}
    assert told["version"] == "1.2.3"
    assert told["status"] == "degraded", "two cameras never delivered"
    assert told["services"]["database"]["status"] == "ok"
    assert told["services"]["database"]["ms"] > 0
    assert told["services"]["redis"] == {"status": "not configured"}
    assert told["services"]["broker"]["url"] == "log:///tmp/x"
    assert "CPUExecutionProvider" in told["services"]["gpu"]["providers"]
    assert told["services"]["gpu"]["status"] in ("ok", "not used", "none found")
    north = told["services"]["cameras"]["north"]
    assert (north["status"], north["fps"], north["frames_skipped"], north["detector"]) == ("online", 10, 4, "picodet-s")
    assert north["last_frame_age_s"] >= 0
    assert told["services"]["cameras"]["blind"]["status"] == "waiting"


async def test_health_is_ok_when_everything_is(start: Start) -> None:
    site = Site(name="plaza", cameras=(CameraSite("north"),))
    live = LiveState(site)
    for event in recorded():
        live.apply(event)
    api = await start(live=live, site=site)
    told = await api.get("/health")
    assert told["status"] == "ok"
    assert told["services"]["database"] == {"status": "not configured"}


@pytest.mark.parametrize(("ended", "status"), [(True, "ok"), (False, "degraded")])
async def test_a_video_at_its_end_is_well_and_a_camera_that_is_gone_is_not(
    start: Start, ended: bool, status: str
) -> None:
    site = Site(name="plaza", cameras=(CameraSite("north"),))
    live = LiveState(site)
    gone = events.CameraOffline(
        id="x", at=START_US + 4_000_000, site="plaza", seq=99, camera="north", session=1, reason="gone", ended=ended
    )
    for event in (*recorded(), gone):
        live.apply(event)
    assert (await (await start(live=live, site=site)).get("/health"))["status"] == status


async def test_health_is_down_without_the_broker_and_says_why(start: Start) -> None:
    async def broker() -> dict[str, Any]:
        raise LogError("the log is full", remedy="free some space")

    api = await start(measure={"broker": broker})
    told = await api.get("/health", expect=503)
    assert told["status"] == "down"
    assert told["services"]["broker"] == {"status": "down", "reason": "the log is full; free some space"}


async def test_a_service_that_does_not_answer_is_down_and_holds_nobody_up(start: Start) -> None:
    async def silent() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    api = await start(measure={"database": silent, "redis": checks.redis("redis://127.0.0.1:1/0")}, timeout_s=0.05)
    told = (await api.get("/health"))["services"]
    assert told["database"] == {"status": "down", "reason": "no answer within 0.05 s"}
    assert told["redis"]["status"] == "down"


@pytest.mark.parametrize(
    ("url", "status"), [("redis://127.0.0.1:{port}", "ok"), ("redis://:wrong@127.0.0.1:{port}", "down")]
)
async def test_redis_is_asked_in_its_own_protocol(url: str, status: str) -> None:
    """The server here understands PING and knows no password, as a fresh Redis does."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:length])
            writer.write(b"+PONG\r\n" if words == [b"PING"] else b"-ERR AUTH called without a password set\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await checks.redis(url.format(port=port))())["status"] == status


async def test_metrics_are_prometheus_text(start: Start) -> None:
    api = await start()
    families = {family.name: family for family in text_string_to_metric_families(await api.get("/metrics"))}

    def value(name: str, **labels: str) -> float:
        sample = next(s for s in families[name].samples if labels.items() <= s.labels.items())
        return sample.value

    assert value("spoton_camera_frames", camera="north", site="plaza") == 30
    assert value("spoton_camera_frames_skipped", camera="north") == 4
    assert value("spoton_camera_online", camera="blind") == 0
    assert value("spoton_people", site="plaza") == 1
    assert value("spoton_live_clients") == 0
    assert value("spoton_live_messages_dropped") == 0
    assert value("spoton_event_age_seconds") > 0


# --- cameras, people, events --------------------------------------------------------------------------------------


async def test_cameras_and_their_newest_picture(start: Start, live: LiveState) -> None:
    api = await start()
    told = (await api.get("/api/v1/cameras"))["cameras"]
    assert [(camera["name"], camera["status"]) for camera in told] == [
        ("north", "online"), ("south", "waiting"), ("blind", "waiting"),
    ]  # fmt: skip
    missing = (await api.get("/api/v1/cameras/north/picture", expect=404))["error"]
    assert missing["what"] == "this camera has not delivered a picture yet"
    live.picture("north", 29, START_US + 2_900_000, b"\xff\xd8 a picture \xff\xd9")
    async with api.session.get(api.server.make_url("/api/v1/cameras/north/picture")) as response:
        assert await response.read() == b"\xff\xd8 a picture \xff\xd9"
        assert response.content_type == "image/jpeg"
        assert (response.headers["X-Frame"], response.headers["X-At"]) == ("29", str(START_US + 2_900_000))
        assert response.headers["Cache-Control"] == "no-store"
    unknown = (await api.get("/api/v1/cameras/attic/picture", expect=404))["error"]
    assert unknown == {
        "what": "no camera of that name", "value": "attic", "remedy": "cameras here: north, south, blind",
    }  # fmt: skip


async def test_persons_now_come_from_live_state_and_of_a_stretch_from_history(start: Start, history: History) -> None:
    api = await start(history)
    (now,) = (await api.get("/api/v1/persons"))["persons"]
    assert (now["person"], now["number"], now["x_m"], now["zone"]) == ("p-1", 1, 2.9, "door")
    told = await api.get("/api/v1/persons?from=2023-11-14T22:13:21Z&to=2023-11-14T22:13:22Z")
    assert told["persons"] == [
        {"person": "p-1", "number": 1, "first_at": START_US + 1_000_000, "last_at": START_US + 1_900_000,
         "positions": 10}
    ]  # fmt: skip
    assert told["truncated"] is False
    assert (await api.get(f"/api/v1/persons?to={START_US}"))["persons"] == []


async def test_a_trajectory_is_what_was_recorded(start: Start, history: History) -> None:
    api = await start(history)
    told = await api.get(f"/api/v1/persons/p-1/trajectory?from={START_US + 500_000}&to=2023-11-14T23:13:21.5%2B01:00")
    assert [point["x_m"] for point in told["points"]] == pytest.approx([n / 10 for n in range(5, 15)])
    assert told["points"][0]["cameras"] == ["north"]
    short = await api.get("/api/v1/persons/p-1/trajectory?limit=3")
    assert (len(short["points"]), short["truncated"]) == (3, True)
    assert (await api.get("/api/v1/persons/nobody/trajectory"))["points"] == []


async def test_events_come_page_by_page_each_once_as_recorded(start: Start, history: History) -> None:
    api = await start(history)
    seen: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = await api.get(f"/api/v1/events?limit=20&cursor={cursor}")
        assert len(page["events"]) <= 20
        seen += page["events"]
        cursor = page["next_cursor"]
    wanted = sorted((json.loads(events.encode(event)) for event in recorded()), key=lambda one: (one["at"], one["id"]))
    assert seen == wanted
    some = await api.get(f"/api/v1/events?type=PersonAppeared,FramesSkipped&type=CameraOnline&from={START_US}")
    assert sorted(one["type"] for one in some["events"]) == ["CameraOnline", "FramesSkipped", "PersonAppeared"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("/api/v1/persons?from=yesterday", "yesterday", "from is no time"),
        ("/api/v1/persons?from=2026-01-01T00:00:00", "2026-01-01T00:00:00", "time zone is missing"),
        ("/api/v1/persons?from=-5", "-5", "from lies outside the years 1970 to 9999"),
        ("/api/v1/persons?to=99999999999999999999999", "99999999999999999999999", "to lies outside"),
        ("/api/v1/persons?from=%C2%B2", "²", "from is no time"),
        ("/api/v1/persons?from=20&to=20", "20", "to is not after from"),
        ("/api/v1/persons/p-1/trajectory?limit=0", "0", "limit is no count"),
        ("/api/v1/persons/p-1/trajectory?limit=many", "many", "limit is no count"),
        ("/api/v1/persons/p-1/trajectory?limit=100001", "100001", "limit is no count"),
        ("/api/v1/events?type=PersonAppeared,Ghost", "Ghost", "type is no event type"),
        ("/api/v1/events?limit=5&limit=6", ["5", "6"], "limit is given more than once"),
        ("/api/v1/events?form=20", "20", "form is no parameter"),
        ("/api/v1/cameras?name=north", "north", "name is no parameter"),
    ],
)
async def test_a_bad_parameter_is_one_clear_answer(start: Start, path: str, value: object, says: str) -> None:
    api = await start()
    error = (await api.get(path, expect=400))["error"]
    assert set(error) == {"what", "value", "remedy"}
    assert says in error["what"]
    assert error["value"] == value
    assert error["remedy"]


async def test_a_cursor_that_was_not_given_out_is_refused(start: Start, history: History) -> None:
    api = await start(history)
    assert "cursor" in (await api.get("/api/v1/events?cursor=abc", expect=400))["error"]["what"]


async def test_live_things_go_on_when_the_database_is_away(start: Start, history: History) -> None:
    api = await start(history)
    await history.close()
    for path in ("/api/v1/events", "/api/v1/persons?from=0", "/api/v1/persons/p-1/trajectory"):
        error = (await api.get(path, expect=503))["error"]
        assert "history database does not answer" in error["what"]
        assert "live tracking goes on" in error["remedy"]
    assert len((await api.get("/api/v1/persons"))["persons"]) == 1
    told = await api.get("/health")
    assert (told["status"], told["services"]["database"]["status"]) == ("degraded", "down")


# --- site and page ------------------------------------------------------------------------------------------------


async def test_the_site_tells_the_map_what_cameras_see(start: Start, live: LiveState) -> None:
    api = await start()
    told = await api.get("/api/v1/site")
    assert told["floor"] == {"size_m": [8.0, 6.0], "origin_m": [0.0, 0.0], "metres_per_pixel": None, "plan": None}
    assert told["zones"] == [{"name": "door", "polygon_m": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]}]
    north, south, blind = told["cameras"]
    assert north["position_m"] == pytest.approx([4.0, 0.0, 5.0])
    assert len(north["field_m"]) == 26
    assert all(y > 0 for _, y in north["field_m"]), "it looks along +y"
    assert south["field_m"] is None, "its picture size is not known yet"
    assert (blind["calibrated"], blind["field_m"]) == (False, None)
    live.apply(
        events.CameraOnline(id="x", at=1, site="plaza", seq=1, camera="south", session=1, size_px=(200, 100), epoch=1)
    )
    south = (await api.get("/api/v1/site"))["cameras"][1]
    corners = {tuple(point) for point in south["field_m"]}
    assert {(0.0, 1.0), (2.0, 1.0)} <= corners


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_the_plan_lies_beside_the_site_file(start: Start, tmp_path: Path) -> None:
    api = await start()
    assert "no floor plan" in (await api.get("/api/v1/site/plan", expect=404))["error"]["what"]
    floor = Floor(plan="plan.png", metres_per_pixel=0.02)
    site = Site(name="plaza", cameras=(), floor=floor, file=str(tmp_path / "site.toml"))
    api = await start(site=site)
    assert (await api.get("/api/v1/site"))["floor"]["plan"] == "/api/v1/site/plan"
    assert (await api.get("/api/v1/site/plan", expect=404))["error"]["value"] == "plan.png"
    (tmp_path / "plan.png").write_bytes(png(4, 3))
    async with api.session.get(api.server.make_url("/api/v1/site/plan")) as response:
        assert response.content_type == "image/png"
        assert await response.read() == png(4, 3)


async def test_the_page_and_everything_it_names_is_there(start: Start) -> None:
    api = await start()
    page = await api.get("/")
    assert api.headers["Cache-Control"] == "no-cache"
    for part in ("app.js", "style.css", "icon.svg"):
        assert f"/static/{part}" in page
        await api.get(f"/static/{part}")
    assert "://" not in page, "nothing comes from elsewhere"


# --- who may ask --------------------------------------------------------------------------------------------------


async def test_every_answer_is_guarded(start: Start) -> None:
    api = await start()
    for path, status in (("/", 200), ("/health", 200), ("/static/app.js", 200), ("/nowhere", 404)):
        await api.get(path, expect=status)
        assert "default-src 'none'" in api.headers["Content-Security-Policy"]
        assert api.headers["X-Content-Type-Options"] == "nosniff"
        assert api.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in api.headers


async def test_pages_of_other_origins_and_bent_names_are_refused(start: Start) -> None:
    api = await start()
    error = (await api.get("/api/v1/persons", expect=403, Origin="https://evil.example"))["error"]
    assert error["value"] == "https://evil.example"
    assert "host name" in (await api.get("/health", expect=403, Host="evil.example"))["error"]["what"]
    own = f"http://{api.server.host}:{api.server.port}"
    await api.get("/api/v1/persons", Origin=own)
    with pytest.raises(WSServerHandshakeError) as refused:
        await api.socket(origin="https://evil.example")
    assert refused.value.status == 403
    async with api.socket(origin=own) as socket:
        assert (await socket.receive_json())["type"] == "hello"
    anywhere = await start(hosts=None)
    await anywhere.get("/health", Host="cctv.example")


async def test_unknown_paths_and_methods_are_answered_in_json(start: Start) -> None:
    api = await start()
    assert (await api.get("/api/v2/persons", expect=404))["error"]["value"] == "/api/v2/persons"
    async with api.session.post(api.server.make_url("/api/v1/persons")) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        assert (await response.json())["error"]["remedy"] == "use GET or HEAD"


async def test_an_unforeseen_failure_tells_nothing_inside(start: Start) -> None:
    async def broken() -> dict[str, Any]:
        raise ZeroDivisionError("secret")

    api = await start(measure={"broker": broken})
    error = (await api.get("/health", expect=500))["error"]
    assert "secret" not in json.dumps(error)
    assert error["what"] == "the server failed on this request"


# --- the live socket ----------------------------------------------------------------------------------------------


def moved(
    live: LiveState, seq: int, *, number: int = 1, camera: str = "north", zone: str | None = None, crowd: int = 1
) -> None:
    people = [
        Located(
            person=f"p-{n}", number=n, x_m=5.0, y_m=2.0, vx_m_s=1.0, vy_m_s=0.0, cov_m2=(0.1, 0.0, 0.1),
            seen=[TrackRef(camera, n)], zone=zone,
        )
        for n in range(number, number + crowd)
    ]  # fmt: skip
    at = START_US + seq * 100_000
    live.apply(events.PeopleLocated(id="x", at=at, site="plaza", seq=seq, tick=seq, frames={}, people=people))


async def test_the_socket_says_hello_then_everything_then_what_moves(start: Start, live: LiveState) -> None:
    api = await start(heartbeat_s=60)
    async with api.socket() as socket:
        hello = await socket.receive_json(timeout=5)
        assert (hello["type"], hello["protocol"], hello["site"]) == ("hello", 1, "plaza")
        assert hello["detectors"]["north"] == "picodet-s"
        snapshot = await socket.receive_json(timeout=5)
        assert (snapshot["type"], snapshot["reason"]) == ("snapshot", "connected")
        assert snapshot["persons"][0]["trail_m"][-1] == [START_US + 2_900_000, 2.9, 2.0]
        assert snapshot["boxes"]["north"]["boxes"][0]["number"] == 1
        moved(live, 100)
        tracking = await socket.receive_json(timeout=5)
        assert (tracking["type"], tracking["seq"]) == ("tracking", snapshot["seq"] + 1)
        assert tracking["persons"][0]["x_m"] == 5.0
        assert "cameras" not in tracking


async def test_a_heartbeat_comes_when_nothing_else_does(start: Start) -> None:
    api = await start(heartbeat_s=0.05)
    async with api.socket() as socket:
        told = [await socket.receive_json(timeout=5) for _ in range(4)]
        assert [one["type"] for one in told] == ["hello", "snapshot", "heartbeat", "heartbeat"]
        assert told[2]["persons"] == 1
        assert [camera["name"] for camera in told[2]["cameras"]] == ["north", "south", "blind"]


@pytest.mark.parametrize(
    ("sent", "says", "remedy"),
    [
        ("{", "truncated", "subscribe"),
        ("hello", "malformed", "subscribe"),
        ("[]", "Expected `object`", "subscribe"),
        ('{"type":"resume"}', "Invalid enum value 'resume'", "subscribe"),
        ('{"type":"subscribe","camera":["north"]}', "unknown field `camera`", "subscribe"),
        ('{"type":"subscribe","cameras":"north"}', "Expected `array`", "subscribe"),
        ('{"type":"subscribe","cameras":["attic"]}', "no camera of that name", "north"),
        ('{"type":"subscribe","zones":["attic"]}', "no zone of that name", "door"),
    ],
)
async def test_a_message_that_cannot_be_followed_is_named_and_the_connection_stays(
    start: Start, live: LiveState, sent: str, says: str, remedy: str
) -> None:
    api = await start(heartbeat_s=60)
    async with api.socket() as socket:
        await socket.receive_json(timeout=5)
        await socket.receive_json(timeout=5)
        await socket.send_str(sent)
        told = await socket.receive_json(timeout=5)
        assert told["type"] == "error"
        assert says in told["error"]["what"]
        assert remedy in told["error"]["remedy"]
        moved(live, 100)
        assert (await socket.receive_json(timeout=5))["type"] == "tracking"


async def test_a_subscription_narrows_what_comes(start: Start, live: LiveState) -> None:
    api = await start(heartbeat_s=60)
    async with api.socket() as socket:
        await socket.receive_json(timeout=5)
        await socket.receive_json(timeout=5)
        await socket.send_json({"type": "subscribe", "cameras": ["south"], "zones": ["door"]})
        told = await socket.receive_json(timeout=5)
        assert (told["type"], told["reason"], told["persons"]) == ("snapshot", "subscribed", [])
        assert [camera["name"] for camera in told["cameras"]] == ["south"]
        moved(live, 100, number=2, camera="north", zone="door")
        moved(live, 101, number=3, camera="south")
        moved(live, 102, number=4, camera="south", zone="door")
        numbers = [[one["number"] for one in (await socket.receive_json(timeout=5))["persons"]] for _ in range(3)]
        assert numbers == [[], [], [4]]


async def test_a_client_that_does_not_read_falls_back_to_a_snapshot(start: Start, live: LiveState) -> None:
    """Its own connection fills up; others, and the feed, never wait for it."""
    api = await start(heartbeat_s=60)
    async with api.socket(max_msg_size=0) as slow, api.socket() as quick:
        await quick.receive_json(timeout=5)
        await quick.receive_json(timeout=5)
        seq = 100
        while live.traffic().dropped == 0:
            for _ in range(50):
                seq += 1
                moved(live, seq, crowd=200)
                assert (await quick.receive_json(timeout=5))["type"] == "tracking"
            assert seq < 200_000, "the slow client's queue never filled"
        reasons = []
        while "fell_behind" not in reasons:
            told = await slow.receive_json(timeout=5)
            if told["type"] == "snapshot":
                reasons.append(told["reason"])
        assert reasons == ["connected", "fell_behind"]


async def test_shutting_down_tells_every_client_and_closes(start: Start, live: LiveState) -> None:
    api = await start(heartbeat_s=60)
    async with api.socket() as socket:
        await socket.receive_json(timeout=5)
        await socket.receive_json(timeout=5)
        closing = asyncio.create_task(api.server.close())
        assert (await socket.receive_json(timeout=5)) == {"type": "system", "what": "closing", "sent": pytest.approx(
            live.now_us(), abs=10_000_000)}  # fmt: skip
        end = await socket.receive(timeout=5)
        assert (end.type, end.data) == (WSMsgType.CLOSE, 1001)
        await closing
    assert live.traffic().clients == 0


async def test_gone_clients_leave_nothing_behind(start: Start, live: LiveState) -> None:
    api = await start(heartbeat_s=60)
    for _ in range(5):
        async with api.socket() as socket:
            await socket.receive_json(timeout=5)
    for _ in range(500):
        if not live.traffic().clients:
            break
        await asyncio.sleep(0.01)
    assert live.traffic().clients == 0
