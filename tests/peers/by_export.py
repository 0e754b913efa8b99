"""metergate export against parsers and a client of others: what a list says leads to the values that read shows.

Each list is parsed by a library nobody here wrote, and each of its addresses is decoded by pymodbus as the list says.
"""

import csv
import io
import re
import shutil
import struct
import tomllib

import yaml

from by_read import FLOATS, UNIT, _steady
from report import expect, expect_equal
from stage import HOST, PORT, output

CONFIGURATION = """\
listeners:
  - address: {host}:{port}
buses:
  - name: chain
    device: {device}
    units:
      - {{id: 1-4, profile: leviton-4000r}}
      - {{id: 5, name: 'Panel "5", left', profile: leviton-4000r}}
"""
# Quantities that are read in the background, each once.
QUANTITIES = 43


def csv_rows(stage):
    """export csv is a table whose every row leads to what read shows"""
    rows = list(csv.DictReader(io.StringIO(_exported(stage, "csv"))))
    mine = [row for row in rows if int(row["unit_id"]) == UNIT]
    expect_equal({row["meter"] for row in mine}, {'Panel "5", left'}, "name of the meter")
    found = {}
    for row in mine:
        address = int(row["address_0"])
        expect_equal(int(row["address_1"]), address + 1, row["point"])
        expect_equal(int(row["modicon"]), 40001 + address, row["point"])
        if row["format"] == "f32":
            expect_equal((row["function"], row["word_order"], row["scale"]), ("3", "high_first", ""), row["point"])
            found[address] = ("FLOAT32", "big", 1)
    _compare(stage, found, at_least=QUANTITIES - 1)


def home_assistant(stage):
    """export home-assistant is YAML whose every sensor leads to what read shows"""
    (hub,) = yaml.safe_load(_exported(stage, "home-assistant"))["modbus"]
    expect_equal((hub["type"], hub["host"], hub["port"]), ("tcp", HOST, PORT), "hub")
    expect(hub["timeout"] > 3, "the gateway takes 3 s for some answers")
    sensors = hub["sensors"]
    for key in ("unique_id", "name"):
        expect_equal(len({sensor[key] for sensor in sensors}), len(sensors), f"{key}s of sensors")
    orders = {None: "big", "word": "little"}
    found = {
        sensor["address"]: (sensor["data_type"].upper(), orders[sensor.get("swap")], sensor.get("scale", 1))
        for sensor in sensors
        if sensor["slave"] == UNIT and sensor["input_type"] == "holding"
    }
    _compare(stage, found, at_least=QUANTITIES)
    energy = next(sensor for sensor in sensors if sensor["unique_id"] == f"metergate_chain_{UNIT}_real_energy_total")
    expect_equal(
        (energy["unit_of_measurement"], energy["device_class"], energy["state_class"]),
        ("kWh", "energy", "total_increasing"),
        "energy",
    )


def telegraf(stage):
    """export telegraf is TOML whose every field leads to what read shows"""
    sections = tomllib.loads(_exported(stage, "telegraf"))["inputs"]["modbus"]
    expect_equal(len(sections), 5, "sections, one a meter")
    found = {}
    for section in sections:
        expect_equal(section["controller"], f"tcp://{HOST}:{PORT}", "controller")
        for request in section["request"]:
            if request["slave_id"] == UNIT:
                expect_equal(request["tags"]["meter"], 'Panel "5", left', "tag")
                order = {"ABCD": "big", "CDAB": "little"}[request["byte_order"]]
                for field in request["fields"]:
                    found[field["address"]] = (field["type"], order, field.get("scale", 1))
    _compare(stage, found, at_least=QUANTITIES)


def modbus_exporter(stage):
    """export prometheus is what modbus_exporter's configuration may be, and every metric leads to what read shows"""
    text = _exported(stage, "prometheus")
    found = {}
    (module,) = yaml.safe_load(text)["modules"]
    expect_equal((module["protocol"], module["timeout"] > 3000), ("tcp/ip", True), "module")
    names = [metric["name"] for metric in module["metrics"]]
    expect_equal(len(set(names)), len(names), "names of metrics")
    # By config.go and modbus.go of modbus_exporter.
    kinds = {f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (16, 32, 64)} - {"float16"}
    orders = {"big": "big", "yolo": "little"}
    for metric in module["metrics"]:
        expect(re.fullmatch("[a-z_:][a-z0-9_:]*", metric["name"]), metric["name"])
        expect(metric["dataType"] in kinds and metric["metricType"] in ("gauge", "counter"), f"{metric}")
        expect(metric.get("factor") != 0 and metric["help"], f"{metric}")
        function, address = divmod(metric["address"], 100_000)
        expect_equal(function, 3, metric["name"])
        found[address] = (metric["dataType"].upper(), orders[metric["endianness"]], metric.get("factor", 1))
    _compare(stage, found, at_least=QUANTITIES)
    commented = text[text.index("# scrape_configs") :].partition("\n\n")[0]
    job = stage.directory / "prometheus.yml"
    job.write_text(re.sub("(?m)^# ", "", commented) + "\n")
    promtool = shutil.which("promtool")
    if promtool:
        code, printed = output(promtool, "check", "config", job)
        expect(code == 0, printed)


def _exported(stage, *words):
    """What export prints for the stage's gateway, its meters named."""
    path = stage.directory / "export.yaml"
    path.write_text(CONFIGURATION.format(host=HOST, port=PORT, device=stage.device))
    code, printed = output(stage.program, "export", *words, "--config", path)
    expect(code == 0, f"exit code {code}\n{printed}")
    return printed


def _compare(stage, found, at_least):
    """Every address, decoded as the list says, is what read shows of the register one above."""
    expect(len(found) >= at_least, f"{at_least} quantities expected, found {sorted(found)}")
    client, registers, points = _steady(stage, "floats", FLOATS)
    for address, (kind, order, scale) in found.items():
        kind = client.DATATYPE[kind]
        words = registers[address + 1 - FLOATS[0] :][: kind.value[1]]
        value = client.convert_from_registers(words, kind, word_order=order) * scale
        point = points[address + 1]
        if point["value"] is None:
            expect(value != value, f"{point['name']}: {value} where read has no value")
            continue
        expected = struct.unpack(">f", struct.pack(">f", point["value"]))[0]
        expect_equal(value, expected, point["name"])


CHECKS = [csv_rows, home_assistant, telegraf, modbus_exporter]
