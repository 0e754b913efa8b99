"""openssl, pymodbus, stunnel, sslyze and tshark with a key log against a listener for Modbus/TCP Security."""

import asyncio
import pathlib
import signal
import socket
import ssl
import struct

import sslyze
from pymodbus.client import AsyncModbusTlsClient

from report import expect, expect_equal
from stage import HOST, end, output
from tls_site import EC_PORT, RSA_PORT, secured

STUNNEL_PORT = 8022
SCRATCH = 141
ILLEGAL_FUNCTION = 0x01

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

# By version: what may be there; none of them where a version is not here.
OFFERED = {
    "TLS_1_2": {
        "ECDHE_{key}_WITH_AES_128_GCM_SHA256",
        "ECDHE_{key}_WITH_AES_256_GCM_SHA384",
        "ECDHE_{key}_WITH_CHACHA20_POLY1305_SHA256",
    },
    "TLS_1_3": {"AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"},
}
VERSIONS = ["SSL_3_0", "TLS_1_0", "TLS_1_1", "TLS_1_2", "TLS_1_3"]


def suites_and_versions(stage):
    """openssl: each suite that is offered is used; older versions, and suites without forward secrecy or encryption, are refused"""
    with secured(stage) as site:
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
    with secured(stage) as site:
        for name, alert in [(None, 116), ("expired", 45), ("stranger", 48), ("revoked", 44)]:
            for version in ("-tls1_2", "-tls1_3"):
                # The alert of TLS 1.3 comes after the client has finished: it is waited for.
                said = _s_client(site, EC_PORT, name, version, "-ign_eof")
                expect(f"alert number {alert}" in said, f"{name} {version}:\n{said[-1500:]}")


def resumption(stage):
    """Python's OpenSSL: a session is resumed by both versions, and keeps its role"""
    write = bytes([0, 1, 0, 0, 0, 6, 1, 6, 0, SCRATCH, 0, 7])
    with secured(stage) as site:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = site.context("engineer")
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
    with secured(stage) as site:
        said = _s_client(site, EC_PORT, "engineer", "-tls1_2", "-maxfraglen", "512")
        expect("Cipher is ECDHE" in said, said[-1500:])


def scanned(stage):
    """sslyze sees TLS 1.2 and 1.3 with their suites and no others, no renegotiation, no compression, no known fault"""
    with secured(stage) as site:
        # One connection after another: the scanner breaks most of them off, and the bound of an address counts them
        # until the gateway has noticed.
        scanner = sslyze.Scanner(per_server_concurrent_connections_limit=1)
        scanner.queue_scans([_scan(site, port) for port in (EC_PORT, RSA_PORT)])
        for scan, key in zip(sorted(scanner.get_results(), key=_port), ("ECDSA", "RSA")):
            expect(scan.scan_result is not None, f"{key}: no connection: {scan.connectivity_error_trace}")
            _judge(scan.scan_result, key)


def certificate_required(stage):
    """sslyze without a certificate: the listener demands one, and no handshake ends well"""
    with secured(stage) as site:
        location = sslyze.ServerNetworkLocation(hostname="localhost", ip_address=HOST, port=EC_PORT)
        scanner = sslyze.Scanner(per_server_concurrent_connections_limit=1)
        scanner.queue_scans([sslyze.ServerScanRequest(server_location=location, scan_commands=set())])
        probed = next(iter(scanner.get_results())).connectivity_result
        expect(probed is not None, "no connection")
        expect_equal(probed.client_auth_requirement.name, "REQUIRED", "certificate of the client")
        expect(site.failures().get("no_certificate", 0) > 0, f"handshakes that failed: {site.failures()}")


def dissected(stage):
    """tshark with the client's key log decrypts both versions, and dissects them as Modbus/TCP with the client's values"""
    capture, keys = stage.directory / "tls.pcapng", stage.directory / "tls.keys"
    read, write = struct.pack(">BHH", 3, 128, 10), struct.pack(">BHH", 6, SCRATCH, 7)
    with secured(stage) as site:
        arguments = ["-q", "-i", "lo", "-f", f"tcp port {EC_PORT}", "-w", str(capture)]
        dumpcap = stage.start_process("tls-dumpcap", "dumpcap", *arguments)
        try:
            opened = lambda: "File: " in stage.logged("tls-dumpcap")  # noqa: E731
            stage.wait_for("a capture", opened, "tls-dumpcap", dumpcap)
            values = [_ask(site, version, keys, [read, write])[0] for version in ("TLSv1_2", "TLSv1_3")]
            # What is captured reaches the file a moment later.
            shown = lambda: len(_registers(capture, keys)) >= len(values)  # noqa: E731
            stage.wait_for("the answers in the capture", shown, "tls-dumpcap", dumpcap)
        finally:
            end(dumpcap, signal.SIGINT)
    expected = [",".join(str(value) for value in struct.unpack(">10H", pdu[2:])) for pdu in values]
    expect_equal(_registers(capture, keys), expected, "registers of the answers to the reads")
    functions = _dissect(capture, keys, "modbus", "modbus.func_code")
    expect_equal(functions, ["3", "3", "6", "6"] * 2, "functions of requests and answers")
    expect_equal(_dissect(capture, keys, "_ws.malformed or mbtcp.cannot_classify", "frame.number"), [], "bad frames")
    without = output("tshark", "-n", "-r", capture, "-Y", "modbus")[1]
    expect("Modbus" not in without, f"readable without the keys:\n{without[-1000:]}")


def roles(stage):
    """pymodbus over TLS: an engineer writes, an operator and clients without one good role only read"""
    with secured(stage) as site:
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
    with secured(stage) as site:
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
            point = ["-a", 1, "-r", 129, "-c", 5]
            code, printed = output("mbpoll", "-m", "tcp", "-o", 5, "-p", STUNNEL_PORT, *point, "-1", HOST)
            expect(code == 0 and "[133]:" in printed, f"exit code {code}\n{printed}\n{stage.logged('stunnel')}")
        finally:
            end(process)


def a_reload_that_revokes(stage):
    """pymodbus: a reload closes the connection of a client that is revoked, and leaves the others"""
    with secured(stage) as site:
        asyncio.run(_revoke(site))


CHECKS = [
    suites_and_versions,
    certificates,
    scanned,
    certificate_required,
    resumption,
    fragments,
    dissected,
    roles,
    stunnel,
    a_reload_that_revokes,
]


def _scan(site, port):
    """All scans of one listener, by a client whose certificate is accepted."""
    credentials = sslyze.ClientAuthenticationCredentials(
        certificate_chain_path=pathlib.Path(site / "engineer.pem"), key_path=pathlib.Path(site / "engineer.key")
    )
    commands = {sslyze.ScanCommand[f"{version}_CIPHER_SUITES"] for version in VERSIONS}
    commands |= {
        sslyze.ScanCommand.TLS_COMPRESSION,
        sslyze.ScanCommand.SESSION_RENEGOTIATION,
        sslyze.ScanCommand.HEARTBLEED,
        sslyze.ScanCommand.OPENSSL_CCS_INJECTION,
        sslyze.ScanCommand.ROBOT,
        sslyze.ScanCommand.TLS_EXTENDED_MASTER_SECRET,
    }
    return sslyze.ServerScanRequest(
        server_location=sslyze.ServerNetworkLocation(hostname="localhost", ip_address=HOST, port=port),
        network_configuration=sslyze.ServerNetworkConfiguration(
            tls_server_name_indication="localhost", tls_client_auth_credentials=credentials
        ),
        scan_commands=commands,
    )


def _port(scan):
    return scan.server_location.port


def _judge(scan, key):
    def result(name):
        attempt = getattr(scan, name)
        expect(attempt.result is not None, f"{key}: {name}: {attempt.error_reason} {attempt.error_trace}")
        return attempt.result

    for version in VERSIONS:
        accepted = result(f"{version.lower()}_cipher_suites").accepted_cipher_suites
        wanted = {f"TLS_{suite.format(key=key)}" for suite in OFFERED.get(version, ())}
        expect_equal({one.cipher_suite.name for one in accepted}, wanted, f"{key}: suites of {version}")
    expect(not result("tls_compression").supports_compression, f"{key}: compression")
    renegotiation = result("session_renegotiation")
    expect(renegotiation.supports_secure_renegotiation, f"{key}: no indication of renegotiation (RFC 5746)")
    expect(not renegotiation.is_vulnerable_to_client_renegotiation_dos, f"{key}: a client can renegotiate")
    expect(not result("heartbleed").is_vulnerable_to_heartbleed, f"{key}: Heartbleed")
    expect(not result("openssl_ccs_injection").is_vulnerable_to_ccs_injection, f"{key}: injection of a CCS")
    expect("NOT_VULNERABLE" in result("robot").robot_result.name, f"{key}: ROBOT")
    expect(result("tls_extended_master_secret").supports_ems_extension, f"{key}: no extended master secret")


def _ask(site, version, keys, pdus):
    """The answers to requests, one after another, to unit 1; their secrets are added to the file `keys`."""
    context = site.context("engineer")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.keylog_filename = str(keys)
    answers = []
    with socket.create_connection((HOST, EC_PORT), timeout=10) as stream:
        with context.wrap_socket(stream, server_hostname="localhost") as client:
            for number, pdu in enumerate(pdus):
                client.sendall(struct.pack(">HHHB", number, 0, len(pdu) + 1, 1) + pdu)
                answers.append(client.recv(300)[7:])
    return answers


def _registers(capture, keys):
    return _dissect(capture, keys, "modbus.func_code == 3 and modbus.regval_uint16", "modbus.regval_uint16")


def _dissect(capture, keys, filter, field):
    """A field of the frames that the filter lets through, decrypted."""
    code, printed = output(
        "tshark", "-n", "-r", capture, "-o", f"tls.keylog_file:{keys}", "-Y", filter, "-T", "fields", "-e", field,
    )
    expect(code == 0 or "cut short" in printed, f"tshark ended with {code}:\n{printed[-2000:]}")
    return [line for line in printed.splitlines() if line and not line.startswith(("Running as", "tshark:"))]


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
    return AsyncModbusTlsClient(HOST, port=EC_PORT, sslctx=site.context(name), timeout=5, retries=0, reconnect_delay=0)


def _s_client(site, port, name, *options):
    """What `openssl s_client` says; it ends with its input."""
    certificate = ["-cert", site / f"{name}.pem", "-key", site / f"{name}.key"] if name else []
    _code, said = output(
        "openssl", "s_client", "-connect", f"{HOST}:{port}", "-CAfile", site / "ca.pem",
        *certificate, *options, seconds=30,
    )
    return said
