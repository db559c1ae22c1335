"""A certificate authority of the tests' own, in PEM files."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """Signs certificates that are good for 127.0.0.1, as server and as client; ``file`` is its own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(pem(self._signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))))

    def certificate(self, name: str) -> tuple[Path, Path]:
        """PEM files of a new certificate and its key; the second file holds the certificate too, behind the key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = pem(self._signed(subject, key, x509.BasicConstraints(ca=False, path_length=None)))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public_file, private_file = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        public_file.write_bytes(certificate)
        private_file.write_bytes(private + certificate)
        return public_file, private_file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, limits: x509.BasicConstraints
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(limits, critical=True)
        )
        if not limits.ca:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False).add_extension(
                x509.ExtendedKeyUsage(uses), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
