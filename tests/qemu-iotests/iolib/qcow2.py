# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A decoder of what the tests look at in a qcow2 file without asking the
program under test: header, extensions, bitmap directory and the bitmaps
themselves.  Offsets and bits are those of the qcow2 specification."""

import struct

from .expect import equal

__all__ = ['Qcow2', 'BITMAP_IN_USE', 'BITMAP_AUTO']

BITMAP_IN_USE, BITMAP_AUTO = 1, 2
EXT_BITMAPS = 0x23852875
INCOMPATIBLE_DIRTY, INCOMPATIBLE_CORRUPT = 1, 2
AUTOCLEAR_BITMAPS = 1


class Qcow2:
    """A look into an image file."""

    def __init__(self, image):
        self.image = image
        with open(image, 'rb') as f:
            self.file = f
            self._header()
            self._bitmaps()
        self.file = None

    def _at(self, off, length):
        self.file.seek(off)
        return self.file.read(length)

    def _header(self):
        raw = self._at(0, 104)
        (magic, self.version, self.backing_off, self.backing_len,
         self.cluster_bits, self.size, self.crypt, self.l1_size, self.l1_off,
         self.reftable_off, self.reftable_clusters, self.nb_snapshots,
         self.snapshots_off) = struct.unpack('>4sIQIIQIIQQIIQ', raw[:72])
        equal(magic, b'QFI\xfb', 'magic')
        self.cluster = 1 << self.cluster_bits
        self.incompatible = self.compatible = self.autoclear = 0
        self.refcount_bits, self.header_len = 16, 72
        if self.version >= 3:
            (self.incompatible, self.compatible, self.autoclear, order,
             self.header_len) = struct.unpack('>QQQII', raw[72:104])
            self.refcount_bits = 1 << order
        self.backing = self._at(self.backing_off, self.backing_len).decode() \
            if self.backing_off else None
        self.extensions = {}
        at = self.header_len
        while True:
            kind, length = struct.unpack('>II', self._at(at, 8))
            if not kind:
                break
            self.extensions[kind] = self._at(at + 8, length)
            at += 8 + (length + 7) // 8 * 8

    def _bitmaps(self):
        """{name: dict} in the order of the directory."""
        self.bitmaps = {}
        if EXT_BITMAPS not in self.extensions:
            return
        count, _, size, off = struct.unpack('>IIQQ',
                                            self.extensions[EXT_BITMAPS])
        raw, at = self._at(off, size), 0
        for _ in range(count):
            table, entries, flags, kind, bits, name_len, extra = \
                struct.unpack('>QIIBBHI', raw[at:at + 24])
            start = at + 24 + extra
            name = raw[start:start + name_len].decode()
            self.bitmaps[name] = {'table': table, 'entries': entries,
                                  'flags': flags, 'type': kind,
                                  'granularity': 1 << bits}
            at += (24 + extra + name_len + 7) // 8 * 8
        equal(at, size, 'length of the bitmap directory')
        for b in self.bitmaps.values():
            b['table-entries'] = struct.unpack(
                f'>{b["entries"]}Q', self._at(b['table'], 8 * b['entries']))
            b['dirty'] = self._ranges(b)

    def _ranges(self, b):
        """[(offset, length)] of set bits, cut at the virtual size."""
        granularity, ranges = b['granularity'], []
        per_cluster = self.cluster * 8 * granularity

        def add(off, length):
            length = min(length, self.size - off)
            if length <= 0:
                return
            if ranges and sum(ranges[-1]) == off:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
            else:
                ranges.append((off, length))

        for i, entry in enumerate(b['table-entries']):
            base, host = i * per_cluster, entry & 0x00fffffffffffe00
            if not host:
                if entry & 1:
                    add(base, per_cluster)
                continue
            for j, byte in enumerate(self._at(host, self.cluster)):
                for bit in range(8) if byte else ():
                    if byte >> bit & 1:
                        add(base + (8 * j + bit) * granularity, granularity)
        return ranges

    def in_use(self, name):
        return bool(self.bitmaps[name]['flags'] & BITMAP_IN_USE)
