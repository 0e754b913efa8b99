"""The peers of one group, one after another, against a program: `main.py PROGRAM GROUP`. Started by `run`, which asks
for the groups by `main.py --groups`."""

import sys
import time

import by_capture
import by_demo
import by_export
import by_mbpoll
import by_modbus_tcp_servers
import by_metrics
import by_mosquitto
import by_nmap
import by_pymodbus
import by_read
import by_serial_client
import by_serial_servers
import by_sockets
import by_sparkplug
import by_tls
import by_tls_hostile
import by_tshark
import programs
from report import Report
from stage import bare, raised

# The capture is dissected last: it holds what all the others sent.
MODBUS = [
    ("the program", programs.BEFORE),
    ("mbpoll", by_mbpoll.CHECKS),
    ("pymodbus", by_pymodbus.CHECKS),
    ("metergate read and pymodbus", by_read.CHECKS),
    ("metergate export and pymodbus", by_export.CHECKS),
    ("raw sockets", by_sockets.CHECKS),
    ("nmap modbus-discover", by_nmap.CHECKS),
    ("mbpoll, a serial client", by_serial_client.CHECKS),
    ("socat and ser2net, serial servers", by_serial_servers.CHECKS),
    ("pymodbus, libmodbus and a gateway, Modbus TCP servers", by_modbus_tcp_servers.CHECKS),
    ("openssl, sslyze, tshark, pymodbus and stunnel over TLS", by_tls.CHECKS),
    ("hostile TLS clients", by_tls_hostile.CHECKS),
    ("the program again", programs.AFTER),
    ("tshark", by_tshark.CHECKS),
    ("prometheus_client", by_metrics.CHECKS),
    ("tshark on a file of our own", by_capture.CHECKS),
]
# Most of their time they wait, each group in a network of its own.
GROUPS = {
    "modbus": (raised, MODBUS),
    "mqtt": (bare, [("mosquitto, mosquitto_sub and paho-mqtt", by_mosquitto.CHECKS)]),
    "sparkplug": (bare, [("mosquitto and a Sparkplug host by pysparkplug", by_sparkplug.CHECKS)]),
    "capture": (bare, [("tshark on what capture writes", by_demo.CHECKS)]),
}


def main():
    """Runs every check; 0 if all passed."""
    if sys.argv[1:] == ["--groups"]:
        print(*GROUPS)
        return 0
    program, group = sys.argv[1:]
    report = Report()
    started = time.monotonic()
    try:
        prepared, peers = GROUPS[group]
        with prepared(program) as stage:
            for name, checks in peers:
                print(f"\n== {name}")
                report.run(checks, stage)
            if report.failed and stage.gateway:
                print(f"\n== what the gateway logged, its end\n{stage.logged('run')[-4000:]}")
    except (OSError, RuntimeError) as error:
        report.failed += 1
        print(f"FAIL the stage cannot be set up or taken down\n       {error}")
    print(f"\npeer tests, {group}: {time.monotonic() - started:.0f} s")
    print(report.totals())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
