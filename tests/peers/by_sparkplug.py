"""mosquitto and a host of Sparkplug B by pysparkplug: what an edge node sends, as a host that checks every rule sees it.

What each host gets is decoded by Eclipse Tahu's sparkplug-payload, too (`sparkplug/compare.js`), with the same result. The
host is `sparkplug/host.py`, in a virtual environment of its own. It requests births at random, is restarted, and
disappears; meters, gateway and broker go and come back.
"""

import contextlib
import json
import pathlib
import time

import publishing
from report import expect, expect_equal
from stage import HOST, output

BROKER_PORT = 1884
STATE_SECONDS = 40
DIRECTORY = pathlib.Path(__file__).parent / "sparkplug"
PYTHON = DIRECTORY / ".venv" / "bin" / "python"

CONFIGURATION = """\
listeners:
  - address: {host}:1505
buses:
  - name: riser-a
    device: {device}
    echo: off
    offline_after: {{failures: 2, time: 1s}}
    units: [{{id: 1, name: Panel 1, profile: leviton-4000r, poll: 1s}}, {{id: 2, profile: leviton-4000r, poll: 1s}}]
status: "off"
mqtt:
  - broker: mqtt://{host}:{port}
    client_id: metergate-node
    publish: sparkplug
    sparkplug: {{group: site, node: harbour{more}}}
    every: 1s
"""
DEVICES = {"Panel 1", "riser-a-2"}


def births_and_data(stage):
    """pysparkplug decodes every message; births are complete and first, seq has no gap, values are within reason"""
    with publishing.meters(stage), _mosquitto(stage), _Host(stage, 12) as host, _gateway(stage):
        seen = host.seen()
    expect_equal((seen["NBIRTH"], seen["DBIRTH"], seen["bd_seqs"]), (1, 2, [0]), "births")
    expect_equal(set(seen["devices"]), DEVICES, "devices")
    expect(seen["DDATA"] >= 10, f"data: {seen}")
    expect(min(seen["devices"].values()) > 30, f"metrics of the devices: {seen['devices']}")
    expect_equal(seen["historical"], 0, "historical values")
    expect(seen["compared"] > 100, f"values that sparkplug-payload decodes alike: {seen['compared']}")


def rebirths_at_random(stage):
    """a host that requests births at random gets all of them, at most once a second, with the same bdSeq, and no data before"""
    with publishing.meters(stage), _mosquitto(stage), _Host(stage, 32, "--rebirths", 7) as host, _gateway(stage):
        seen = host.seen()
    expect(seen["rebirths"] > 10, f"requests: {seen}")
    expect(6 < seen["NBIRTH"] <= 34 and seen["DDATA"] > 0, f"births and data: {seen}")
    expect_equal((set(seen["bd_seqs"]), seen["NDEATH"]), ({0}, 0), "bdSeq, deaths")
    expect_equal(set(seen["devices"]), DEVICES, "devices")


def a_late_host(stage):
    """a host that comes later, or is restarted, requests births and then holds everything"""
    with publishing.meters(stage), _mosquitto(stage), _gateway(stage):
        for _ in range(2):
            with _Host(stage, 16, "--late") as host:
                seen = host.seen()
            expect_equal((seen["NBIRTH"], seen["rebirths"]), (1, 1), "births")
            expect_equal(set(seen["devices"]), DEVICES, "devices")


def a_lost_meter(stage):
    """meters that are lost die and are born again"""
    with _mosquitto(stage), _Host(stage, 30) as host, contextlib.ExitStack() as running:
        with publishing.meters(stage):
            running.enter_context(_gateway(stage))
            host.wait_for("DDATA riser-a-2")
        for device in DEVICES:
            host.wait_for(f"DDEATH {device}")
        with publishing.meters(stage):
            for device in DEVICES:
                host.wait_for(f"DBIRTH {device}", 2)
            seen = host.seen()
    expect_equal((seen["NBIRTH"], seen["DDEATH"]), (1, 2), "node and deaths")


def a_killed_gateway(stage):
    """a gateway that is killed dies by its will, and one that is stopped by itself; the next begins at bdSeq 0"""
    with publishing.meters(stage), _mosquitto(stage), _Host(stage, 25) as host:
        with _gateway(stage) as gateway:
            host.wait_for("DDATA riser-a-2")
            gateway.kill()
            host.wait_for("NDEATH")
        with _gateway(stage):
            host.wait_for("NBIRTH", 2)
            host.wait_for("DBIRTH riser-a-2", 2)
        host.wait_for("NDEATH", 2)
        seen = host.seen()
    expect_equal((seen["NBIRTH"], seen["NDEATH"], seen["bd_seqs"]), (2, 2, [0, 0]), "births and deaths")


def a_broker_that_comes_back(stage):
    """after an outage of the broker come births with another bdSeq, then what changed meanwhile, as historical"""
    with publishing.meters(stage):
        with contextlib.ExitStack() as running:
            with _mosquitto(stage):
                running.enter_context(_gateway(stage))
                with _Host(stage, 5) as host:
                    host.wait_for("DDATA riser-a-2")
            time.sleep(6)
            with _Host(stage, 12, awaits_broker=True) as host, _mosquitto(stage):
                seen = host.seen()
    expect(seen["NBIRTH"] == 1 and seen["bd_seqs"][0] > 0, f"bdSeq: {seen}")
    expect(seen["historical"] > 20, f"historical values: {seen}")


def a_primary_host(stage):
    """births wait for the primary host; when it disappears the node dies, and what changed follows the births"""
    with publishing.meters(stage), _mosquitto(stage), _gateway(stage, ", primary_host: scada"):
        _until(lambda: "waiting for the primary host scada" in stage.logged(publishing.GATEWAY), "wait in the log")
        with _Host(stage, 20, "--state") as host:
            host.wait_for("DDATA riser-a-2")
            host.kill()
        _until(lambda: "the primary host has gone off-line" in stage.logged(publishing.GATEWAY), "end in the log")
        time.sleep(5)
        with _Host(stage, 10, "--state") as host:
            seen = host.seen()
    expect(seen["NBIRTH"] == 1 and seen["bd_seqs"][0] > 0, f"bdSeq: {seen}")
    expect(seen["historical"] > 20, f"historical values: {seen}")
    expect_equal(set(seen["devices"]), DEVICES, "devices")


class _Host:
    """A host for a while."""

    def __init__(self, stage, seconds, *options, awaits_broker=False):
        self.stage = stage
        self.awaits_broker = awaits_broker
        self.name = f"sparkplug-host-{time.monotonic_ns()}"
        self.record = stage.directory / f"{self.name}.jsonl"
        self.command = [str(PYTHON), "-B", str(DIRECTORY / "host.py"), str(BROKER_PORT), str(seconds), str(self.record)]
        self.command += [str(option) for option in options]
        self.process = None

    def __enter__(self):
        self.process = self.stage.start_process(self.name, *self.command)
        if not self.awaits_broker:
            self.wait_for("subscribed")
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """The host disappears."""
        self.process.kill()
        self.process.wait()

    def wait_for(self, message, times=1):
        """Waits for the message to have come so often."""
        count = lambda: sum(line.startswith(message) for line in self.stage.logged(self.name).splitlines())
        _until(lambda: count() >= times, f"{message}, {times} times, in:\n{self.stage.logged(self.name)}")

    def seen(self):
        """What it has seen in the end, if no rule was broken."""
        code = self.process.wait(STATE_SECONDS)
        printed = self.stage.logged(self.name)
        expect(code == 0, f"the host ended with {code}:\n{printed[-3000:]}")
        code, compared = output("node", DIRECTORY / "compare.js", self.record)
        expect(code == 0, f"sparkplug-payload: {compared}")
        return {**json.loads(printed.rsplit("seen ", 1)[1]), "compared": int(compared.split()[1])}


def _mosquitto(stage):
    return publishing.mosquitto(stage, f"listener {BROKER_PORT} {HOST}\nallow_anonymous true")


def _gateway(stage, more=""):
    text = CONFIGURATION.format(host=HOST, port=BROKER_PORT, device=publishing.line(stage), more=more)
    return publishing.gateway(stage, text, "at spBv1.0/site/+/harbour/#, 2 devices")


def _until(condition, what):
    publishing.until(condition, what, STATE_SECONDS)


CHECKS = [
    births_and_data,
    rebirths_at_random,
    a_late_host,
    a_lost_meter,
    a_killed_gateway,
    a_broker_that_comes_back,
    a_primary_host,
]
