"""A local Kafka broker, and how a cluster is spoken to: from the environment to encrypted records."""

from __future__ import annotations

import asyncio
import json

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from spoton.errors import BrokerError, InputError, KafkaMissing
from spoton.kafka import jars
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.local_config import SecureListener
from spoton.kafka.settings import KafkaSettings, servers

PLAIN = KafkaSettings()
SASL = {"SPOTON_KAFKA_SECURITY": "sasl_ssl", "SPOTON_KAFKA_SASL_USER": "ann", "SPOTON_KAFKA_SASL_PASSWORD": "secret"}


async def make_topic(url: str, topic: str, settings: KafkaSettings = PLAIN) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers(url), **settings.client_options())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def send(url: str, topic: str, *values: bytes, settings: KafkaSettings = PLAIN) -> None:
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=servers(url), **settings.client_options()) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(url: str, topic: str, count: int, settings: KafkaSettings = PLAIN) -> list[bytes]:
    options = {"bootstrap_servers": servers(url), "auto_offset_reset": "earliest", **settings.client_options()}
    async with aiokafka.AIOKafkaConsumer(topic, **options) as consumer:
        return [(await consumer.getone()).value for _ in range(count)]


def test_a_local_broker_keeps_its_address_and_its_records_over_stop_and_kill(local_kafka):
    broker = local_kafka()
    url, first = broker.url, broker.pid
    asyncio.run(make_topic(url, "kept"))
    asyncio.run(send(url, "kept", b"before the stop"))
    broker.stop()
    assert broker.pid is None
    broker.start()
    assert (broker.url, broker.pid is not None) == (url, True)
    assert broker.pid != first
    asyncio.run(send(url, "kept", b"before the kill"))
    broker.kill()
    assert broker.pid is None
    broker.start()
    assert asyncio.run(read(url, "kept", 2)) == [b"before the stop", b"before the kill"]


def test_a_broker_that_does_not_start_tells_the_end_of_its_log(local_kafka):
    broker = local_kafka()
    broker.stop()
    with (broker.folder / "server.properties").open("a") as file:
        file.write("log.segment.bytes=one\n")
    with pytest.raises(BrokerError, match=r"Apache Kafka ended with 1: .*Invalid value one.*; see .*broker\.log"):
        broker.start()
    assert broker.pid is None


def test_without_java_or_maven_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(KafkaMissing, match=r"no Java here.*; install it .*default-jre-headless"):
        LocalBroker(tmp_path / "kafka").start()
    with pytest.raises(KafkaMissing, match=r"no jars of Apache Kafka .* and no mvn .*; install Maven"):
        jars.resolve(tmp_path / "jars")


def test_jars_that_did_not_all_come_do_not_count(tmp_path, monkeypatch):
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text('#!/bin/sh\nfor one; do :; done\nmkdir -p "${one#*=}"\n: > "${one#*=}/one.jar"\n'
                     "echo '[ERROR] central is away'\nexit 1\n")  # fmt: skip
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/usr/bin:/bin")
    with pytest.raises(KafkaMissing, match="central is away"):
        jars.resolve(tmp_path / "cache" / "jars")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SPOTON_KAFKA_SECURITY": "tls"}, r"SPOTON_KAFKA_SECURITY = 'tls' is not known; choose one of plaintext, ssl"),
        ({"SPOTON_KAFKA_CA": "ca.pem"}, r"SPOTON_KAFKA_CA = 'ca.pem' has no use .*'plaintext'; .* to ssl or sasl_ssl"),
        ({**SASL, "SPOTON_KAFKA_SASL_MECHANISM": "GSSAPI"}, r"SASL_MECHANISM = 'GSSAPI' is not known; .*SCRAM-SHA-512"),
        ({**SASL, "SPOTON_KAFKA_SASL_USER": ""}, r"'sasl_ssl' but SPOTON_KAFKA_SASL_USER is not set"),
        ({**SASL, "SPOTON_KAFKA_SASL_PASSWORD": ""}, r"'sasl_ssl' but SPOTON_KAFKA_SASL_PASSWORD is not set"),
        ({**SASL, "SPOTON_KAFKA_SASL_USER": "", "SPOTON_KAFKA_SECURITY": "ssl"}, r"PASSWORD = \.\.\. has no use"),
        ({"SPOTON_KAFKA_SECURITY": "ssl", "SPOTON_KAFKA_CERT": "c.pem"}, r"CERT = 'c.pem' but SPOTON_KAFKA_KEY is not"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line_without_the_password(environment, message):
    with pytest.raises(InputError, match=message) as caught:
        KafkaSettings.from_env(environment)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_shown_with_the_settings():
    settings = KafkaSettings.from_env(SASL)
    assert settings.password == "secret"
    assert "secret" not in repr(settings) + repr(settings.faust_credentials())


def test_files_that_are_no_certificates_are_named(tmp_path, certificates):
    authority = certificates.Authority(tmp_path)
    certificate, key = authority.certificate("worker")
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    for chosen, message in (
        ({"CA": tmp_path / "none.pem"}, r"SPOTON_KAFKA_CA = .*none\.pem cannot be used: No such file"),
        ({"CA": text}, r"SPOTON_KAFKA_CA = .*text\.pem cannot be used"),
        ({"CERT": certificate, "KEY": text}, r"SPOTON_KAFKA_CERT = .*worker\.pem, SPOTON_KAFKA_KEY = .*text\.pem"),
    ):
        files = {f"SPOTON_KAFKA_{name}": str(file) for name, file in chosen.items()}
        with pytest.raises(InputError, match=message):
            KafkaSettings.from_env({"SPOTON_KAFKA_SECURITY": "ssl", **files}).client_options()
    assert key.exists()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("kafka://one", ["one:9092"]),
        ("kafka://one:1;kafka://two:2", ["one:1", "two:2"]),
        ("kafka://one:1;two:2", ["one:1", "two:2"]),
        ("kafka://[::1]:9", ["[::1]:9"]),
    ],
)
def test_servers_of_a_url(url, found):
    assert servers(url) == found


@pytest.mark.parametrize("url", ["log:///folder", "kafka://", "kafka://one:port", "kafka://ann:secret@one:1"])
def test_a_url_that_names_no_broker_is_refused(url):
    with pytest.raises(InputError, match="kafka://host:port") as caught:
        servers(url)
    assert "secret" not in str(caught.value)


def test_over_tls_with_certificates_and_with_users_agents_work_as_before(tmp_path, local_kafka, flow, certificates):
    authority = certificates.Authority(tmp_path)
    certificate, key = authority.certificate("worker")
    identity = authority.certificate("broker")[1]
    broker = local_kafka(
        secure=[
            SecureListener("ssl", identity, clients=authority.file),
            SecureListener("sasl_ssl", identity, mechanism="SCRAM-SHA-512", users={"ann": "se cret"}),
            SecureListener("sasl_plaintext", mechanism="PLAIN", users={"bob": "word"}),
        ]
    )
    ca = {"SPOTON_KAFKA_CA": str(authority.file)}
    ssl = {"SPOTON_KAFKA_SECURITY": "ssl", "SPOTON_KAFKA_CERT": str(certificate), "SPOTON_KAFKA_KEY": str(key), **ca}
    scram = {
        "SPOTON_KAFKA_SECURITY": "sasl_ssl", "SPOTON_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "SPOTON_KAFKA_SASL_USER": "ann", "SPOTON_KAFKA_SASL_PASSWORD": "se cret", **ca,
    }  # fmt: skip
    plain = {
        "SPOTON_KAFKA_SECURITY": "sasl_plaintext", "SPOTON_KAFKA_SASL_USER": "bob",
        "SPOTON_KAFKA_SASL_PASSWORD": "word",
    }  # fmt: skip
    for at, (url, environment) in enumerate(zip(broker.secure_urls, (ssl, scram, plain), strict=True)):
        topic, settings = f"trial-{at}", KafkaSettings.from_env(environment)
        asyncio.run(make_topic(url, topic, settings))
        asyncio.run(send(url, topic, b"1", settings=settings))
        assert asyncio.run(read(url, topic, 1, settings)) == [b"1"]

    for at, environment in enumerate((ssl, scram)):
        app = flow(broker.secure_urls[at], 1, 60, prefix=f"secure{at}-", environment=environment)
        found = app.until(lambda word, rest: word == "done")
        assert found == {f"key-{rest}": [10, 54 + (rest or 6)] for rest in range(6)}, app.errors.read_text()
        assert app.stop() == 0
        values = asyncio.run(read(broker.url, f"secure{at}-doubled", 60))
        assert {json.loads(value)["double"] for value in values} == {2 * number for number in range(1, 61)}

    refused = (
        (0, {**ssl, "SPOTON_KAFKA_CERT": "", "SPOTON_KAFKA_KEY": ""}),
        (0, {**ssl, "SPOTON_KAFKA_CA": str(certificates.Authority(tmp_path, "stranger").file)}),
        (1, {**scram, "SPOTON_KAFKA_SASL_PASSWORD": "wrong"}),
        (2, {**plain, "SPOTON_KAFKA_SASL_PASSWORD": "wrong"}),
    )
    for at, environment in refused:
        with pytest.raises(KafkaError):
            asyncio.run(send(broker.secure_urls[at], "trial-0", b"2", settings=KafkaSettings.from_env(environment)))
