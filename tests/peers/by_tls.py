"""openssl, pymodbus and stunnel against a listener for Modbus/TCP Security.

Certificates, roles and revocation lists are made by Python's cryptography, not by the program under test.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import signal
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pymodbus.client import AsyncModbusTlsClient

from report import expect, expect_equal
from stage import HOST, end, output

ROLE = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
EC_PORT = 8020
RSA_PORT = 8021
STUNNEL_PORT = 8022
SCRATCH = 141
ILLEGAL_FUNCTION = 0x01
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
buses:
  - name: secured
    device: {device}
    baud_rate: 19200
    units: [{{id: 1-2}}]
status: "off"
"""

# By the key of the server; of TLS 1.3 the suite does not name it.
SUITES = [
    (EC_PORT, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (EC_PORT, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (EC_PORT, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (RSA_PORT, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
    (RSA_PORT, "-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"),
    (RSA_PORT, "-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"),
    (EC_PORT, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"),
    (EC_PORT, "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"),
    (EC_PORT, "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
]
REFUSED_SUITES = [
    (RSA_PORT, "-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"),
    (EC_PORT, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"),
    (EC_PORT, "-tls1_2", "-cipher", "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"),
]

# The alert of RFC 8446, chapter 6.
HANDSHAKE_FAILURE = 40


def suites_and_versions(stage):
    """openssl: each suite that is offered is used; older versions, and suites without forward secrecy or encryption, are refused"""
    with _site(stage) as site:
        for port, version, option, suite in SUITES:
            said = _s_client(site, port, "engineer", version, option, suite)
            expect(f"Cipher is {suite}" in said, f"{suite} on port {port}:\n{said[-1500:]}")
        for version in ("-tls1", "-tls1_1"):
            said = _s_client(site, EC_PORT, "engineer", version, "-cipher", "ALL:@SECLEVEL=0")
            # From the gateway: without one, openssl itself refused to begin. A client of these versions names no
            # algorithm of signatures either, and the gateway looks at that first.
            expect(f"alert number {HANDSHAKE_FAILURE}" in said, f"{version}:\n{said[-1500:]}")
        for port, version, option, suite in REFUSED_SUITES:
            said = _s_client(site, port, "engineer", version, option, suite)
            expect(f"alert number {HANDSHAKE_FAILURE}" in said, f"{suite}:\n{said[-1500:]}")


def certificates(stage):
    """openssl: without a certificate, or with one that is expired, revoked or of another authority, a fatal alert comes"""
    with _site(stage) as site:
        for name, alert in [(None, 116), ("expired", 45), ("stranger", 48), ("revoked", 44)]:
            for version in ("-tls1_2", "-tls1_3"):
                # The alert of TLS 1.3 comes after the client has finished: it is waited for.
                said = _s_client(site, EC_PORT, name, version, "-ign_eof")
                expect(f"alert number {alert}" in said, f"{name} {version}:\n{said[-1500:]}")


def resumption(stage):
    """Python's OpenSSL: a session is resumed by both versions, and keeps its role"""
    write = bytes([0, 1, 0, 0, 0, 6, 1, 6, 0, SCRATCH, 0, 7])
    with _site(stage) as site:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = _context(site, "engineer")
            context.minimum_version = context.maximum_version = version
            session = None
            for is_resumed in (False, True):
                with socket.create_connection((HOST, EC_PORT), timeout=10) as stream:
                    with context.wrap_socket(stream, server_hostname="localhost", session=session) as client:
                        client.sendall(write)
                        expect_equal(client.recv(300), write, f"the answer, {version.name}")
                        expect_equal(client.session_reused, is_resumed, f"resumed, {version.name}")
                        # Of TLS 1.3 it comes with the first bytes.
                        session = client.session


def fragments(stage):
    """openssl: a client that asks for records of 512 bytes goes on without an answer to that"""
    with _site(stage) as site:
        said = _s_client(site, EC_PORT, "engineer", "-tls1_2", "-maxfraglen", "512")
        expect("Cipher is ECDHE" in said, said[-1500:])


def roles(stage):
    """pymodbus over TLS: an engineer writes, an operator and clients without one good role only read"""
    with _site(stage) as site:
        for name, may_write in [
            ("engineer", True),
            ("operator", False),
            ("roleless", False),
            ("doubled", False),
            ("printable", False),
        ]:
            read, written = asyncio.run(_read_and_write(site, name))
            expect_equal(len(read.registers), 10, f"registers for {name}")
            if may_write:
                expect(not written.isError(), f"{name} may write: {written}")
            else:
                expect_equal(written.exception_code, ILLEGAL_FUNCTION, f"{name} may not write")


def stunnel(stage):
    """mbpoll through stunnel, for a client that has no TLS"""
    with _site(stage) as site:
        configuration = site / "stunnel.conf"
        configuration.write_text(
            f"foreground = yes\npid =\n[metergate]\nclient = yes\naccept = {HOST}:{STUNNEL_PORT}\n"
            f"connect = {HOST}:{EC_PORT}\nCAfile = {site}/ca.pem\nverifyChain = yes\ncheckHost = localhost\n"
            f"cert = {site}/engineer.pem\nkey = {site}/engineer.key\n"
        )
        process = stage.start_process("stunnel", "stunnel", str(configuration))
        try:
            said = lambda: "Configuration successful" in stage.logged("stunnel")  # noqa: E731
            stage.wait_for("a tunnel", said, "stunnel", process)
            code, printed = output("mbpoll", "-m", "tcp", "-p", STUNNEL_PORT, "-a", 1, "-r", 129, "-c", 5, "-1", HOST)
            expect(code == 0 and "[133]:" in printed, f"exit code {code}\n{printed}\n{stage.logged('stunnel')}")
        finally:
            end(process)


def a_reload_that_revokes(stage):
    """pymodbus: a reload closes the connection of a client that is revoked, and leaves the others"""
    with _site(stage) as site:
        asyncio.run(_revoke(site))


CHECKS = [suites_and_versions, certificates, resumption, fragments, roles, stunnel, a_reload_that_revokes]


async def _revoke(site):
    gone, kept = _client(site, "operator"), _client(site, "engineer")
    for client in (gone, kept):
        expect(await client.connect(), "a connection")
        expect(not (await client.read_holding_registers(0, count=2, device_id=1)).isError(), "before the reload")
    site.revoke("revoked", "operator")
    site.gateway.send_signal(signal.SIGHUP)
    for _ in range(500):
        if not gone.connected:
            break
        await asyncio.sleep(0.02)
    expect(not gone.connected, "the revoked client is still connected")
    expect(not (await kept.read_holding_registers(0, count=2, device_id=1)).isError(), "after the reload")
    for client in (gone, kept):
        client.close()


async def _read_and_write(site, name):
    client = _client(site, name)
    expect(await client.connect(), f"{name} cannot connect")
    try:
        read = await client.read_holding_registers(0, count=10, device_id=1)
        return read, await client.write_register(SCRATCH, 7, device_id=1)
    finally:
        client.close()


def _client(site, name):
    context = _context(site, name)
    return AsyncModbusTlsClient(HOST, port=EC_PORT, sslctx=context, timeout=5, retries=0, reconnect_delay=0)


def _context(site, name):
    context = ssl.create_default_context(cafile=str(site / "ca.pem"))
    context.load_cert_chain(str(site / f"{name}.pem"), str(site / f"{name}.key"))
    return context


def _s_client(site, port, name, *options):
    """What `openssl s_client` says; it ends with its input."""
    certificate = ["-cert", site / f"{name}.pem", "-key", site / f"{name}.key"] if name else []
    _code, said = output(
        "openssl", "s_client", "-connect", f"{HOST}:{port}", "-CAfile", site / "ca.pem",
        *certificate, *options, seconds=30,
    )
    return said


class _Site:
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
def _site(stage):
    """Meters of their own, and a gateway before them."""
    folder = stage.directory / "tls"
    folder.mkdir(exist_ok=True)
    site = _Site(folder)
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
            CONFIGURATION.format(host=HOST, ec_port=EC_PORT, rsa_port=RSA_PORT, folder=folder, device=device)
        )
        site.gateway = stage.start_process("tls-run", stage.program, "run", "--config", str(configuration))
        running.append(site.gateway)
        ready = lambda: stage.logged("tls-run").count("listening") >= 2  # noqa: E731
        stage.wait_for("two listeners", ready, "tls-run", site.gateway)
        yield site
    finally:
        for process in reversed(running):
            end(process)
