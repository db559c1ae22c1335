"""Who we are to a Kafka cluster: read from the environment, told to Faust and to plain aiokafka clients.

========================== ==========================================================================================
SPOTON_KAFKA_SECURITY      ``plaintext`` (default), ``ssl``, ``sasl_plaintext`` or ``sasl_ssl``
SPOTON_KAFKA_CA            PEM file of the authority that signed the brokers' certificates; default: the system's
SPOTON_KAFKA_CERT, ..._KEY PEM files of our own certificate and its key, for clusters that ask for one
SPOTON_KAFKA_SASL_MECHANISM ``PLAIN`` (default), ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``
SPOTON_KAFKA_SASL_USER, SPOTON_KAFKA_SASL_PASSWORD
========================== ==========================================================================================
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spoton.errors import InputError

SECURITIES = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_TLS = ("SPOTON_KAFKA_CA", "SPOTON_KAFKA_CERT", "SPOTON_KAFKA_KEY")
_SASL = ("SPOTON_KAFKA_SASL_MECHANISM", "SPOTON_KAFKA_SASL_USER", "SPOTON_KAFKA_SASL_PASSWORD")
_SECRET = "SPOTON_KAFKA_SASL_PASSWORD"
_ADDRESS = "write kafka://host:port, several with ; between them; user and password go into SPOTON_KAFKA_SASL_..."


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How a cluster is spoken to; reading it touches no file, ``ssl_context`` and what builds on it do.

    Attributes:
        security: one of ``SECURITIES``. mechanism: one of ``MECHANISMS``.
        authority, certificate, key: PEM files; None: the system's authorities, no certificate of our own.
        user, password: for ``sasl_*``.
    """

    security: str = "plaintext"
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    mechanism: str = "PLAIN"
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> KafkaSettings:
        """Read the variables ``SPOTON_KAFKA_...``; empty ones are as if they were not there.

        Raises:
            InputError: a value that does not exist, one that is missing, or one that would not be used.
        """
        given = {name: text for name in ("SPOTON_KAFKA_SECURITY", *_TLS, *_SASL) if (text := environment.get(name))}
        security = _one_of(given, "SPOTON_KAFKA_SECURITY", SECURITIES)
        _refuse_unused(given, security)
        for name, other in (("SPOTON_KAFKA_CERT", "SPOTON_KAFKA_KEY"), ("SPOTON_KAFKA_KEY", "SPOTON_KAFKA_CERT")):
            if name in given and other not in given:
                raise InputError(f"{name} = {given[name]!r} but {other} is not set", remedy="set both or neither")
        if security.startswith("sasl_"):
            for name in _SASL[1:]:
                if name not in given:
                    raise InputError(
                        f"SPOTON_KAFKA_SECURITY = {security!r} but {name} is not set", remedy=f"set {name}"
                    )
        return cls(
            security=security,
            authority=_path(given, "SPOTON_KAFKA_CA"),
            certificate=_path(given, "SPOTON_KAFKA_CERT"),
            key=_path(given, "SPOTON_KAFKA_KEY"),
            mechanism=_one_of(given, "SPOTON_KAFKA_SASL_MECHANISM", MECHANISMS),
            user=given.get("SPOTON_KAFKA_SASL_USER", ""),
            password=given.get(_SECRET, ""),
        )

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.security in ("ssl", "sasl_ssl")

    @property
    def authenticated(self) -> bool:
        """Whether user and password are shown."""
        return self.security.startswith("sasl_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for TLS, which checks the broker's name; None without TLS.

        Raises:
            InputError: a PEM file cannot be read or is none.
        """
        if not self.encrypted:
            return None
        try:
            context = ssl.create_default_context(cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("SPOTON_KAFKA_CA", self.authority, error, "name a PEM file of certificates") from error
        if self.certificate is not None:
            # Without a password OpenSSL would ask for one at the terminal.
            try:
                context.load_cert_chain(self.certificate, self.key, password="")
            except (OSError, ssl.SSLError) as error:
                raise _unusable(
                    "SPOTON_KAFKA_CERT", f"{self.certificate}, SPOTON_KAFKA_KEY = {self.key}", error,
                    "name PEM files of a certificate and of its own key, which must have no passphrase",
                ) from error  # fmt: skip
        return context

    def faust_credentials(self) -> Any:
        """What ``faust.App(broker_credentials=...)`` takes; None for plain text.

        Raises:
            InputError: as ``ssl_context``.
        """
        import faust

        context = self.ssl_context()
        if self.authenticated:
            return faust.SASLCredentials(
                username=self.user, password=self.password, ssl_context=context, mechanism=self.mechanism
            )
        return None if context is None else faust.SSLCredentials(context)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments of aiokafka's consumers, producers and admin clients.

        Raises:
            InputError: as ``ssl_context``.
        """
        options: dict[str, Any] = {"security_protocol": self.security.upper()}
        context = self.ssl_context()
        if context is not None:
            options["ssl_context"] = context
        if self.authenticated:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options


def servers(url: str) -> list[str]:
    """``["a:9092", "b:9093"]`` of ``kafka://a;kafka://b:9093``, as Faust reads it.

    Raises:
        InputError: another scheme, no host, no port number, or a password, which the URL is no place for.
    """
    if "@" in url:
        raise InputError(f"broker URL ...@{url.rpartition('@')[2]} holds a user or a password", remedy=_ADDRESS)
    found = []
    for one in url.split(";"):
        try:
            parts = urlsplit(one if "://" in one else f"kafka://{one}")
            port = parts.port or 9092
        except ValueError as error:
            raise InputError(f"broker URL {url!r}: {error}", remedy=_ADDRESS) from error
        if parts.scheme != "kafka" or not parts.hostname:
            raise InputError(f"broker URL {url!r} names no Kafka broker", remedy=_ADDRESS)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        found.append(f"{host}:{port}")
    return found


def _one_of(given: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    text = given.get(name, known[0])
    if text not in known:
        raise InputError(f"{name} = {text!r} is not known", remedy=f"choose one of {', '.join(known)}")
    return text


def _refuse_unused(given: Mapping[str, str], security: str) -> None:
    for names, used, needed in (
        (_TLS, security.endswith("ssl"), "ssl or sasl_ssl"),
        (_SASL, security.startswith("sasl_"), "sasl_ssl or sasl_plaintext"),
    ):
        for name in names:
            if name in given and not used:
                shown = "..." if name == _SECRET else repr(given[name])
                raise InputError(
                    f"{name} = {shown} has no use with SPOTON_KAFKA_SECURITY = {security!r}",
                    remedy=f"set SPOTON_KAFKA_SECURITY to {needed}, or unset {name}",
                )


def _path(given: Mapping[str, str], name: str) -> Path | None:
    return Path(given[name]).expanduser() if name in given else None


def _unusable(name: str, value: object, error: OSError, remedy: str) -> InputError:
    problem = error.strerror or getattr(error, "reason", None) or str(error)
    return InputError(f"{name} = {value} cannot be used: {problem}", remedy=remedy)
