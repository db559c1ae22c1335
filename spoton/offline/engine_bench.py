"""The engine measured: a hop from agent to agent, the way from camera to client, and a second worker's worth.

Latency and scaling are defined in ``spoton.trials.latency`` and ``spoton.trials.scaling``. The hop, on both brokers
beside aiokafka alone:

What is sent: ``PeopleDetected`` events of 10 tracked people without embeddings, from 8 sites with 4 cameras each, in 4
partitions keyed by camera, about 790 bytes of JSON. They are sent in turns of 256: a turn is acknowledged
(``acks=all``) before the next one begins.

- ``bare``: an aiokafka producer sends the encoded bytes with ``send`` and gathers the futures of a turn; an aiokafka
  consumer takes them with ``getmany`` and commits every second.
- ``kafka``, ``log``: agent A publishes the events with ``Topics.publish``, which encodes them; agent B takes them with
  ``drained``, decodes and acknowledges them; the app commits every second.

Every event is thus produced once and consumed once on either side; encoding and decoding count against the hop alone.
The clock runs from the first event that is about to be sent to the last that its reader was given. All have the same
producer and consumer settings, one process each with uvloop and the product's garbage collector settings; the broker
runs beside them on the same machine. They take turns, and a round's ratio is to the bare run of the same round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spoton.errors import InputError, SpotOnError
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.settings import servers

PARTS = ("hop", "latency", "scaling")
EVENTS = 40_000
ROUNDS = 5
_PATIENCE_S = 300.0


def run(
    only: str | None = None,
    *,
    events: int = EVENTS,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """What each part gives, in one object; ``only``: one of ``PARTS``.

    events, rounds: of the hop. progress: called with runs of the hop done and in all.

    Raises InputError for a part that does not exist, BrokerError without Java or Kafka's jars.
    """
    if only is not None and only not in PARTS:
        raise InputError(f"part {only!r} does not exist", remedy=f"choose from {', '.join(PARTS)}")
    result: dict[str, Any] = {}
    for part in PARTS if only is None else (only,):
        if part == "hop":
            result |= measure_hop(events=events, rounds=rounds, progress=progress)
        elif part == "latency":
            from spoton.trials import latency

            result |= latency.run()
        else:
            from spoton.trials import scaling

            result |= scaling.run()
    return result


def measure_hop(
    *, events: int = EVENTS, rounds: int = ROUNDS, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """``hop_ratio_kafka`` and ``hop_ratio_log``, medians over rounds, and what they come from.

    events: per run. progress: called with runs done and runs in all.

    Per kind ``events_per_s`` and ``cpu_us_per_event`` (medians; processor time of the measured process, without the
    broker) and ``rounds`` with every single figure. ``hop_cpu_ratio_...``: bare processor time over the hop's.

    The broker is the one that ``SPOTON_TEST_KAFKA`` names, else one is started; raises BrokerError when that fails.
    """
    measured: dict[str, list[dict[str, float]]] = {"bare": [], "kafka": [], "log": []}
    total = rounds * len(measured)
    with tempfile.TemporaryDirectory(prefix="spoton-bench-") as folder, _broker(Path(folder)) as url:
        for number in range(rounds):
            for kind, runs in measured.items():
                address = f"log://{folder}/log-{number}" if kind == "log" else url
                runs.append(_measure("bare" if kind == "bare" else "faust", address, events, Path(folder)))
                progress(sum(map(len, measured.values())), total)
    result: dict[str, Any] = {"events": events, "value_bytes": measured["bare"][0]["value_bytes"]}
    for kind in ("kafka", "log"):
        pairs = list(zip(measured[kind], measured["bare"], strict=True))
        result[f"hop_ratio_{kind}"] = _median(hop["events_per_s"] / bare["events_per_s"] for hop, bare in pairs)
        result[f"hop_cpu_ratio_{kind}"] = _median(
            bare["cpu_us_per_event"] / hop["cpu_us_per_event"] for hop, bare in pairs
        )
    for kind, runs in measured.items():
        result[kind] = {
            "events_per_s": _median(one["events_per_s"] for one in runs),
            "cpu_us_per_event": _median(one["cpu_us_per_event"] for one in runs),
            "rounds": runs,
        }
    return result


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as tables."""
    if "bare" in result:
        _render_hop(result, console)
    if "latency" in result:
        from spoton.trials import latency

        latency.render(result, console)
    if "scaling" in result:
        from spoton.trials import scaling

        scaling.render(result, console)


def _render_hop(result: dict[str, Any], console: Console) -> None:
    table = Table("", "events/s", "of bare", "CPU µs/event", title=f"{result['events']} events, one hop")
    for kind in ("bare", "kafka", "log"):
        ratio = result.get(f"hop_ratio_{kind}")
        table.add_row(
            kind, f"{result[kind]['events_per_s']:.0f}", "" if ratio is None else f"{ratio:.2f}",
            f"{result[kind]['cpu_us_per_event']:.1f}",
        )  # fmt: skip
    console.print(table)


@contextmanager
def _broker(folder: Path) -> Iterator[str]:
    named = os.environ.get("SPOTON_TEST_KAFKA", "")
    if named:
        yield f"kafka://{';kafka://'.join(servers(named))}"
        return
    with LocalBroker(folder / "kafka") as broker:
        yield broker.url


def _measure(kind: str, url: str, events: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "agents.hop_bench", kind, url, str(events)]
    # In the folder: Faust makes one of its own where it is started.
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, cwd=folder)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        raise SpotOnError(f"{kind} on {url} cannot be measured: {said[-1]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _median(values: Iterator[float] | Any) -> float:
    return round(float(statistics.median(values)), 3)
