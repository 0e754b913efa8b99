"""ser2net and socat: a line behind a serial server, as `device: tcp://host:port` reaches it.

Each has simulated meters of its own, on a pseudo terminal. The gateway's requests go over TCP to the serial server,
which puts them on that line.
"""

import contextlib
import time

from pymodbus.client import ModbusTcpClient

import far
from report import expect, expect_equal
from stage import HOST, end, output

UNITS = range(1, 4)
SILENT_UNIT = 9
GATEWAY_PORT = 1503
SOCAT_PORT = 4001
SER2NET_PORT = 4002
BACK_SECONDS = 3
STATE_SECONDS = 10
PATH_UNAVAILABLE = 0x0A
FAILED_TO_RESPOND = 0x0B

CONFIGURATION = """\
listeners:
  - address: {host}:{gateway_port}
buses:
  - name: far
    device: tcp://{address}:{port}
    units:
      - id: 1-3
      - id: {silent_unit}
status: "off"
"""

SER2NET = """\
%YAML 1.1
---
connection: &line
  accepter: tcp,{host},{port}
  connector: serialdev,{device},19200n81,local
"""


def through_socat(stage):
    """behind socat every meter is read, and 0x0B is given for one that is not there"""
    with _meters(stage, "socat") as device, _socat(stage, device), _gateway(stage, SOCAT_PORT) as client:
        for unit in UNITS:
            expect_equal(len(_registers(client, unit)), 90, f"registers of unit {unit}")
        expect_equal(_code(client, SILENT_UNIT), FAILED_TO_RESPOND, "a unit that is not there")


def through_ser2net(stage):
    """behind ser2net every meter is read, by the gateway and, while that is not running, by read, scan and doctor"""
    target = f"tcp://{HOST}:{SER2NET_PORT}"
    with _meters(stage, "ser2net") as device, _ser2net(stage, device):
        code, printed = output(stage.program, "read", target, "--unit", 2, "frequency")
        expect(code == 0 and "Hz" in printed, f"read: exit code {code}\n{printed}")
        code, printed = output(stage.program, "scan", target, "--units", "1-3")
        expect(code == 0 and "3 meters" in printed and f'device: "{target}"' in printed, f"scan: {code}\n{printed}")
        code, printed = output(stage.program, "doctor", target, "--units", "1-3", "--for", "5s")
        expect(code == 0 and "3 of 3 units answer" in printed, f"doctor: {code}\n{printed}")
        with _gateway(stage, SER2NET_PORT) as client:
            for unit in UNITS:
                expect_equal(len(_registers(client, unit)), 90, f"registers of unit {unit}")


def one_client_at_a_time(stage):
    """a second client of ser2net learns that the port is in use, and costs the gateway nothing"""
    target = f"tcp://{HOST}:{SER2NET_PORT}"
    with _meters(stage, "ser2net") as device, _ser2net(stage, device), _gateway(stage, SER2NET_PORT) as client:
        code, printed = output(stage.program, "read", target, "--unit", 1, "frequency")
        expect(code == 5 and "Port already in use" in printed, f"exit code {code}\n{printed}")
        expect_equal(len(_registers(client, 1)), 90, "registers after it")


def killed_and_back(stage):
    """when ser2net is killed clients get 0x0A, and good values are back within 3 s of its return"""
    with _meters(stage, "ser2net") as device, contextlib.ExitStack() as serving:
        with _ser2net(stage, device):
            client = serving.enter_context(_gateway(stage, SER2NET_PORT))
            expect_equal(len(_registers(client, 1)), 90, "registers before")
        refused = f"cannot open the port: tcp://{HOST}:{SER2NET_PORT}: connection refused"
        _until(lambda: refused in stage.logged("behind"), "refused connection")
        expect_equal(_code(client, 1), PATH_UNAVAILABLE, "a read while ser2net is not there")
        with _ser2net(stage, device):
            back = time.monotonic()
            _until(lambda: _code(client, 1) is None, "a good value after its return")
            took = time.monotonic() - back
            expect(took < BACK_SECONDS, f"good values after {took:.1f} s")


def black_hole(stage):
    """when nothing of the serial server arrives any more requests fail in time, and good values are back within 3 s"""
    with far.namespace(), _meters(stage, "far") as device, _socat(stage, device, far.ADDRESS, *far.INSIDE):
        with _gateway(stage, SOCAT_PORT, far.ADDRESS) as client:
            expect_equal(len(_registers(client, 1)), 90, "registers before")
            far.drop_everything()
            expect_equal(_code(client, 1), FAILED_TO_RESPOND, "a read into nothing")
            _until(lambda: _code(client, 1) == PATH_UNAVAILABLE, "0x0A once the connection is given up")
            far.drop_nothing()
            back = time.monotonic()
            _until(lambda: _code(client, 1) is None, "a good value after its return")
            took = time.monotonic() - back
            expect(took < BACK_SECONDS, f"good values after {took:.1f} s")


@contextlib.contextmanager
def _meters(stage, name):
    device = stage.directory / f"{name}-line"
    command = ["simulate", "--link", str(device), "--units", "1-3", "--baud", "19200"]
    simulator = stage.start_process(f"{name}-meters", stage.program, *command)
    try:
        stage.wait_for("a device", device.exists, f"{name}-meters", simulator)
        yield device
    finally:
        end(simulator)


@contextlib.contextmanager
def _socat(stage, device, address=HOST, *inside):
    listening = f"TCP-LISTEN:{SOCAT_PORT},bind={address},reuseaddr"
    # Every connection has socat open the device anew; one at a time is all a line can have.
    server = stage.start_process("socat", *inside, "socat", "-d", "-d", listening + ",fork", f"OPEN:{device},raw,echo=0")
    try:
        stage.wait_for("socat", lambda: "listening on" in stage.logged("socat"), "socat", server)
        yield
    finally:
        end(server)


@contextlib.contextmanager
def _ser2net(stage, device):
    configuration = stage.directory / "ser2net.yaml"
    configuration.write_text(SER2NET.format(host=HOST, port=SER2NET_PORT, device=device))
    server = stage.start_process("ser2net", "ser2net", "-n", "-c", str(configuration))
    try:
        stage.wait_for("ser2net", _has_ser2net, "ser2net", server)
        yield
    finally:
        end(server)


def _has_ser2net():
    # A connection to find that out would be the one it takes.
    return f":{SER2NET_PORT} " in output("ss", "-ltnH")[1]


@contextlib.contextmanager
def _gateway(stage, port, address=HOST):
    """A client of a gateway with one bus behind the serial server, whose port is open."""
    configuration = stage.directory / "behind.yaml"
    text = CONFIGURATION.format(
        host=HOST, gateway_port=GATEWAY_PORT, address=address, port=port, silent_unit=SILENT_UNIT
    )
    configuration.write_text(text)
    code, printed = output(stage.program, "check", configuration)
    expect(code == 0 and "cannot be promised behind" in printed, f"check: exit code {code}\n{printed}")
    gateway = stage.start_process("behind", stage.program, "run", str(configuration))
    try:
        stage.wait_for("an open port", lambda: "port open" in stage.logged("behind"), "behind", gateway)
        client = ModbusTcpClient(HOST, port=GATEWAY_PORT, timeout=5)
        expect(client.connect(), "the gateway takes no connection")
        with client:
            yield client
    finally:
        end(gateway)


def _registers(client, unit):
    reply = client.read_holding_registers(256, count=90, device_id=unit)
    expect(not reply.isError(), f"unit {unit}: {reply}")
    return reply.registers


def _code(client, unit):
    """The exception code of a read, None if it was answered with values."""
    reply = client.read_holding_registers(256, count=2, device_id=unit)
    return reply.exception_code if reply.isError() else None


def _until(condition, what):
    deadline = time.monotonic() + STATE_SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"no {what} within {STATE_SECONDS} s")


CHECKS = [through_socat, through_ser2net, one_client_at_a_time, killed_and_back, black_hole]
