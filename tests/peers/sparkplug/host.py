"""A host of Sparkplug B, by pysparkplug, that checks each rule which a host can see and prints what it has seen.

    host.py PORT SECONDS RECORD [--rebirths SEED] [--late] [--state]

Ends with 1 and the rules that were broken. What pysparkplug makes of each message is recorded for `compare.js`. It has a virtual environment of its own, because pysparkplug wants an older
paho-mqtt than the other peers. The payload is decoded twice: by pysparkplug, and as the protocol buffer itself, which has
the properties that pysparkplug leaves out.
"""

import argparse
import base64
import json
import random
import sys
import time

import paho.mqtt.client as paho
import pysparkplug
from pysparkplug import _protobuf as protobuf

HOST = "127.0.0.1"
GROUP, NODE, HOST_ID = "site", "harbour", "scada"
STATE_TOPIC = f"spBv1.0/STATE/{HOST_ID}"
REBIRTH = "Node Control/Rebirth"
KINDS = {
    "NBIRTH": pysparkplug.NBirth,
    "DBIRTH": pysparkplug.DBirth,
    "DDATA": pysparkplug.DData,
    "DDEATH": pysparkplug.DDeath,
    "NDEATH": pysparkplug.NDeath,
}
QUALITIES = (0, 192, 500)
BROKER_SECONDS = 30
REQUEST_SECONDS = 2


class Host:
    """What a host knows of one node, and the rules that the node has broken."""

    def __init__(self, port, record, is_late, publishes_state):
        self.record = record
        self.broken = []
        self.counts = dict.fromkeys((*KINDS, "historical", "rebirths"), 0)
        self.node_birth = None
        self.devices = {}
        self.aliases = {}
        self.seq = None
        self.newest = {}
        self.bd_seqs = []
        self.is_waiting_for_births = is_late
        self.has_data_since_births = False
        self.requested_at = None
        self.publishes_state = publishes_state
        self.started = int(time.time() * 1000)
        self.client = paho.Client("peers-host")
        if publishes_state:
            self.client.will_set(STATE_TOPIC, self._state(False), qos=1, retain=True)
        self.client.on_connect = self._subscribe
        self.client.on_subscribe = lambda *_: print("subscribed", flush=True)
        self.client.on_message = lambda _client, _data, message: self._receive(message)
        self._connect(port)

    def rebirth(self):
        """Requests births."""
        metric = pysparkplug.Metric(int(time.time() * 1000), REBIRTH, pysparkplug.DataType.BOOLEAN, value=True)
        command = pysparkplug.NCmd(timestamp=int(time.time() * 1000), metrics=(metric,))
        self.client.publish(f"spBv1.0/{GROUP}/NCMD/{NODE}", command.encode(include_dtypes=True), qos=0)
        self.counts["rebirths"] += 1
        if self.requested_at is None:
            self.requested_at = time.monotonic()

    def _connect(self, port):
        """Connects to a broker that may come a little later."""
        deadline = time.monotonic() + BROKER_SECONDS
        while True:
            try:
                self.client.connect(HOST, port)
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _state(self, online):
        return json.dumps({"online": online, "timestamp": self.started})

    def _subscribe(self, client, *_):
        client.subscribe("spBv1.0/#", qos=1)
        if self.publishes_state:
            client.publish(STATE_TOPIC, self._state(True), qos=1, retain=True)

    def _expect(self, fits, rule):
        if not fits:
            self.broken.append(rule)

    def _receive(self, message):
        _, kind, *rest = message.topic.split("/")
        if kind == "STATE" or rest[0] == "NCMD":
            return
        group, (kind, node, *device) = kind, rest
        self._expect((group, node) == (GROUP, NODE) and kind in KINDS, f"topic {message.topic}")
        self._expect(not message.retain, f"{kind} retained")
        raw = protobuf.Payload.FromString(message.payload)
        self.counts[kind] += 1
        print(kind, *device, raw.seq if raw.HasField("seq") else "-", len(raw.metrics), flush=True)
        if kind != "NDEATH" and not self._follows(kind, raw):
            return
        metrics = {
            "NBIRTH": self._node_birth,
            "DBIRTH": self._device_birth,
            "DDATA": self._data,
            "DDEATH": self._device_death,
            "NDEATH": self._node_death,
        }[kind](message.payload, raw, device[0] if device else None)
        self._record(message, raw, metrics)

    def _record(self, message, raw, metrics):
        """Writes what pysparkplug made of a message, one line each."""
        decoded = {
            "topic": message.topic,
            "payload": base64.b64encode(message.payload).decode(),
            "seq": raw.seq if raw.HasField("seq") else None,
            "timestamp": raw.timestamp,
            "metrics": [
                {
                    "name": metric.name,
                    "alias": metric.alias,
                    "timestamp": metric.timestamp,
                    "datatype": int(metric.datatype),
                    "value": metric.value,
                    "is_historical": metric.is_historical,
                }
                for metric in metrics
            ],
        }
        print(json.dumps(decoded), file=self.record, flush=True)

    def _follows(self, kind, raw):
        """Whether the host knows the births that this belongs to."""
        self._expect(raw.HasField("seq") and raw.HasField("timestamp"), f"{kind} without seq or timestamp")
        if kind == "NBIRTH":
            self._expect(raw.seq == 0, f"NBIRTH with seq {raw.seq}")
        elif self.is_waiting_for_births and self.node_birth is None:
            # A host that came later knows nothing; it may ask.
            return False
        elif self.seq is None:
            self._expect(False, f"{kind} before an NBIRTH")
            return False
        else:
            self._expect(raw.seq == (self.seq + 1) % 256, f"{kind} with seq {raw.seq} after {self.seq}")
        self.seq = raw.seq
        return True

    def _node_birth(self, payload, raw, _):
        self.node_birth = pysparkplug.NBirth.decode(payload)
        self.devices, self.aliases, self.newest = {}, {}, {}
        self.has_data_since_births, self.requested_at = False, None
        metrics = {metric.name: metric for metric in self.node_birth.metrics}
        rebirth, bd_seq = metrics[REBIRTH], metrics["bdSeq"]
        self._expect(rebirth.datatype == pysparkplug.DataType.BOOLEAN and rebirth.value is False, "Rebirth is not false")
        self._expect(rebirth.alias is None, "Rebirth has an alias")
        self._expect(bd_seq.datatype == pysparkplug.DataType.INT64, f"bdSeq of type {bd_seq.datatype}")
        self.bd_seqs.append(bd_seq.value)
        self._values("NBIRTH", None, self.node_birth.metrics, raw)
        return self.node_birth.metrics

    def _device_birth(self, payload, raw, device):
        birth = pysparkplug.DBirth.decode(payload)
        self._expect(device not in self.devices, f"{device} is born a second time")
        self.devices[device] = birth
        for metric in birth.metrics:
            self._expect(metric.alias not in self.aliases, f"alias {metric.alias} a second time")
            self.aliases[metric.alias] = (device, metric.name)
        times = [metric.timestamp for metric in birth.metrics]
        self._expect(times == sorted(times), f"DBIRTH {device} not in the order of time")
        for metric in raw.metrics:
            properties = dict(zip(metric.properties.keys, metric.properties.values))
            quality = properties["Quality"]
            self._expect(quality.type == 3 and quality.int_value in QUALITIES, f"quality {quality}")
            null = metric.is_null and quality.int_value in (0, 500)
            self._expect(null or quality.int_value != 0, f"{metric.name}: a value of bad quality")
        self._values("DBIRTH", device, birth.metrics, raw)
        return birth.metrics

    def _data(self, payload, raw, device):
        if device not in self.devices:
            self._expect(False, f"data of {device}, which was not born")
            return ()
        self.has_data_since_births = True
        # What was under way when the request came is seen after it.
        waited = 0 if self.requested_at is None else time.monotonic() - self.requested_at
        self._expect(waited < REQUEST_SECONDS, f"data {waited:.1f} s after births were requested")
        for metric in raw.metrics:
            self._expect(not metric.HasField("name") and not metric.HasField("datatype"), "data with a name or a type")
            owner, _ = self.aliases.get(metric.alias, (None, None))
            self._expect(owner == device, f"alias {metric.alias} of {device} is that of {owner}")
            self.counts["historical"] += metric.is_historical
        data = pysparkplug.DData.decode(payload, birth=self.devices[device])
        self._values("DDATA", device, data.metrics, raw)
        return data.metrics

    def _device_death(self, payload, raw, device):
        self._expect(self.devices.pop(device, None) is not None, f"{device} dies and was not born")
        self.aliases = {alias: owner for alias, owner in self.aliases.items() if owner[0] != device}
        self._expect(not raw.metrics, "DDEATH with metrics")
        return ()

    def _node_death(self, payload, raw, _):
        death = pysparkplug.NDeath.decode(payload)
        self._expect(not raw.HasField("seq") and len(raw.metrics) == 1, f"NDEATH {raw}")
        if self.node_birth is not None:
            self._expect(death.bd_seq_metric.value == self.bd_seqs[-1], f"NDEATH {death} after births {self.bd_seqs}")
        self.node_birth, self.seq, self.devices = None, None, {}
        return (death.bd_seq_metric,)

    def _values(self, kind, device, metrics, raw):
        """Each value has a time that does not go back, unless it is historical, and is one or is null."""
        for metric, own in zip(metrics, raw.metrics):
            key = (device, metric.name)
            self._expect(metric.timestamp is not None, f"{kind}: {metric.name} without a time")
            self._expect((metric.value is None) == own.is_null, f"{kind}: {metric.name}: {own}")
            if own.is_historical:
                self._expect(metric.timestamp <= self.newest[key], f"{key}: historical and newer than the last")
            else:
                self._expect(metric.timestamp >= self.newest.get(key, 0), f"{key}: older than the last")
                self.newest[key] = metric.timestamp
            if metric.name == "frequency_f" and metric.value is not None:
                self._expect(55 < metric.value < 65, f"frequency {metric.value}")


def main():
    """Watches for a while; 1 if a rule was broken."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("seconds", type=float)
    arguments.add_argument("record", type=argparse.FileType("w"))
    arguments.add_argument("--rebirths", type=int)
    arguments.add_argument("--late", action="store_true")
    arguments.add_argument("--state", action="store_true")
    arguments = arguments.parse_args()
    host = Host(arguments.port, arguments.record, arguments.late, arguments.state)
    chance = random.Random(arguments.rebirths)
    end = time.monotonic() + arguments.seconds
    never = end + 1
    next_rebirth = time.monotonic() + 1 if arguments.late or arguments.rebirths is not None else never
    while time.monotonic() < end:
        host.client.loop(0.05)
        if time.monotonic() >= next_rebirth:
            host.rebirth()
            pause = chance.choice((0.0, 0.01, 0.3, 2.0))
            next_rebirth = never if arguments.rebirths is None else time.monotonic() + pause
    births = {device: len(birth.metrics) for device, birth in host.devices.items()}
    print("seen", json.dumps({**host.counts, "bd_seqs": host.bd_seqs, "devices": births}))
    for rule in host.broken:
        print("broken:", rule)
    return 1 if host.broken else 0


if __name__ == "__main__":
    sys.exit(main())
