"""What flows through real Faust agents and tables, on both engines: killed, stopped, restarted."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import count

KEYS = 6


def expected(numbers: int) -> dict[str, list[int]]:
    """The table after the numbers 1 to ``numbers``: how many each key had, and the newest."""
    own = {f"key-{rest}": [n for n in range(1, numbers + 1) if n % KEYS == rest] for rest in range(KEYS)}
    return {key: [len(all_), all_[-1]] for key, all_ in own.items()}


def first_missing(numbers: list[int]) -> int:
    """Kafka acknowledges each partition on its own, so there may be gaps behind the newest."""
    known = set(numbers)
    return next(number for number in count(1) if number not in known)


def test_killed_at_random_points_it_loses_nothing_and_counts_nothing_twice(broker, flow):
    chance = random.Random(2)
    acked: list[int] = []
    numbers = 1200
    for _ in range(3):
        first = first_missing(acked)
        app = flow(broker.url, first, numbers, prefix=broker.prefix)
        enough = first + chance.randrange(80, 250)
        app.until(lambda word, rest, enough=enough: word == "acked" and int(rest) >= enough)
        time.sleep(chance.random() * 0.03)
        app.kill()
        assert app.acked, app.errors.read_text()
        if broker.kind == "log":
            assert app.acked == list(range(first, app.acked[-1] + 1)), app.errors.read_text()
        acked += app.acked
    assert first_missing(acked) < numbers, "it was killed in the middle of the stream"

    app = flow(broker.url, first_missing(acked), numbers, prefix=broker.prefix)
    found = app.until(lambda word, rest: word == "done")
    assert app.stop() == 0, app.errors.read_text()
    assert found == expected(numbers)
    fed = [number for _, number in broker.stored(f"{broker.prefix}numbers")]
    assert set(acked) <= set(fed) == set(range(1, numbers + 1))
    doubled = broker.stored(f"{broker.prefix}doubled")
    outputs = Counter(value["id"] for _, value in doubled)
    assert set(outputs) == {f"key-{number % KEYS}:{number}" for number in range(1, numbers + 1)}
    if broker.kind == "log":
        assert set(outputs.values()) == {1}, "an output and the table's change are one transaction"
    assert all(value["double"] == 2 * int(value["id"].split(":")[1]) for _, value in doubled)
    group, topic = f"{broker.prefix}counter", f"{broker.prefix}numbers"
    assert broker.committed(group, topic) == broker.ends(topic), "the last commit"

    again = flow(broker.url, numbers + 1, numbers, prefix=broker.prefix)
    assert again.until(lambda word, rest: word == "ready") == expected(numbers), "the table is as before"
    assert again.stop() == 0
    assert broker.stored(f"{broker.prefix}doubled") == doubled, "nothing was processed again"


def test_stopped_in_the_middle_it_ends_cleanly_and_goes_on_later(broker, flow):
    app = flow(broker.url, 1, 100_000, prefix=broker.prefix)
    app.until(lambda word, rest: word == "acked" and int(rest) >= 50)
    assert app.stop() == 0, app.errors.read_text()
    told = app.errors.read_text()
    assert told == "" if broker.kind == "log" else "Traceback" not in told
    group, topic = f"{broker.prefix}counter", f"{broker.prefix}numbers"
    fed = {number for _, number in broker.stored(topic)}
    assert fed == set(range(1, len(fed) + 1)) >= set(app.acked)
    outputs = [value["id"] for _, value in broker.stored(f"{broker.prefix}doubled")]
    assert sum(broker.committed(group, topic).values()) == len(set(outputs)) == len(outputs), "all done was committed"

    numbers = len(fed) + 100
    again = flow(broker.url, len(fed) + 1, numbers, prefix=broker.prefix)
    assert again.until(lambda word, rest: word == "done") == expected(numbers)
    assert again.stop() == 0, again.errors.read_text()
