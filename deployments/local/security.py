"""The local stack with locks on: TLS with certificates of its own, SASL/SCRAM users, and ACLs that refuse by default.

Clients come by TLS and a name with a password. Controllers know each other, and brokers, by the one certificate that
all of them have. Only ``admin`` and the brokers may do everything; whoever else is added may do what ACLs allow.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployments.local.state import locked

ADMIN, BROKER = "admin", "broker"
MECHANISM = "SCRAM-SHA-512"
_BROKERS_NAME = "redrive-local-broker"
_ITERATIONS = 4096  # the least that Kafka takes
_VALID = timedelta(days=3650)


class Security:
    """Certificates and users of one stack, in its folder; made by the first who needs them.

    Attributes:
        ca_file: the certificate that the brokers' is signed with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "security"
        self.ca_file = self._folder / "ca.pem"
        self._keystore = self._folder / "broker.pem"

    def prepare(self) -> None:
        """Make certificates, and passwords of the users that there are from the beginning, unless there are any."""
        with locked(self._folder / "lock"):
            if not self.password_file(ADMIN).exists():
                self._folder.chmod(0o700)
                _make_certificates(self.ca_file, self._keystore)
                for user in (BROKER, ADMIN):
                    self.new_password(user)

    def password_file(self, user: str) -> Path:
        """Where a user's password is, and nothing else."""
        return self._folder / f"{user}.password"

    def new_password(self, user: str) -> str:
        """Make a password and keep it in its file; that brokers learn it is another matter."""
        password = secrets.token_hex(16)
        _write(self.password_file(user), password)
        return password

    def password(self, user: str) -> str:
        """A user's password."""
        return self.password_file(user).read_text()

    def add_user(self, clusters: Iterable[str], user: str) -> None:
        """Have clusters, given by their bootstrap servers, know a user, with one new password.

        ACLs say what it may do, which is nothing at first.
        """
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        wanted = UserScramCredentialUpsertion(user, scram, self.new_password(user).encode())
        for bootstrap in clusters:
            admin = AdminClient({"bootstrap.servers": bootstrap, **self.client_config()})
            for future in admin.alter_user_scram_credentials([wanted]).values():
                future.result()

    def client_config(self, user: str = ADMIN) -> dict[str, str]:
        """What a confluent-kafka client needs to come as a user, beside the brokers' addresses."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.password(user),
            "ssl.ca.location": str(self.ca_file),
        }

    def settings(self, cluster: str, user: str = ADMIN) -> dict[str, str]:
        """Environment variables by which Redrive comes to a cluster of its settings as a user."""
        given = {
            "SECURITY_PROTOCOL": "SASL_SSL",
            "SASL_MECHANISM": MECHANISM,
            "USERNAME": user,
            "PASSWORD__FILE": str(self.password_file(user)),
            "CA_FILE": str(self.ca_file),
        }
        return {f"REDRIVE_CLUSTERS__{cluster.upper()}__{name}": value for name, value in given.items()}

    def broker_settings(self, node: int, port: int, controllers: Mapping[int, int]) -> dict[str, object]:
        """What goes over a broker's other settings."""
        listeners = f"SASL_SSL://127.0.0.1:{port}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        mechanism = MECHANISM.lower()
        return {
            "listeners": listeners + (f",CONTROLLER://127.0.0.1:{controllers[node]}" if node in controllers else ""),
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"listener.name.sasl_ssl.{mechanism}.sasl.jaas.config": (
                f'{login} username="{BROKER}" password="{self.password(BROKER)}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca_file,
            "listener.name.controller.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:{BROKER};User:CN={_BROKERS_NAME}",
            "allow.everyone.if.no.acl.found": "false",
        }

    def format_options(self) -> list[str]:
        """What formatting a controller's folder needs to be told, so that the first users are there from the start."""
        users = (f"{MECHANISM}=[name={user},password={self.password(user)}]" for user in (BROKER, ADMIN))
        return [word for user in users for word in ("--add-scram", user)]


def _make_certificates(ca_file: Path, keystore: Path) -> None:
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name("redrive-local-ca")
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
    signed = (
        _certificate(_name(_BROKERS_NAME), ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(keystore, (private + signed.public_bytes(pem)).decode())
    _write(ca_file, ca.public_bytes(pem).decode())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + _VALID)


def _write(file: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    file.touch(mode=0o600)
    file.write_text(text)
