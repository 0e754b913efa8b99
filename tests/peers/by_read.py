"""metergate read against pymodbus: the same meter, read by both, says the same.

The steps of the integers are written down here once more, from the meter's papers, so that a wrong step in the
profile is seen. Register numbers are as printed, from 1.
"""

import json
import struct

from pymodbus.client import ModbusTcpClient

from report import expect, expect_equal
from stage import DEAD_UNIT, HOST, PORT, READ_ONLY_PORT, output

UNIT = 5
INTEGERS = (1, 52)
FLOATS = (257, 90)
EXPONENTS = (138, 4)
# Registers of the integers by the place of their exponent among 138 to 141, and those with a step of their own.
SCALED = {
    0: [9, 22, 23, 24],
    1: [7, 8, 16, 17, 18, 19, 20, 21],
    2: [3, 4, 5, 10, 11, 12, *range(31, 43)],
    3: [1, 27, 29, 47, 49, 51],
}
STEPS = {6: 0.0001, 13: 0.0001, 14: 0.0001, 15: 0.0001, 26: 0.01, 43: 1, 45: 1}
WIDE = [1, 27, 29, 43, 45, 47, 49, 51]
RESERVED = 25
NOT_AVAILABLE_U16 = 0x8000
NOT_AVAILABLE_F32 = 0x7FC00000
# The meter counts on each second, so two readings around a third are mostly equal.
TRIES = 20


def floats(stage):
    """read --json agrees with pymodbus on each float of a meter"""
    client, registers, points = _steady(stage, "floats", FLOATS)
    expect_equal(sorted(points), list(range(257, 347, 2)), "registers of the floats")
    for register, point in points.items():
        words = registers[register - FLOATS[0] :][:2]
        expect_equal(point["raw"], words, f"raw registers of {point['name']}")
        if words[0] << 16 | words[1] == NOT_AVAILABLE_F32:
            expect_equal((point["value"], point["available"]), (None, False), point["name"])
            continue
        value = client.convert_from_registers(words, client.DATATYPE.FLOAT32)
        # JSON has the fewest digits that mean this single; as a single they are equal to the last bit.
        found = struct.unpack(">f", struct.pack(">f", point["value"]))[0]
        expect_equal(found, value, point["name"])


def integers(stage):
    """read --json agrees with pymodbus on each integer of a meter, scaled by its exponent or step"""
    client, registers, points = _steady(stage, "integers", INTEGERS)
    with client:
        reply = client.read_holding_registers(EXPONENTS[0] - 1, count=EXPONENTS[1], device_id=UNIT)
    exponents = [client.convert_from_registers([word], client.DATATYPE.INT16) for word in reply.registers]
    steps = STEPS | {register: 10.0 ** exponents[place] for place, some in SCALED.items() for register in some}
    expect_equal(sorted(points), sorted([*steps, RESERVED]), "registers of the integers")
    for register, point in points.items():
        kind = client.DATATYPE.UINT32 if register in WIDE else client.DATATYPE.UINT16
        words = registers[register - INTEGERS[0] :][: 2 if register in WIDE else 1]
        expect_equal(point["raw"], words, f"raw registers of {point['name']}")
        if words == [NOT_AVAILABLE_U16]:
            expect_equal((point["value"], point["available"]), (None, False), point["name"])
            continue
        value = client.convert_from_registers(words, kind) * steps.get(register, 1)
        expect(abs(point["value"] - value) <= 1e-12 * abs(value), f"{point['name']}: {point['value']} for {value}")


def writes(stage):
    """write --yes is seen by pymodbus, and where writes are denied nothing changes"""

    def setting():
        with ModbusTcpClient(HOST, port=PORT) as client:
            return client.read_holding_registers(132, count=1, device_id=UNIT).registers[0]

    for value, raw in [("2.5", 250), ("1", 100)]:
        code, printed = output(
            stage.program, "write", f"{HOST}:{PORT}", "--unit", UNIT, f"pt_ratio={value}", "--yes"
        )
        expect(code == 0 and "reads back the same" in printed, f"exit code {code}\n{printed}")
        expect_equal(setting(), raw, "register 133")
    code, printed = output(
        stage.program, "write", f"{HOST}:{READ_ONLY_PORT}", "--unit", UNIT, "pt_ratio=3", "--yes"
    )
    expect(code == 1 and "0x01" in printed, f"exit code {code}\n{printed}")
    expect_equal(setting(), 100, "register 133")


def faults(stage):
    """read ends with 1 for a dead unit and finds the gateway by its configuration"""
    code, printed = output(stage.program, "read", "--config", stage.configuration, "--unit", DEAD_UNIT)
    expect(code == 1 and "0x0B" in printed, f"exit code {code}\n{printed}")
    code, printed = output(stage.program, "read", "--config", stage.configuration, "--unit", UNIT)
    expect(code == 0 and "real_power_total_f" in printed, f"exit code {code}\n{printed}")


def _steady(stage, block, registers):
    """A client, what it read of the block, and what the program read of it meanwhile, by register."""
    first, count = registers
    client = ModbusTcpClient(HOST, port=PORT)
    with client:
        for _ in range(TRIES):
            before = client.read_holding_registers(first - 1, count=count, device_id=UNIT).registers
            code, printed = output(stage.program, "read", f"{HOST}:{PORT}", "--unit", UNIT, "--json", block)
            after = client.read_holding_registers(first - 1, count=count, device_id=UNIT).registers
            expect(code == 0, f"exit code {code}\n{printed}")
            if before == after:
                return client, before, {point["register"]: point for point in json.loads(printed)["points"]}
    raise RuntimeError(f"the meter never stood still in {TRIES} tries")


CHECKS = [floats, integers, writes, faults]
