"""The built program as a site for the checks: `metergate demo` with a scenario in which a meter dies.

The demo begins with a day behind it; what has only just started is shown by `metergate run` on simulated meters.

It has what the checks of `live` need: its `url`, its `meters`, and how to `let_a_meter_die`, to `stop` and to `go_on`.
A scenario knows only times, so the meter dies by itself, long enough after the start for a check to look at it alive,
and `let_a_meter_die` waits until the gateway has noticed.
"""

import json
import pathlib
import socket
import subprocess
import time
import urllib.request

DEAD = "Panel 3, third floor east"

# How long the meter lives: long enough to open a page and to do something on it, on a machine that is busy.
LIFE = 25
PATIENCE = 90

SCENARIO = """seed: 5
meters:
  - {{id: 1-2}}
  - {{id: 3, name: "{dead}"}}
  - {{id: 4-6}}
  - {{id: 7, name: Workshop, load: {{shape: steady, amps: 120, pf: 0.9}}}}
  - {{id: 8-9}}
  - {{id: 10, name: Pump, system_type: 31}}
faults:
  - {{meter: Workshop, fault: reversed_ct, phase: C}}
"""


CONFIGURATION = """listeners: [{{address: "127.0.0.1:0"}}]
status: {{address: "127.0.0.1:{port}"}}
buses:
  - name: riser
    device: {device}
    units: [{{id: 1-2, profile: leviton-4000r}}]
"""


class Site:
    """Starts the program anew for each state that is asked for, always on the same port."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder)
        self.states = ("before", "after", "healthy")
        self.meters = [(line, "on-line") for line in range(1, 11)]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.meters_process = None
        self.life = None
        self.shown = None

    @property
    def state(self):
        return self.shown

    @state.setter
    def state(self, state):
        """`before`: a fresh start, after which the meter dies; `healthy`: it lives on; `after`: it is dead; `new`: a gateway
        without a past; none: as it is."""
        if state is None or state == self.shown == "healthy":
            return
        self.shown = state
        self.stop()
        self.life = {"before": LIFE, "healthy": None, "new": None, "after": 0}[state]

    def go_on(self):
        if self.process:
            return
        if self.shown == "new":
            self.run_new()
            return
        death = "" if self.life is None else f'  - {{at: {self.life}s, meter: 3, fault: dead}}\n'
        file = self.folder / "scenario.yaml"
        file.write_text(SCENARIO.format(dead=DEAD) + death)
        arguments = ["demo", "--listen", "127.0.0.1:0", "--status", f"127.0.0.1:{self.port}", "--scenario", str(file)]
        said = (self.folder / "said").open("w")
        self.process = subprocess.Popen([self.program, *arguments], stdout=said, stderr=subprocess.STDOUT)
        alive = 10 if self.life != 0 else 9
        self.wait_for(lambda: self.ask("buses")[0]["units"]["online"] == alive and self.findings("low_power_factor", "alert"))

    def run_new(self):
        device = self.folder / "line"
        self.meters_process = subprocess.Popen(
            [self.program, "simulate", "--link", str(device), "--units", "1-2"], stdout=subprocess.DEVNULL
        )
        self.wait_for(device.exists)
        file = self.folder / "new.yaml"
        file.write_text(CONFIGURATION.format(port=self.port, device=device))
        said = (self.folder / "said").open("w")
        self.process = subprocess.Popen(
            [self.program, "run", "--config", str(file)], stdout=said, stderr=subprocess.STDOUT
        )
        self.wait_for(lambda: self.ask("buses")[0]["units"]["online"] == 2)

    def let_a_meter_die(self):
        """Waits for it; where nothing runs, it will be dead from the next start on."""
        if self.process is None:
            self.life = 0
            return
        self.wait_for(lambda: self.ask("units/3")["state"] == "offline")

    def stop(self):
        """From now on nobody answers."""
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE)
            self.process = None
        if self.meters_process:
            self.meters_process.terminate()
            self.meters_process.wait(timeout=PATIENCE)
            self.meters_process = None

    def close(self):
        self.stop()

    def findings(self, *kinds):
        return [finding for finding in self.ask("findings") if finding["kind"] in kinds]

    def ask(self, path):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_for(self, condition):
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError((self.folder / "said").read_text()) from None
            if time.monotonic() > until:
                raise RuntimeError("the program did not get there: " + (self.folder / "said").read_text())
            time.sleep(0.1)
