"""pymodbus and libmodbus as Modbus TCP servers, and another metergate, upstream: `device: modbus-tcp://host:port`.

The server of the fault checks is in a network namespace of its own, behind a pair of interfaces, so that its packets can
be dropped without disturbing anything else.
"""

import contextlib
import pathlib
import sys
import time

from pymodbus.client import ModbusTcpClient

import far
from report import expect, expect_equal
from stage import HOST, PORT, end, output

GATEWAY_PORT = 1504
SERVER_PORT = 5502
BACK_SECONDS = 3
STATE_SECONDS = 20
PATH_UNAVAILABLE = 0x0A
FAILED_TO_RESPOND = 0x0B
# Not configured upstream.
UNKNOWN_UNIT = 88

CONFIGURATION = """\
listeners:
  - address: {host}:{gateway_port}
    writes: allow
buses:
  - name: far
    device: modbus-tcp://{address}:{port}
    units:
      - id: {units}
  - name: healthy
    device: modbus-tcp://{host}:{healthy_port}
    response_timeout: 2s
    units:
      - {{id: 1, as: 101}}
status: "off"
"""

# Each register holds its own address, so that no value can be taken for another.
SERVER = """
import sys
from pymodbus.server import StartTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

registers = [SimData(0, values=list(range(500)), datatype=DataType.REGISTERS)]
StartTcpServer([SimDevice(unit, registers) for unit in (1, 2)], address=(sys.argv[1], int(sys.argv[2])))
"""


def through_pymodbus(stage):
    """units of a pymodbus server are read and written, and its own exceptions reach the client"""
    with _server(stage, HOST) as _, _gateway(stage, HOST) as client:
        _expect_reads_writes_and_exceptions(client)


def through_libmodbus(stage):
    """units of a libmodbus server are read and written, and its own exceptions reach the client"""
    with _libmodbus_server(stage) as _, _gateway(stage, HOST) as client:
        _expect_reads_writes_and_exceptions(client)


def through_a_gateway(stage):
    """units of another metergate are read, and 0x0A is passed on of a unit it does not have"""
    with _gateway(stage, HOST, port=PORT, units=f"[1, 2, {UNKNOWN_UNIT}]") as client:
        for unit in (1, 2):
            reply = client.read_holding_registers(256, count=90, device_id=unit)
            expect(not reply.isError(), f"unit {unit}: {reply}")
        expect_equal(_code(client, UNKNOWN_UNIT), PATH_UNAVAILABLE, "a unit that is not configured there")


def killed_and_back(stage):
    """when the server is killed clients get 0x0A, other buses go on, and good values are back within 3 s"""
    with contextlib.ExitStack() as serving:
        with _server(stage, HOST):
            client = serving.enter_context(_gateway(stage, HOST))
            _expect_own_values(client, 1)
        _until(lambda: _code(client, 1) == PATH_UNAVAILABLE, "0x0A while the server is not there")
        _expect_healthy(client)
        with _server(stage, HOST):
            back = time.monotonic()
            _until(lambda: _code(client, 1) is None, "a good value after its return")
            took = time.monotonic() - back
            expect(took < BACK_SECONDS, f"good values after {took:.1f} s")
            _expect_own_values(client, 1)


def black_hole(stage):
    """when nothing of the server arrives any more requests fail in time, other buses go on, and it comes back"""
    with far.namespace(), _server(stage, far.ADDRESS, *far.INSIDE) as _:
        with _gateway(stage, far.ADDRESS) as client:
            _expect_own_values(client, 1)
            far.drop_everything()
            for _ in range(4):
                expect_equal(_code(client, 1) in (PATH_UNAVAILABLE, FAILED_TO_RESPOND), True, "an exception")
                _expect_healthy(client)
            _until(lambda: _code(client, 1) == PATH_UNAVAILABLE, "0x0A once the connection is given up")
            far.drop_nothing()
            back = time.monotonic()
            _until(lambda: _code(client, 1) is None, "a good value after its return")
            took = time.monotonic() - back
            expect(took < BACK_SECONDS, f"good values after {took:.1f} s")
            _expect_own_values(client, 1)


@contextlib.contextmanager
def _server(stage, address, *inside):
    command = [*inside, sys.executable, "-c", SERVER, address, str(SERVER_PORT)]
    server = stage.start_process("pymodbus-server", *command)
    try:
        stage.wait_for("a server", lambda: _answers(address), "pymodbus-server", server)
        yield server
    finally:
        end(server)


@contextlib.contextmanager
def _libmodbus_server(stage):
    program = stage.directory / "libmodbus-server"
    if not program.exists():
        source = pathlib.Path(__file__).with_name("libmodbus_server.c")
        code, printed = output("cc", "-Wall", "-o", str(program), str(source), "-lmodbus")
        expect_equal(code, 0, f"{printed}\nexit code of cc")
    server = stage.start_process("libmodbus-server", str(program), HOST, str(SERVER_PORT))
    try:
        stage.wait_for("a server", lambda: _answers(HOST), "libmodbus-server", server)
        yield server
    finally:
        end(server)


def _answers(address):
    with ModbusTcpClient(address, port=SERVER_PORT, timeout=1) as client:
        return client.connected and not client.read_holding_registers(0, count=1, device_id=1).isError()


@contextlib.contextmanager
def _gateway(stage, address, port=SERVER_PORT, units="1-2"):
    """A client of a gateway with a bus of that server and a healthy one, both connected."""
    configuration = stage.directory / "upstream.yaml"
    configuration.write_text(
        CONFIGURATION.format(
            host=HOST,
            gateway_port=GATEWAY_PORT,
            address=address,
            port=port,
            units=units,
            healthy_port=PORT if port != PORT else SERVER_PORT,
        )
    )
    gateway = stage.start_process("upstream", stage.program, "run", str(configuration))
    try:
        opened = f"port open: modbus-tcp://{address}:{port}"
        stage.wait_for("an open port", lambda: opened in stage.logged("upstream"), "upstream", gateway)
        client = ModbusTcpClient(HOST, port=GATEWAY_PORT, timeout=5)
        expect(client.connect(), "the gateway takes no connection")
        with client:
            yield client
    finally:
        end(gateway)


def _expect_reads_writes_and_exceptions(client):
    for unit in (1, 2):
        _expect_own_values(client, unit)
    expect(not client.write_register(7, 4711, device_id=1).isError(), "the write is refused")
    expect_equal(client.read_holding_registers(7, count=1, device_id=1).registers, [4711], "what was written")
    reply = client.read_holding_registers(600, count=1, device_id=1)
    expect_equal(reply.exception_code, 2, "the server's own exception")


def _expect_own_values(client, unit):
    reply = client.read_holding_registers(100, count=50, device_id=unit)
    expect(not reply.isError(), f"unit {unit}: {reply}")
    expect_equal(reply.registers, list(range(100, 150)), f"registers of unit {unit}")


def _expect_healthy(client):
    reply = client.read_holding_registers(256, count=2, device_id=101)
    expect(not reply.isError(), f"the healthy bus: {reply}")


def _code(client, unit):
    """The exception code of a read, None if it was answered with values."""
    reply = client.read_holding_registers(256, count=2, device_id=unit)
    return reply.exception_code if reply.isError() else None


def _until(condition, what):
    deadline = time.monotonic() + STATE_SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"no {what} within {STATE_SECONDS} s")


CHECKS = [through_pymodbus, through_libmodbus, through_a_gateway, killed_and_back, black_hole]
