# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What bitmaps have to hold: a shadow set of granules for each, as the bits of an
integer, and the rules of the commands.

A command is an action (type, data).  `Disks.apply` carries it out or raises
Refused with what the error has to say.  Transactions are tried on a copy."""

import copy
import hashlib
import re

P = 'block-dirty-bitmap-'


class Refused(Exception):
    """The command has to fail with this text (a regular expression)."""


def span(off, length, shift):
    """The bits that these bytes touch."""
    if length <= 0:
        return 0
    first, last = off >> shift, (off + length - 1) >> shift
    return ((1 << (last - first + 1)) - 1) << first


def runs(bits):
    """[(first, number)] of set bits."""
    return [(m.start(), m.end() - m.start())
            for m in re.finditer('1+', bin(bits)[:1:-1])]


class Bitmap:
    """One bitmap as it should be."""

    def __init__(self, name, shift, recording, persistent):
        self.name, self.shift = name, shift
        self.recording, self.persistent = recording, persistent
        self.bits, self.cut_end = 0, 0
        self.inconsistent = self.removed = self.readonly = False
        self.stored_recording, self.stored_shift = recording, shift

    def scaled(self, shift, size):
        """Its bits below `size` for another granularity."""
        bits, known = 0, self.bits & ((1 << Disk.nbits(size, self.shift)) - 1)
        if shift == self.shift:
            return known
        for first, n in runs(known):
            bits |= span(first << self.shift, n << self.shift, shift)
        return bits

    def ranges(self, size):
        """[(offset, length)] of what is dirty, cut at the end of the disk."""
        return [(first << self.shift,
                 min((first + n) << self.shift, size) - (first << self.shift))
                for first, n in runs(self.bits)]

    def sha256(self, size):
        words = max(-(-Disk.nbits(size, self.shift) // 64), 1)
        return hashlib.sha256(self.bits.to_bytes(words * 8, 'little')) \
            .hexdigest()


class Disk:
    """A disk with its bitmaps.  `stored`: names that the image has on disk."""

    def __init__(self, name, size, cluster, marks_cut):
        self.name, self.size, self.cluster = name, size, cluster
        self.marks_cut = marks_cut
        self.bitmaps, self.stored = {}, set()
        self.ro = self.leaky = False

    @staticmethod
    def nbits(size, shift):
        return -(-size >> shift)

    def all_bits(self, shift):
        return (1 << self.nbits(self.size, shift)) - 1

    def write(self, off, length):
        for b in self.bitmaps.values():
            if b.recording and not b.inconsistent:
                b.bits |= span(off, length, b.shift)

    def resize(self, size):
        for b in self.bitmaps.values():
            if b.persistent and b.inconsistent:
                raise Refused("Bitmap '.*' is inconsistent and cannot be used")
        for b in self.bitmaps.values():
            self._resize_bitmap(b, size)
        self.size = size

    def _resize_bitmap(self, b, size):
        b.bits &= (1 << self.nbits(size, b.shift)) - 1
        if size < self.size:
            b.cut_end = max(b.cut_end, self.size)
            return
        if self.marks_cut:
            b.bits |= span(self.size, min(size, b.cut_end) - self.size,
                           b.shift)
        if size >= b.cut_end:
            b.cut_end = 0

    # -- the life of the image

    def store(self):
        """The image is closed, or becomes read-only."""
        if self.ro:
            return
        self.stored = {b.name for b in self.bitmaps.values() if b.persistent}
        for b in self.bitmaps.values():
            b.stored_recording, b.stored_shift = b.recording, b.shift

    def reopen(self):
        self.store()
        self.ro = not self.ro
        for b in self.bitmaps.values():
            b.readonly = self.ro and b.persistent

    def close(self):
        self.store()
        self._lose(lambda b: b.name not in self.stored)

    def crash(self):
        """What the next one to open finds; some clusters may be leaked."""
        self.leaky |= not self.ro
        self._lose(lambda b: b.name not in self.stored)
        for b in self.bitmaps.values():
            if not self.ro:
                b.inconsistent, b.recording, b.bits = True, False, 0
                b.shift = b.stored_shift

    def _lose(self, lost):
        self.bitmaps = {n: b for n, b in self.bitmaps.items() if not lost(b)}
        for b in self.bitmaps.values():
            b.recording = b.stored_recording and not b.inconsistent

    def open(self, ro):
        """All bitmaps share what the image remembers of its former size."""
        self.ro = ro
        cut = max((b.cut_end for b in self.bitmaps.values()
                   if not b.inconsistent), default=0)
        for b in self.bitmaps.values():
            b.cut_end, b.readonly = cut, ro

    def find(self, name):
        if name not in self.bitmaps:
            raise Refused(f"Dirty bitmap '{name}' not found")
        return self.bitmaps[name]

    def usable(self, name, changes=True, removes=False):
        b = self.find(name)
        if b.removed:
            raise Refused(f"Bitmap '{name}' is currently in use by another "
                          'operation and cannot be used')
        if b.readonly and changes:
            raise Refused(f"Bitmap '{name}' is readonly and cannot be "
                          'modified')
        if b.inconsistent and not removes:
            raise Refused(f"Bitmap '{name}' is inconsistent and cannot be "
                          'used')
        return b


class Disks:
    """All disks; what the commands do to them."""

    def __init__(self, disks):
        self.disks = {d.name: d for d in disks}

    def apply(self, kind, data):
        getattr(self, kind.replace(P, 'do_'))(data)

    def run(self, actions):
        """All or nothing."""
        tried = copy.deepcopy(self)
        try:
            for kind, data in actions:
                tried.apply(kind, data)
        except Refused:
            self._keep_cuts(tried)
            raise
        for name, d in tried.disks.items():
            gone = {n for n, b in d.bitmaps.items() if b.removed}
            self.disks[name].stored -= gone | {
                n for n, b in d.bitmaps.items() if not b.persistent}
            self.disks[name].bitmaps = {
                n: b for n, b in d.bitmaps.items() if n not in gone}

    def _keep_cuts(self, tried):
        """What a merge has told of former sizes is not taken back."""
        for name, d in self.disks.items():
            for n, b in d.bitmaps.items():
                b.cut_end = max(b.cut_end, tried.disks[name].bitmaps[n]
                                .cut_end)

    def do_add(self, data):
        d, name = self.disks[data['node']], data['name']
        granularity = data.get('granularity',
                               min(max(d.cluster, 4096), 65536))
        if not name:
            raise Refused('Bitmap name cannot be empty')
        if granularity < 512 or granularity & (granularity - 1):
            raise Refused('Granularity must be power of 2 and at least 512')
        new = Bitmap(name, granularity.bit_length() - 1,
                     not data.get('disabled', False),
                     data.get('persistent', False))
        if name in d.bitmaps:
            self._add_existing(d, new, data)
        else:
            d.bitmaps[name] = new

    @staticmethod
    def _add_existing(d, new, data):
        old, how = d.bitmaps[new.name], data.get('if-exists', 'fail')
        if how == 'fail':
            raise Refused(f'Bitmap already exists: {new.name}')
        if how == 'keep':
            if old.inconsistent or old.recording != new.recording or \
                    (new.persistent and not old.persistent) or \
                    ('granularity' in data and old.shift != new.shift):
                raise Refused(f"Bitmap '{new.name}' exists ")
            return
        d.usable(new.name, removes=True)
        new.stored_shift = old.stored_shift
        d.bitmaps[new.name] = new

    def do_remove(self, data):
        d = self.disks[data['node']]
        d.usable(data['name'], removes=True).removed = True

    def do_clear(self, data):
        self.disks[data['node']].usable(data['name']).bits = 0

    def do_enable(self, data):
        self.disks[data['node']].usable(
            data['name'], changes=False).recording = True

    def do_disable(self, data):
        self.disks[data['node']].usable(
            data['name'], changes=False).recording = False

    def do_merge(self, data):
        d, bits = self.disks[data['node']], 0
        target, end = d.find(data['target']), 0
        for source in data['bitmaps']:
            node, name = (data['node'], source) if isinstance(source, str) \
                else (source['node'], source['name'])
            b = self.disks[node].usable(name, changes=False)
            bits |= b.scaled(target.shift, d.size)
            # Nobody has seen what lies past the end of a shorter one.
            size = self.disks[node].size
            end = max(end, size, b.cut_end)
            bits |= span(size, d.size - size, target.shift)
        d.usable(data['target']).bits |= bits & d.all_bits(target.shift)
        if end > d.size:        # what a source has lost, or has beyond
            target.cut_end = max(target.cut_end, end)

    def abort(self, data):
        raise Refused('Transaction aborted using Abort action')
