"""How a local broker is configured: Kafka's own properties, sized for a laptop."""

from __future__ import annotations

import base64
import random
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spoton.errors import BrokerError

_JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class SecureListener:
    """A listener that asks who is there.

    Attributes:
        security: as ``SPOTON_KAFKA_SECURITY``.
        identity: PEM file of the broker: private key (PKCS 8, no passphrase), then its certificate.
        clients: PEM file with the authority of the clients' certificates; with it every client must show one.
        mechanism: how users prove who they are, for ``sasl_*``.
        users: their passwords by name. They are for trying things: SCRAM's pass through the process list.
    """

    security: Literal["ssl", "sasl_plaintext", "sasl_ssl"]
    identity: Path | None = None
    clients: Path | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    users: Mapping[str, str] = field(default_factory=dict, repr=False)

    def lines(self, name: str) -> list[str]:
        """Its properties; ``name`` is the listener's."""
        own = f"listener.name.{name.lower()}."
        lines = []
        if self.identity is not None:
            lines += [f"{own}ssl.keystore.type=PEM", f"{own}ssl.keystore.location={self.identity}"]
        if self.clients is not None:
            lines += [
                f"{own}ssl.truststore.type=PEM",
                f"{own}ssl.truststore.location={self.clients}",
                f"{own}ssl.client.auth=required",
            ]
        if self.security.startswith("sasl_"):
            lines += [
                f"{own}sasl.enabled.mechanisms={self.mechanism}",
                f"{own}{self.mechanism.lower()}.sasl.jaas.config={self._jaas()};",
            ]
        return lines

    def _jaas(self) -> str:
        if self.mechanism != "PLAIN":
            return f"{_JAAS}.scram.ScramLoginModule required"
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return f"{_JAAS}.plain.PlainLoginModule required {users}"


def scram_users(listeners: Sequence[SecureListener]) -> list[str]:
    """What ``StorageTool format --add-scram`` takes, one per user."""
    return [
        f"{listener.mechanism}=[name={name},password={password}]"
        for listener in listeners
        if listener.security.startswith("sasl_") and listener.mechanism != "PLAIN"
        for name, password in listener.users.items()
    ]


def properties(controller: int, plain: int, secure: Sequence[tuple[int, SecureListener]], data: Path) -> str:
    """The file ``server.properties`` of a node that is broker and controller; ports as given."""
    named = [(f"SECURE{index}", port, listener) for index, (port, listener) in enumerate(secure)]
    doors = [("PLAIN", plain, "PLAINTEXT"), *((name, port, one.security.upper()) for name, port, one in named)]
    lines = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=PLAIN",
        f"listeners=CONTROLLER://127.0.0.1:{controller},"
        + ",".join(f"{name}://127.0.0.1:{port}" for name, port, _ in doors),
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,"
        + ",".join(f"{name}:{protocol}" for name, _, protocol in doors),
        f"log.dirs={data}",
        "auto.create.topics.enable=false",
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=4",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "transaction.state.log.num.partitions=4",
        "group.initial.rebalance.delay.ms=0",
        f"log.segment.bytes={64 << 20}",
        f"log.index.size.max.bytes={1 << 20}",
        f"log.cleaner.dedupe.buffer.size={8 << 20}",
        # The controller would refuse a killed broker's successor for 9 s: its first life seems to go on.
        "broker.session.timeout.ms=2000",
        "broker.heartbeat.interval.ms=500",
    ]
    lines += [line for name, _, listener in named for line in listener.lines(name)]
    return "\n".join(lines) + "\n"


def cluster_id() -> str:
    """A new cluster's id as Kafka writes it: 16 bytes in 22 letters."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def free_port(*, besides: Sequence[int] = ()) -> int:
    """A free port of 127.0.0.1 below those that connections go out from.

    A client that tries a stopped broker's port again and again would else be given that very port one day, reach
    itself, and keep the broker from coming back.
    """
    for _ in range(100):
        port = random.randrange(15_000, 32_000)
        if port in besides:
            continue
        with socket.socket() as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerError("no free port of 127.0.0.1 between 15000 and 32000", remedy="end what listens there")
