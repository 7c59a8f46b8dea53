# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The log of blklogwrites, which is dm-log-writes'."""

import os
import struct

from .expect import equal

__all__ = ['write_log', 'LOG_FLUSH', 'LOG_FUA', 'LOG_DISCARD']

LOG_FLUSH, LOG_FUA, LOG_DISCARD = 1, 2, 4


def write_log(log):
    """Yields (offset, length, flags, what was written)."""
    if not os.path.getsize(log):
        return
    with open(log, 'rb') as f:
        data = f.read()
    magic, version, count, sector = struct.unpack('<QQQI', data[:28])
    equal((magic, version), (0x6a736677736872, 1), 'super block')
    at = sector
    for _ in range(count):
        first, n, flags, _ = struct.unpack('<QQQQ', data[at:at + 32])
        at += sector
        body = b'' if flags & LOG_DISCARD else data[at:at + n * sector]
        yield first * sector, n * sector, flags, body
        at += len(body)
