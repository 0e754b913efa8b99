"""prometheus_client, Prometheus' own library for Python, on the metrics of a demo: both text formats over one connection."""

import http.client
import time

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus
from report import expect, expect_equal
from stage import DEMO_PORT, HOST, end, listens

STATUS_PORT = 18503
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
# One of each kind: of the process, a state, a histogram, a reading that counts, a reading.
WANTED = {
    "process_cpu_seconds_total",
    "metergate_unit_up",
    "metergate_bus_wait_seconds_bucket",
    "metergate_meter_real_energy_watthours_total",
    "metergate_meter_real_power_watts",
}


def both_formats(stage):
    """prometheus_client reads /metrics as OpenMetrics and as Prometheus' text, the same series, over one connection"""
    demo = stage.start_process(
        "metrics", stage.program, "demo", "--listen", f"{HOST}:{DEMO_PORT}", "--status", f"{HOST}:{STATUS_PORT}"
    )
    try:
        stage.wait_for("demo listener", lambda: listens(STATUS_PORT), "metrics", demo)
        connection = http.client.HTTPConnection(HOST, STATUS_PORT, timeout=10)
        until = time.monotonic() + 30
        kind, old = _read(connection, "text/plain")
        while not WANTED <= _series(prometheus, old) and time.monotonic() < until:
            kind, old = _read(connection, "text/plain")
        socket = connection.sock
        expect_equal(kind, "text/plain; version=0.0.4; charset=utf-8", "content type")
        kind, new = _read(connection, ACCEPT)
        expect_equal(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "content type")
        expect(socket is not None and connection.sock is socket, "each request took a connection of its own")
        expect(WANTED <= _series(openmetrics, new), f"missing: {WANTED - _series(openmetrics, new)}")
        expect_equal(_series(prometheus, old) - _series(openmetrics, new), set(), "series only the older format has")
    finally:
        end(demo)


def _read(connection, accept):
    connection.request("GET", "/metrics", headers={"Accept": accept})
    response = connection.getresponse()
    return response.getheader("Content-Type"), response.read().decode()


def _series(parser, text):
    return {sample.name for family in parser.text_string_to_metric_families(text) for sample in family.samples}


CHECKS = [both_formats]
