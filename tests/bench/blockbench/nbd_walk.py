# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A small NBD client that asks for block status and does little else.

nbdinfo spends most of its time on its own output, so the time that the server
needs for a walk is taken here: only the span from sending a request to having
the whole reply is counted.
"""

import socket
import struct
import time
from array import array

from .procs import BenchError


def _receive(sock, count):
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            raise BenchError("NBD server closed the connection")
        view = view[got:]
    return bytes(data)


def _option(sock, number, data):
    sock.sendall(struct.pack(">QII", 0x49484156454F5054, number, len(data))
                 + data)
    replies = []
    while True:
        magic, option, kind, length = struct.unpack(
            ">QIII", _receive(sock, 20))
        payload = _receive(sock, length)
        if kind & 0x80000000:
            raise BenchError(f"NBD option {number}: error {kind:#x} "
                             + payload.decode(errors="replace"))
        if kind == 1:
            return replies
        replies.append((kind, payload))


def walk(path, export, context, request=0xFFFF0000):
    """Ask for the block status of a whole export; return the figures."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.settimeout(120)
    _receive(sock, 18)
    sock.sendall(struct.pack(">I", 3))
    name = export.encode()
    _option(sock, 8, b"")
    query = context.encode()
    meta = _option(sock, 10, struct.pack(">I", len(name)) + name
                   + struct.pack(">II", 1, len(query)) + query)
    if not any(kind == 4 for kind, _ in meta):
        raise BenchError(f"no context {context}")
    size = None
    for kind, payload in _option(sock, 7, struct.pack(">I", len(name)) + name
                                 + struct.pack(">H", 0)):
        if kind == 3 and payload[:2] == b"\0\0":
            size = struct.unpack(">Q", payload[2:10])[0]
    offset = extents = flagged = wire = requests = 0
    last = None
    busy = 0.0
    while offset < size:
        length = min(request, size - offset)
        chunks = []
        start = time.perf_counter()
        sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 7, requests,
                                 offset, length))
        while True:
            magic, flags, kind, handle, payload_length = struct.unpack(
                ">IHHQI", _receive(sock, 20))
            payload = _receive(sock, payload_length)
            if kind == 5:
                chunks.append(payload[4:])
            elif kind & 0x8000:
                raise BenchError("NBD block status failed")
            if flags & 1:
                break
        busy += time.perf_counter() - start
        requests += 1
        covered = 0
        for payload in chunks:
            wire += len(payload) + 24
            pairs = array("I", payload)
            pairs.byteswap()
            lengths, states = pairs[0::2], pairs[1::2]
            covered += sum(lengths)
            flagged += sum(n for n, s in zip(lengths, states) if s & 1)
            extents += len(lengths) - (1 if last == states[0] else 0)
            last = states[-1]
        if not covered:
            raise BenchError("NBD block status made no progress")
        offset += covered
    sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, requests, 0, 0))
    sock.close()
    return {"wall_s": busy, "requests": requests, "extents": extents,
            "flagged_bytes": flagged, "wire_bytes": wire}
