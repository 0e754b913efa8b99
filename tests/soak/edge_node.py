"""What a host of Sparkplug B sees of the gateway, and whether it is what the standard allows.

Decodes as much of the protocol buffer as is needed, because the soak needs nothing that has to be installed; whether the
encoding is right in all its parts is for the peers to say.
"""

import re
import struct

TOPIC = re.compile(r"spBv1\.0/soak/(NBIRTH|NDEATH|DBIRTH|DDEATH|DDATA)/node(?:/(one-\d+))?")
NCMD = "spBv1.0/soak/NCMD/node"
REBIRTH = "Node Control/Rebirth"
# Field numbers of Payload and Metric.
METRICS, SEQ = 2, 3
NAME, ALIAS, TIMESTAMP, IS_HISTORICAL, IS_NULL = 1, 2, 3, 5, 7
INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING = 10, 11, 12, 13, 14, 15
VALUES = (INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class EdgeNode:
    """One connection of a node, as its messages describe it. Each of them is a ValueError if it breaks a rule."""

    def __init__(self):
        self.bd_seq = None
        self.seq = None
        self.devices = {}
        self.newest = {}
        self.is_over = False

    def connect(self, will):
        """The content of the will, which is an NDEATH."""
        fields = decode(will)
        check(SEQ not in fields, "a will with a seq")
        self.bd_seq = bd_seq(fields)

    def judge(self, topic, payload, is_retained, qos):
        """A message; how many values it has that were read of meters."""
        match = TOPIC.fullmatch(topic)
        check(match, f"a message at {topic}")
        kind, device = match.groups()
        check((kind[0] == "D") == (device is not None), f"a message at {topic}")
        check(not is_retained and qos == (1 if kind == "NDEATH" else 0), f"{kind} retained, or with QoS {qos}")
        check(not self.is_over, f"{kind} after the NDEATH")
        fields = decode(payload)
        if kind == "NDEATH":
            check(bd_seq(fields) == self.bd_seq, "an NDEATH with another bdSeq than the will")
            self.is_over = True
            return 0
        seq = fields[SEQ][0]
        check(seq == 0 if kind == "NBIRTH" else self.seq is not None, f"{kind} with seq {seq} at first")
        check(kind == "NBIRTH" or seq == (self.seq + 1) % 256, f"{kind} with seq {seq} after {self.seq}")
        self.seq = seq
        metrics = [decode(metric) for metric in fields.get(METRICS, [])]
        return {"NBIRTH": self.node_birth, "DBIRTH": self.birth, "DDATA": self.data, "DDEATH": self.death}[kind](
            device, metrics, fields
        )

    def node_birth(self, _, _metrics, fields):
        check(bd_seq(fields) == self.bd_seq, "an NBIRTH with another bdSeq than the will")
        self.devices, self.newest = {}, {}
        return 0

    def birth(self, device, metrics, _):
        check(device not in self.devices, f"{device} is born a second time")
        self.devices[device] = {metric[ALIAS][0] for metric in metrics}
        check(len(self.devices[device]) == len(metrics) > 10, f"a DBIRTH of {device} with {len(metrics)} metrics")
        check(all(NAME in metric for metric in metrics), "a birth without a name")
        return self.values(device, metrics)

    def data(self, device, metrics, _):
        check(device in self.devices, f"data of {device}, which was not born")
        check(metrics, f"data of {device} without a metric")
        check({metric[ALIAS][0] for metric in metrics} <= self.devices[device], f"an alias of another than {device}")
        return self.values(device, metrics)

    def death(self, device, metrics, _):
        check(self.devices.pop(device, None) is not None and not metrics, f"a DDEATH of {device}, which was not born")
        return 0

    def values(self, device, metrics):
        """Each is one or is null, and is not older than the last of its metric unless it says so."""
        for metric in metrics:
            has_value = any(kind in metric for kind in VALUES)
            check(has_value != bool(metric.get(IS_NULL, [0])[0]), f"a value of {device}: {metric}")
            key, time = (device, metric[ALIAS][0]), metric[TIMESTAMP][0]
            if not metric.get(IS_HISTORICAL, [0])[0]:
                check(time >= self.newest.get(key, 0), f"{time} after {self.newest.get(key)} of {key}")
                self.newest[key] = time
        return len(metrics)


def check(holds, rule):
    if not holds:
        raise ValueError(f"as an edge node: {rule}")


def bd_seq(fields):
    metrics = [decode(metric) for metric in fields[METRICS]]
    return next(metric[LONG][0] for metric in metrics if metric[NAME] == [b"bdSeq"])


def rebirth():
    """The payload of the command to send every birth again."""
    metric = bytes([NAME << 3 | BYTES, len(REBIRTH)]) + REBIRTH.encode() + bytes([BOOLEAN << 3 | VARINT, 1])
    return bytes([METRICS << 3 | BYTES, len(metric)]) + metric


def decode(message):
    """The fields of a message, each with all its contents in their order."""
    fields, place = {}, 0
    while place < len(message):
        key, place = varint(message, place)
        kind = key & 7
        if kind == VARINT:
            content, place = varint(message, place)
        elif kind == BYTES:
            length, place = varint(message, place)
            content, place = message[place : place + length], place + length
        elif kind in (FIXED32, FIXED64):
            layout = "<f" if kind == FIXED32 else "<d"
            content, place = struct.unpack_from(layout, message, place)[0], place + struct.calcsize(layout)
        else:
            raise ValueError(f"as an edge node: a field of type {kind}")
        fields.setdefault(key >> 3, []).append(content)
    check(place == len(message), "a message that is cut")
    return fields


def varint(message, place):
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
