"""pymodbus, its blocking and its asynchronous client: what a dashboard or an export does.

Addresses are as on the wire, from 0.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient
from pymodbus.exceptions import ModbusException

from report import expect, expect_equal
from stage import DEAD_UNIT, HOST, PORT, READ_ONLY_PORT, RTU_PORT, UNITS, UNROUTED_UNIT

INTEGERS = 0
CONFIGURATION = 128
GAP = 60
SCRATCH = 141
FLOATS = 256
FIRMWARE = 7000

ILLEGAL_FUNCTION = 0x01
ILLEGAL_DATA_ADDRESS = 0x02
ILLEGAL_DATA_VALUE = 0x03
GATEWAY_PATH_UNAVAILABLE = 0x0A
GATEWAY_TARGET_FAILED = 0x0B

RECONNECTS = 50
CLIENTS = 8
ROUNDS = 3
# Longer than the gateway's deadline of 3 s; no second attempt, which would hide a missing answer.
CLIENT = {"timeout": 5, "retries": 0}


def blocking_reads(_stage):
    """blocking client: functions 03 and 04 read the same configuration of every unit"""
    with _client() as client:
        for unit in UNITS:
            holding = client.read_holding_registers(CONFIGURATION, count=26, device_id=unit)
            inputs = client.read_input_registers(CONFIGURATION, count=26, device_id=unit)
            expect_equal(_registers(holding), _registers(inputs), f"unit {unit}, functions 03 and 04")
            expect_equal(len(_registers(holding)), 26, f"registers of unit {unit}")


def blocking_writes(_stage):
    """blocking client: functions 06 and 10 write, and the next read shows it"""
    with _client() as client:
        for value in (1, 99):
            _answered(client.write_register(SCRATCH, value, device_id=2))
            expect_equal(_one(client.read_holding_registers(SCRATCH, device_id=2)), value, "after function 06")
        _answered(client.write_registers(SCRATCH, [55, 56], device_id=2))
        found = _registers(client.read_holding_registers(SCRATCH, count=2, device_id=2))
        expect_equal(found, [55, 56], "after function 10")


def blocking_identification(_stage):
    """blocking client: report server id (11) and device identification (2B/0E) name the meter"""
    with _client() as client:
        for unit in UNITS:
            reported = _answered(client.report_device_id(device_id=unit)).identifier
            expect(reported[:1] == b"\xf7" and b"Leviton" in reported, f"unit {unit} reports {reported!r}")
            objects = _answered(client.read_device_information(device_id=unit)).information
            firmware = _one(client.read_holding_registers(FIRMWARE, device_id=unit))
            version = f"V{firmware // 1000:02}.{firmware % 1000:03}".encode()
            expect_equal(objects, {0: b"Leviton", 1: b"Series 4000", 2: version}, f"objects of unit {unit}")


def blocking_exceptions(_stage):
    """blocking client: exceptions 01, 02, 03 of the meter and 0A, 0B, 01 of the gateway, each its own code"""
    with _client() as client, _client(READ_ONLY_PORT) as read_only:
        for reply, code, what in [
            (client.read_coils(0, count=8, device_id=1), ILLEGAL_FUNCTION, "function 01, which the meter has not"),
            (client.read_holding_registers(GAP, device_id=1), ILLEGAL_DATA_ADDRESS, "a gap"),
            (client.read_holding_registers(50, count=10, device_id=1), ILLEGAL_DATA_ADDRESS, "a read into a gap"),
            (client.write_register(SCRATCH, 1000, device_id=1), ILLEGAL_DATA_VALUE, "a value out of range"),
            (client.read_holding_registers(0, device_id=UNROUTED_UNIT), GATEWAY_PATH_UNAVAILABLE, "no such unit"),
            (client.read_holding_registers(0, device_id=DEAD_UNIT), GATEWAY_TARGET_FAILED, "a dead unit"),
            (read_only.write_register(SCRATCH, 5, device_id=1), ILLEGAL_FUNCTION, "function 06 where denied"),
            (read_only.write_registers(SCRATCH, [5, 6], device_id=1), ILLEGAL_FUNCTION, "function 10 where denied"),
        ]:
            _refused(reply, code, what)
        _answered(client.read_holding_registers(INTEGERS, count=52, device_id=1))


def asynchronous(_stage):
    """asynchronous client: functions 01, 03, 04, 06, 10, 11 and 2B/0E"""

    async def session():
        async with AsyncModbusTcpClient(HOST, port=PORT, **CLIENT) as client:
            _refused(await client.read_coils(0, device_id=6), ILLEGAL_FUNCTION, "function 01")
            holding = await client.read_holding_registers(FLOATS, count=90, device_id=6)
            inputs = await client.read_input_registers(FLOATS, count=90, device_id=6)
            expect_equal((len(_registers(holding)), len(_registers(inputs))), (90, 90), "registers")
            _answered(await client.write_register(SCRATCH, 61, device_id=6))
            expect_equal(_one(await client.read_holding_registers(SCRATCH, device_id=6)), 61, "after function 06")
            _answered(await client.write_registers(SCRATCH, [62], device_id=6))
            expect_equal(_one(await client.read_input_registers(SCRATCH, device_id=6)), 62, "after function 10")
            reported = _answered(await client.report_device_id(device_id=6)).identifier
            expect(b"Leviton" in reported, f"unit 6 reports {reported!r}")
            objects = _answered(await client.read_device_information(device_id=6)).information
            expect_equal(objects[0], b"Leviton", "object 0")

    asyncio.run(session())


def asynchronous_crowd(_stage):
    """eight asynchronous clients at once: every reply is the asked unit's own"""

    async def one():
        async with AsyncModbusTcpClient(HOST, port=PORT, **CLIENT) as client:
            for unit in UNITS:
                reply = await client.read_holding_registers(SCRATCH, device_id=unit)
                expect_equal(_one(reply), _mark(unit), f"mark of unit {unit}")

    async def crowd():
        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    _mark_units()
    asyncio.run(crowd())


def blocking_crowd(_stage):
    """eight blocking clients at once, each on all units in its own order: every reply is the asked unit's own"""

    def one(number):
        with _client() as client:
            for turn in range(ROUNDS * len(UNITS)):
                unit = UNITS[(number + turn * (2 * number + 1)) % len(UNITS)]
                reply = client.read_holding_registers(SCRATCH, device_id=unit)
                expect_equal(_one(reply), _mark(unit), f"client {number}: mark of unit {unit}")

    _mark_units()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for finished in [pool.submit(one, number) for number in range(CLIENTS)]:
            finished.result()


def dead_among_living(_stage):
    """while one client keeps asking a dead unit, another's reads of the others all succeed"""

    def mourner():
        with _client() as client:
            for _ in range(5):
                _refused(client.read_holding_registers(0, device_id=DEAD_UNIT), GATEWAY_TARGET_FAILED, "a dead unit")

    def reader():
        with _client() as client:
            for _ in range(ROUNDS):
                for unit in UNITS:
                    _answered(client.read_holding_registers(FLOATS, count=90, device_id=unit))

    with ThreadPoolExecutor(2) as pool:
        for finished in [pool.submit(mourner), pool.submit(reader)]:
            finished.result()


def reconnects(_stage):
    """fifty connections one after another, each with one good read"""
    for _ in range(RECONNECTS):
        with _client() as client:
            expect(_one(client.read_holding_registers(FIRMWARE, device_id=7)) > 0, "a firmware version expected")


def rtu_reads(_stage):
    """RTU over TCP: functions 03, 04, 11 and 2B/0E give what they give over Modbus TCP"""
    with _rtu_client() as rtu, _client() as tcp:
        for unit in UNITS:
            for one, other in zip(_configuration(rtu, unit), _configuration(tcp, unit), strict=True):
                expect_equal(one, other, f"unit {unit}, over RTU and over TCP")


def rtu_writes(_stage):
    """RTU over TCP: functions 06 and 10 write, and the next read shows it; a broadcast is not answered"""
    with _rtu_client() as client:
        for value in (3, 97):
            _answered(client.write_register(SCRATCH, value, device_id=3))
            expect_equal(_one(client.read_holding_registers(SCRATCH, device_id=3)), value, "after function 06")
        _answered(client.write_registers(SCRATCH, [57, 58], device_id=3))
        found = _registers(client.read_holding_registers(SCRATCH, count=2, device_id=3))
        expect_equal(found, [57, 58], "after function 10")
        client.write_register(SCRATCH, 33, device_id=0, no_response_expected=True)
        for unit in UNITS:
            found = _one(client.read_holding_registers(SCRATCH, device_id=unit))
            expect_equal(found, 33, f"unit {unit} after a broadcast")


def rtu_exceptions(_stage):
    """RTU over TCP: exceptions 01, 02, 03 of the meter and 0A, 0B of the gateway, each its own code"""
    with _rtu_client() as client:
        for reply, code, what in [
            (client.read_coils(0, count=8, device_id=1), ILLEGAL_FUNCTION, "function 01, which the meter has not"),
            (client.read_holding_registers(GAP, device_id=1), ILLEGAL_DATA_ADDRESS, "a gap"),
            (client.write_register(SCRATCH, 1000, device_id=1), ILLEGAL_DATA_VALUE, "a value out of range"),
            (client.read_holding_registers(0, device_id=UNROUTED_UNIT), GATEWAY_PATH_UNAVAILABLE, "no such unit"),
            (client.read_holding_registers(0, device_id=DEAD_UNIT), GATEWAY_TARGET_FAILED, "a dead unit"),
        ]:
            _refused(reply, code, what)
        _answered(client.read_holding_registers(INTEGERS, count=52, device_id=1))


def rtu_crowd(_stage):
    """RTU over TCP: eight asynchronous clients at once, every reply is the asked unit's own"""

    async def one():
        async with AsyncModbusTcpClient(HOST, port=RTU_PORT, framer=FramerType.RTU, **CLIENT) as client:
            for unit in UNITS:
                reply = await client.read_holding_registers(SCRATCH, device_id=unit)
                expect_equal(_one(reply), _mark(unit), f"mark of unit {unit}")

    async def crowd():
        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    _mark_units()
    asyncio.run(crowd())


def _configuration(client, unit):
    """What a client reads of a unit that no other check changes meanwhile."""
    return (
        _registers(client.read_holding_registers(CONFIGURATION, count=10, device_id=unit)),
        _registers(client.read_input_registers(CONFIGURATION, count=10, device_id=unit)),
        _answered(client.report_device_id(device_id=unit)).identifier,
        _answered(client.read_device_information(device_id=unit)).information,
    )


def _client(port=PORT):
    return ModbusTcpClient(HOST, port=port, **CLIENT)


def _rtu_client():
    return ModbusTcpClient(HOST, port=RTU_PORT, framer=FramerType.RTU, **CLIENT)


def _mark(unit):
    return 10 + unit


def _mark_units():
    """Gives each unit a value of its own, so that a mixed-up reply is seen."""
    with _client() as client:
        for unit in UNITS:
            _answered(client.write_register(SCRATCH, _mark(unit), device_id=unit))


def _answered(reply):
    if reply.isError():
        raise ModbusException(f"data expected, found {reply}")
    return reply


def _registers(reply):
    return _answered(reply).registers


def _one(reply):
    registers = _registers(reply)
    expect_equal(len(registers), 1, "registers in the reply")
    return registers[0]


def _refused(reply, code, what):
    expect(reply.isError() and reply.exception_code == code, f"{what}: exception {code:#04x} expected, found {reply}")


CHECKS = [
    blocking_reads,
    blocking_writes,
    blocking_identification,
    blocking_exceptions,
    asynchronous,
    asynchronous_crowd,
    blocking_crowd,
    dead_among_living,
    reconnects,
    rtu_reads,
    rtu_writes,
    rtu_exceptions,
    rtu_crowd,
]
