#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Damage qcow2 images in many ways, and compare our qemu-img check with the
distribution's.

    compare-check.py --img tools/qemu-img [--peer qemu-img] [--seeds A,B-C]

For each seed an image of one of the kinds below is copied and damaged at one
to three places of its metadata.  Both programs must find the same: exit code,
JSON report, messages.  After -r leaks and -r all they must report the same,
each program must find the other's repair as good as its own, and the guest
must read the same bytes.  Speaks TAP.
"""

import argparse
import difflib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

IMAGE_END = 'image-end-offset'
TIMEOUT = 60     # a table of 65536 snapshots takes QEMU half of it


def run(*args, ok=True):
    """(exit code, stdout, stderr); a hang is a code of its own."""
    try:
        p = subprocess.run(args, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return 'timeout', '', ''
    if ok and p.returncode:
        sys.exit(f'{args}: {p.returncode}\n{p.stderr.decode()}')
    return p.returncode, p.stdout.decode(), p.stderr.decode('utf-8', 'replace')


# ---- the images that are going to be damaged ----

def qio(image, *commands, fmt='qcow2'):
    args = ['qemu-io', '-f', fmt]
    for c in commands:
        args += ['-c', c]
    run(*args, image)


class Kinds:
    """Sound images, made by the distribution's programs."""

    def __init__(self, where, peer):
        self.where, self.peer = where, peer
        self.names = [k[5:] for k in dir(self) if k.startswith('make_')]
        for name in self.names:
            getattr(self, 'make_' + name)(self.path(name))
            run(peer, 'check', self.path(name))

    def path(self, name):
        return os.path.join(self.where, name + '.qcow2')

    def create(self, image, size, options='', *more):
        args = [self.peer, 'create', '-q', '-f', 'qcow2']
        if options:
            args += ['-o', options]
        run(*args, *more, image, size)

    def make_plain(self, image):
        self.create(image, '8M')
        qio(image, 'write -P 1 0 1M', 'write -P 2 3M 512k', 'write -z 4M 128k',
            'write -P 3 6M 64k', 'discard 64k 64k')

    def make_old(self, image):
        self.create(image, '4M', 'compat=0.10,cluster_size=4k')
        qio(image, 'write -P 1 0 256k', 'write -P 2 3M 128k',
            'discard 8k 8k')
        run(self.peer, 'snapshot', '-c', 's', image)
        qio(image, 'write -P 4 16k 32k')

    def make_small_clusters(self, image):
        self.create(image, '300k', 'cluster_size=512')
        qio(image, 'write -P 1 0 100k', 'write -P 2 200k 50k',
            'write -z 30k 10k', 'write -P 5 64 100')

    def make_subclusters(self, image):
        self.create(image, '2M', 'extended_l2=on,cluster_size=16k')
        qio(image, 'write -P 1 0 200k', 'write -P 2 600k 1k',
            'write -z 20k 3k', 'write -z 32k 16k', 'discard 64k 16k')

    def make_compressed(self, image):
        self.create(image, '4M')
        qio(image, 'write -c -P 1 0 64k', 'write -c -P 2 64k 64k',
            'write -P 3 128k 128k', 'write -c -P 4 1M 64k',
            'write -c -P 5 2M 64k')

    def make_snapshots(self, image):
        self.create(image, '4M', 'cluster_size=4k')
        qio(image, 'write -P 1 0 256k', 'write -P 2 3M 16k')
        run(self.peer, 'snapshot', '-c', 'one', image)
        qio(image, 'write -P 3 8k 64k', 'write -P 3 2500k 8k')
        run(self.peer, 'snapshot', '-c', 'two', image)
        qio(image, 'write -P 4 12k 32k', 'write -z 100k 8k')

    def make_bitmaps(self, image):
        self.create(image, '8M', 'cluster_size=4k')
        for name, granularity in ('a', 65536), ('b', 512), ('c', 4096):
            run(self.peer, 'bitmap', '--add', '-g', str(granularity), image,
                name)
        qio(image, 'write -P 1 0 256k', 'write -P 2 3M 16k',
            'write -P 2 7M 16k')

    def make_narrow(self, image):
        self.create(image, '1M', 'refcount_bits=1,cluster_size=1k')
        qio(image, 'write -P 1 0 300k', 'write -P 2 600k 16k')

    def make_two_bits(self, image):
        self.create(image, '1M', 'refcount_bits=2,cluster_size=1k')
        qio(image, 'write -P 1 0 60k', 'write -P 2 600k 16k')
        run(self.peer, 'snapshot', '-c', 'one', image)
        run(self.peer, 'snapshot', '-c', 'two', image)

    def make_wide(self, image):
        self.create(image, '1M', 'refcount_bits=64,cluster_size=2k')
        qio(image, 'write -P 1 0 300k', 'write -P 2 600k 16k')

    def make_data_file(self, image):
        self.create(image, '2M', 'data_file=' + image + '.raw')
        qio(image, 'write -P 1 0 300k', 'write -P 2 1M 16k',
            'write -z 64k 64k')


# ---- where its metadata are ----

class Layout:
    """Places of the file that hold something: 64-bit entries of tables,
    refcounts, other bytes."""

    def __init__(self, data):
        self.data = data
        (self.version, self.backing, _, self.bits, self.size, _, self.l1_size,
         self.l1, self.reftable, self.reftable_clusters, self.nb_snapshots,
         self.snapshots) = struct.unpack('>IQIIQIIQQIIQ', data[4:72])
        self.cluster = 1 << self.bits
        self.order, self.header = 4, 72
        self.incompatible = 0
        if self.version > 2:
            self.incompatible, = struct.unpack('>Q', data[72:80])
            self.order, self.header = struct.unpack('>II', data[96:104])
        self.step = 16 if self.incompatible & 16 else 8
        self.places = {'header': [], 'reftable': [], 'refcount': [], 'l1': [],
                       'l2': [], 'snapshot': [], 'bitmap': []}
        self.header_places()
        self.refcounts()
        self.tables(self.l1, self.l1_size)
        self.snapshot_table()
        self.bitmaps()
        self.places = {k: v for k, v in self.places.items() if v}

    def entry(self, at):
        return struct.unpack('>Q', self.data[at:at + 8])[0]

    def add(self, kind, at, length):
        self.places[kind].append((at, length))

    def header_places(self):
        for at, length in (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8):
            self.add('header', at, length)
        if self.version > 2:
            self.add('header', 72, 8)

    def refcounts(self):
        n = len(self.data) // self.cluster
        per_block = self.cluster * 8 >> self.order
        for i in range(n // per_block + 1):
            at = self.reftable + 8 * i
            self.add('reftable', at, 8)
            block = self.entry(at) & ~511
            for k in range(min(per_block, n - i * per_block + 4)):
                if block:
                    self.add('refcount', block + (k << self.order >> 3),
                             max(1 << self.order >> 3, 1))

    def tables(self, l1, size):
        for i in range(min(size, 64)):
            self.add('l1', l1 + 8 * i, 8)
            l2 = self.entry(l1 + 8 * i) & 0xfffffffffffe00
            for at in range(l2, l2 + self.cluster if l2 else 0, self.step):
                if self.entry(at) or at < l2 + 64:
                    self.add('l2', at, 8)
                    if self.step == 16:
                        self.add('l2', at + 8, 8)

    def snapshot_table(self):
        at = self.snapshots
        for _ in range(self.nb_snapshots):
            l1, size, id_len, name_len = struct.unpack(
                '>QIHH', self.data[at:at + 16])
            extra, = struct.unpack('>I', self.data[at + 36:at + 40])
            for off, length in (0, 8), (8, 4), (12, 2), (14, 2), (32, 4), \
                    (36, 4), (48, 8):
                self.add('snapshot', at + off, length)
            self.tables(l1, size)
            at += (40 + extra + id_len + name_len + 7) // 8 * 8

    def bitmaps(self):
        at = self.header
        while self.version > 2:
            kind, length = struct.unpack('>II', self.data[at:at + 8])
            if not kind:
                return
            if kind == 0x23852875:
                self.bitmap_directory(at + 8)
            at += 8 + (length + 7) // 8 * 8

    def bitmap_directory(self, ext):
        nb, _, size, at = struct.unpack('>IIQQ', self.data[ext:ext + 24])
        for off, length in (0, 4), (4, 4), (8, 8), (16, 8):
            self.add('bitmap', ext + off, length)
        for _ in range(nb):
            table, entries, _, _, _, name_len, extra = struct.unpack(
                '>QIIBBHI', self.data[at:at + 24])
            for off, length in (0, 8), (8, 4), (12, 4), (16, 1), (17, 1), \
                    (18, 2), (20, 4):
                self.add('bitmap', at + off, length)
            for i in range(min(entries, 16)):
                self.add('bitmap', table + 8 * i, 8)
            at += (24 + extra + name_len + 7) // 8 * 8


# ---- damage ----

def damage_place(rnd, layout, data):
    kind = rnd.choice(list(layout.places))
    at, length = rnd.choice(layout.places[kind])
    old = int.from_bytes(data[at:at + length], 'big')
    other = rnd.choice(layout.places[kind])[0]
    clusters = len(data) // layout.cluster
    ways = {
        'bit': old ^ 1 << rnd.randrange(8 * length),
        'high bit': old ^ 1 << 8 * length - 1 - rnd.randrange(3),
        'zero': 0,
        'another': int.from_bytes(data[other:other + length], 'big'),
        'plus': old + rnd.choice((1, 2, 512, layout.cluster, -1, -512,
                                  -layout.cluster)),
        'cluster': (rnd.choice((0, 0, 1 << 63)) +
                    layout.cluster * rnd.randrange(clusters + 3)),
        'small': rnd.randrange(4),
        'all ones': -1,
    }
    way = rnd.choice(list(ways))
    new = ways[way] & (1 << 8 * length) - 1
    data[at:at + length] = new.to_bytes(length, 'big')
    return f'{kind} at {at:#x}: {way}, {old:#x} -> {new:#x}'


def damage_length(rnd, layout, data):
    if rnd.randrange(2):
        n = rnd.choice((1, 511, layout.cluster, 3 * layout.cluster + 5))
        data += bytes(n)
        return f'{n} bytes longer'
    n = rnd.choice((1, 512, layout.cluster, 2 * layout.cluster + 100))
    del data[-n:]
    return f'{n} bytes shorter'


def damage(rnd, source, target):
    with open(source, 'rb') as f:
        data = bytearray(f.read())
    layout = Layout(bytes(data))
    told = []
    for _ in range(rnd.choice((1, 1, 1, 2, 3))):
        way = damage_length if rnd.randrange(15) == 0 else damage_place
        told.append(way(rnd, layout, data))
    with open(target, 'wb') as f:
        f.write(data)
    return '; '.join(told)


# ---- comparing ----

class Compare:
    def __init__(self, where, ours, peer):
        self.where, self.ours, self.peer = where, ours, peer
        self.differences = []
        self.corrupt = False

    def path(self, name):
        return os.path.join(self.where, name)

    def same(self, what, ours, theirs):
        if ours != theirs:
            diff = difflib.unified_diff(
                str(theirs).splitlines(), str(ours).splitlines(), 'theirs',
                'ours', lineterm='', n=1)
            self.differences.append(what + '\n' + '\n'.join(list(diff)[2:40]))

    def check(self, program, name, *args):
        """What a check says, without what can't be the same: file names and
        where a program puts what it adds."""
        code, out, err = run(program, 'check', '-f', 'qcow2', '--output=json',
                             *args, self.path(name), ok=False)
        try:
            report = json.loads(out)
            del report['filename']
            # QEMU counts in 32 bits.
            report.update({k: n % 2**32 for k, n in report.items()
                           if isinstance(n, int) and k != IMAGE_END})
        except ValueError:
            report = out
        err = err.replace(self.path(name), 'IMAGE')
        err = re.sub(r'^qemu-img: ', '', err, flags=re.M)
        # QEMU frees an old snapshot table wherever it lies.
        err = re.sub('qcow2_free_clusters failed: .*\n', '', err)
        return {'code': code, 'report': report, 'messages': err}

    def content(self, name):
        code, _, err = run(self.peer, 'convert', '-f', 'qcow2', '-O', 'raw',
                           self.path(name), self.path('content'), ok=False)
        if code:
            err = err.replace(self.path(name), 'IMAGE')
            return 'unreadable: ' + '\n'.join(sorted(err.splitlines()))
        with open(self.path('content'), 'rb') as f:
            return hash(f.read())

    def reports(self, what, ours, theirs, messages=True):
        self.same(what + ': exit code', ours['code'], theirs['code'])
        self.same(what + ': report',
                  json.dumps(ours['report'], indent=1, sort_keys=True),
                  json.dumps(theirs['report'], indent=1, sort_keys=True))
        if messages:
            self.same(what + ': messages', ours['messages'],
                      theirs['messages'])

    def repair(self, mode):
        for who in 'ours', 'theirs':
            shutil.copyfile(self.path('damaged'), self.path(who))
        ours = self.check(self.ours, 'ours', '-r', mode)
        theirs = self.check(self.peer, 'theirs', '-r', mode)
        if self.is_known_difference(mode, ours, theirs):
            return
        so_far = len(self.differences)
        self.compare_repaired(mode, ours, theirs)
        # QEMU discards what is leaked even if tables are damaged that may have
        # led there, or lie there themselves. We discard nothing then.
        if len(self.differences) > so_far and self.corrupt and \
                self.damages_more(theirs):
            del self.differences[so_far:]
            self.same(f'-r {mode}, table as a leak: exit code', ours['code'],
                      theirs['code'])

    def compare_repaired(self, mode, ours, theirs):
        # The new refcount structures are put elsewhere.
        for r in ours, theirs:
            if isinstance(r['report'], dict):
                r['report'].pop(IMAGE_END, 0)
        self.reports('-r ' + mode, ours, theirs)
        for program in self.ours, self.peer:
            a, b = self.check(program, 'ours'), self.check(program, 'theirs')
            for r in a, b:
                if isinstance(r['report'], dict):
                    r['report'].pop(IMAGE_END, 0)
            self.reports(f'{os.path.basename(program)} check after -r {mode}',
                         a, b)
        if 'timeout' in (theirs['code'], ours['code']):
            return
        self.same(f'content after -r {mode}', self.content('ours'),
                  self.content('theirs'))

    def read(self, name, off=0, length=512):
        with open(self.path(name), 'rb') as f:
            f.seek(off)
            return f.read(length)

    def snapshots(self, name):
        return self.read(name)[60:72]

    def damages_more(self, theirs):
        """Whether anything has been emptied that seemed to be leaked."""
        bits, = struct.unpack('>I', self.read('damaged')[20:24])
        freed = re.findall(r'Repairing cluster (\d+) refcount=1 reference=0',
                           theirs['messages'])
        for i in map(int, freed):
            old, new = (self.read(name, i << bits, 1 << bits)
                        for name in ('damaged', 'theirs'))
            if any(old) and not any(new):
                return True
        return False

    def bitmap_is_gone(self, ours, theirs):
        return 'bitmap table corrupted' in ours['messages'] and \
            'bitmap table corrupted' not in theirs['messages'] and \
            'exceeding the end of the file' in theirs['messages']

    def is_known_difference(self, mode, ours, theirs):
        """What QEMU 7.2 does and we don't."""
        if 'timeout' == theirs['code'] != ours['code']:
            return True
        # What is left when both give up, for instance because of tables that
        # lie on one another.
        if theirs['code'] == 1 == ours['code']:
            return True
        # An image with bitmaps is opened to be repaired: QEMU writes a header
        # without the snapshots, which it has not read yet.
        if self.snapshots('damaged') != self.snapshots('theirs') == \
                bytes(12) and b'\x23\x85\x28\x75' in self.read('damaged'):
            self.same(f'-r {mode}, snapshots beside bitmaps: success',
                      ours['code'] in (0, 1, 2, 3), True)
            return True
        # Mending flags in the guest's data, which an entry of L1 leads to. We
        # leave them, and tell that it is not repaired.
        if mode == 'all' and ours['code'] == 2 and re.search(
                'ERROR OFLAG_COPIED|Something else is at', ours['messages']):
            self.same('-r all, data as a table: content',
                      self.content('ours'), self.content('damaged'))
            return True
        # Taking a bitmap whose table lies behind the end for an empty one. We
        # say that it is corrupt, and remove it.
        if self.bitmap_is_gone(ours, theirs):
            if mode == 'all':
                self.same('-r all, bitmap: success',
                          self.check(self.peer, 'ours')['code'] in (0, 2),
                          True)
            return True
        # Growing the file until a refcount block that is outside lies inside.
        if mode == 'all' and 'is outside image' in theirs['messages']:
            self.same('-r all, refcount block outside: success',
                      ours['code'] in (0, 2), True)
            return True
        # Giving up half way, with the image marked corrupt.
        if theirs['code'] == 1 and ours['code'] in (0, 2) and \
                'Marking image as corrupt' in theirs['messages']:
            self.same(f'-r {mode}: success',
                      self.check(self.peer, 'ours')['code'] in (0, 2), True)
            return True
        # New refcount structures may take the very clusters that were missed
        # behind the end. Ours come after them, so that nothing is missed.
        if mode == 'all' and ours['code'] == 0 and theirs['code'] == 2 and \
                'Rebuilding refcount structure' in theirs['messages'] and \
                'exceeding the end of the file' in theirs['messages']:
            self.same('-r all, clusters behind the end: success',
                      self.check(self.peer, 'ours')['code'], 0)
            return True
        # Reckoning with refcounts of 2^63 and more.
        if any(int(n) >> 63 for n in re.findall(r'refcount=(\d+)',
                                                theirs['messages'])):
            self.same(f'-r {mode}, huge refcount: exit code', ours['code'],
                      theirs['code'])
            return True
        # The header as an L2 table: it says where the bitmaps are, which each
        # program writes elsewhere.
        if re.search(r'L1 entry with reserved bits set: [0-9a-f]{1,3}$',
                     theirs['messages'], re.M):
            self.same(f'-r {mode}, header as a table: exit code', ours['code'],
                      theirs['code'])
            return True
        # Flags in a table that is not where a table can be: what lies there
        # may be the guest's. QEMU writes to it; we tell of the flag and don't.
        if 'Table is not cluster aligned; L1 entry' in theirs['messages'] and \
                re.search('^ERROR OFLAG_COPIED data', ours['messages'], re.M):
            self.same(f'-r {mode}, misplaced table: exit code', ours['code'],
                      theirs['code'])
            return True
        # Giving free what a snapshot has whose table can't be found.
        if 'snapshot table entry corrupted' in ours['messages']:
            self.same(f'-r {mode}, table of a snapshot: exit code',
                      ours['code'], theirs['code'])
            return True
        # The header as the snapshot table, whose entries lead anywhere: to
        # where each program puts the new table, for one.
        if mode == 'all' and self.snapshots('damaged')[4:] == bytes(8) and \
                self.snapshots('damaged')[:4] != bytes(4):
            self.same('-r all, header as the snapshot table: exit code',
                      ours['code'], theirs['code'])
            return True
        # Not opening an image whose bitmap directory is damaged.
        if 'Could not open' in theirs['messages'] and \
                'itmap' in theirs['messages']:
            if mode == 'all':
                self.same('-r all, bitmaps: success',
                          self.check(self.ours, 'ours')['code'] in (0, 2),
                          True)
            return True
        return False

    def all(self):
        self.differences = []
        ours = self.check(self.ours, 'damaged')
        theirs = self.check(self.peer, 'damaged')
        self.corrupt = ours['code'] == 2
        if ('Could not open' not in theirs['messages'] or
                'itmap' not in theirs['messages']) and \
                not self.bitmap_is_gone(ours, theirs):
            self.reports('check', ours, theirs)
        self.repair('leaks')
        self.repair('all')
        return self.differences


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--img', required=True)
    p.add_argument('--peer', default='qemu-img')
    p.add_argument('--seeds', default='1-60')
    p.add_argument('--kind', help='of this kind only')
    p.add_argument('--keep', help='the damaged image is left here')
    args = p.parse_args()
    seeds = []
    for part in args.seeds.split(','):
        first, _, last = part.partition('-')
        seeds += range(int(first), int(last or first) + 1)
    print(f'1..{len(seeds)}')
    with tempfile.TemporaryDirectory(prefix='cc') as where:
        kinds = Kinds(where, args.peer)
        compare = Compare(where, args.img, args.peer)
        failed = 0
        for i, seed in enumerate(seeds):
            rnd = random.Random(seed)
            kind = rnd.choice(kinds.names)
            if args.kind and kind != args.kind:
                continue
            told = damage(rnd, kinds.path(kind), compare.path('damaged'))
            if args.keep:
                shutil.copyfile(compare.path('damaged'), args.keep)
            differences = compare.all()
            failed += bool(differences)
            for d in differences:
                print('# ' + d.replace('\n', '\n# '))
            print(f'{"not " if differences else ""}ok {i + 1} - seed {seed}: '
                  f'{kind}, {told}', flush=True)
    sys.exit(failed > 0)


if __name__ == '__main__':
    main()
