"""A site with Modbus/TCP Security: an authority, its certificates, meters, and a gateway before them.

Certificates, roles and revocation lists are made by Python's cryptography, not by the program under test.
"""

import contextlib
import datetime
import http.client
import ipaddress
import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stage import HOST, end

ROLE = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
# The port of Modbus/TCP Security: the dissector knows by it which side asks.
EC_PORT = 802
RSA_PORT = 8021
PLAIN_PORT = 8023
STATUS_PORT = 8024
DAY = datetime.timedelta(days=1)

CONFIGURATION = """\
listeners:
  - address: {host}:{ec_port}
    tls: {{certificate: {folder}/ec.pem, key: {folder}/ec.key, client_ca: {folder}/ca.pem, crl: {folder}/ca.crl}}
    rules:
      - {{role: [Engineer], may: write}}
      - {{may: read}}
  - address: {host}:{rsa_port}
    tls: {{certificate: {folder}/rsa.pem, key: {folder}/rsa.key, client_ca: {folder}/ca.pem}}
    rules: [{{may: read}}]
  - address: {host}:{plain_port}
    max_age: 5s
buses:
  - name: secured
    device: {device}
    baud_rate: 19200
    units: [{{id: 1-2}}]
status: {{address: {host}:{status_port}}}
"""


class Site:
    """An authority, its certificates in a directory, and the gateway that uses them."""

    def __init__(self, folder):
        self.folder = folder
        self.gateway = None
        self.serials = {}
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.ca_key, self.ca = self._authority("ca")
        stranger_key, stranger = self._authority("stranger-ca")
        self._write("ca.pem", self.ca.public_bytes(serialization.Encoding.PEM))
        self._server("ec", ec.generate_private_key(ec.SECP256R1()))
        self._server("rsa", rsa.generate_private_key(65537, 2048))
        role = lambda text: b"\x0c" + bytes([len(text)]) + text  # noqa: E731
        engineer = role(b"Engineer")
        self._client("engineer", [engineer])
        self._client("operator", [role(b"Operator")])
        self._client("roleless", [])
        self._client("printable", [b"\x13\x08Engineer"])
        self._client("revoked", [engineer])
        self._client("expired", [engineer], until=self.now - DAY)
        self._client("stranger", [engineer], issuer=(stranger_key, stranger))
        # cryptography writes no certificate with one extension twice; two roles in one value come as near as it can.
        self._client("doubled", [engineer + role(b"Operator")])
        self.revoke("revoked")

    def __truediv__(self, name):
        return self.folder / name

    def __str__(self):
        return str(self.folder)

    def context(self, name):
        """What a client with the certificate NAME needs."""
        context = ssl.create_default_context(cafile=str(self / "ca.pem"))
        context.load_cert_chain(str(self / f"{name}.pem"), str(self / f"{name}.key"))
        return context

    def failures(self):
        """Handshakes that failed so far, by cause."""
        connection = http.client.HTTPConnection(HOST, STATUS_PORT, timeout=30)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        text = connection.getresponse().read().decode()
        connection.close()
        counts = {}
        for labels, count in re.findall(r"^metergate_tls_handshake_failures_total\{(.*)\} (\d+)$", text, re.MULTILINE):
            cause = re.search(r'cause="(\w+)"', labels).group(1)
            counts[cause] = counts.get(cause, 0) + int(count)
        return counts

    def revoke(self, *names):
        """Writes the list of revoked certificates anew."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.ca.subject)
        builder = builder.last_update(self.now - DAY).next_update(self.now + 30 * DAY)
        for name in names:
            revoked = x509.RevokedCertificateBuilder().serial_number(self.serials[name])
            builder = builder.add_revoked_certificate(revoked.revocation_date(self.now - DAY).build())
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key())
        crl = builder.add_extension(key, critical=False).sign(self.ca_key, hashes.SHA256())
        self._write("ca.crl", crl.public_bytes(serialization.Encoding.PEM))

    def _authority(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = self._builder(subject, subject, key, self.now + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        return key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())

    def _server(self, name, key):
        builder = self._builder(_name(name), self.ca.subject, key, self.now + 30 * DAY)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))])
        builder = builder.add_extension(names, critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        self._sign(name, key, builder.add_extension(usage, critical=False), (self.ca_key, self.ca))

    def _client(self, name, roles, until=None, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        signer_key, signer = issuer or (self.ca_key, self.ca)
        builder = self._builder(_name(name), signer.subject, key, until or self.now + 30 * DAY)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
        for value in roles:
            builder = builder.add_extension(x509.UnrecognizedExtension(ROLE, value), critical=False)
        self._sign(name, key, builder, (signer_key, signer))

    def _builder(self, subject, issuer, key, until):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(self.now - 10 * DAY).not_valid_after(until)

    def _sign(self, name, key, builder, issuer):
        signer_key, signer = issuer
        certificate = builder.sign(signer_key, hashes.SHA256())
        self.serials[name] = certificate.serial_number
        encoding = serialization.Encoding.PEM
        self._write(f"{name}.pem", certificate.public_bytes(encoding) + signer.public_bytes(encoding))
        form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._write(f"{name}.key", key.private_bytes(encoding, form, bare))

    def _write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        # The program refuses a key that others can read.
        path.chmod(0o600 if name.endswith(".key") else 0o644)


def _name(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@contextlib.contextmanager
def secured(stage):
    """Meters of their own, and a gateway before them."""
    folder = stage.directory / "tls"
    folder.mkdir(exist_ok=True)
    site = Site(folder)
    device = folder / "line"
    running = []
    try:
        simulator = stage.start_process(
            "tls-simulate", stage.program, "simulate", "--link", str(device), "--units", "1-2", "--baud", "19200"
        )
        running.append(simulator)
        stage.wait_for("a device", device.exists, "tls-simulate", simulator)
        configuration = folder / "metergate.yaml"
        configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                ec_port=EC_PORT,
                rsa_port=RSA_PORT,
                plain_port=PLAIN_PORT,
                status_port=STATUS_PORT,
                folder=folder,
                device=device,
            )
        )
        site.gateway = stage.start_process("tls-run", stage.program, "run", "--config", str(configuration))
        running.append(site.gateway)
        ready = lambda: stage.logged("tls-run").count("listening") >= 3  # noqa: E731
        stage.wait_for("three listeners", ready, "tls-run", site.gateway)
        yield site
    finally:
        for process in reversed(running):
            end(process)
