# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Write qcow2 images for the benchmark without help from either side.

All inputs are built here, so both sides read the same bytes, and images of
many TiB with any dirty bitmap appear at once.  Only what the benchmark needs
is implemented: version 3, 16-bit refcounts, no backing file unless asked for,
no compression, clusters laid out in the order in which they are mapped.
"""

import os
import random
import struct
from array import array

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_COPIED = 1 << 63
_noise = None


def noise():
    """32 MiB of incompressible bytes, the same in every run."""
    global _noise
    if _noise is None:
        _noise = random.Random(20240229).randbytes(32 * MIB)
    return _noise


def write_noise(fd, offset, length, seed=0, like=None):
    """Write incompressible data; each MiB starts at another place.

    Which data depends on the offset, or on the offset that it is like.
    """
    source = noise()
    like = offset if like is None else like
    done = 0
    while done < length:
        at = ((like + done) // 65536 * 4099 + seed * 7919) % (31 * MIB) + 1
        part = min(MIB, length - done)
        os.pwrite(fd, memoryview(source)[at:at + part], offset + done)
        done += part


def mixed_cluster(index):
    """64 KiB of which about half compresses well, as on a real disk."""
    rng = random.Random(index)
    at = rng.randrange(31 * MIB)
    words = [b"%08x entry=%d " % (rng.getrandbits(32), i % 97)
             for i in range(64)]
    text = b"".join(rng.choice(words) for _ in range(1900))
    return (noise()[at:at + 32768] + text)[:65536].ljust(65536, b".")


def big_endian(values):
    packed = array("Q", values)
    packed.byteswap()
    return packed.tobytes()


class Qcow2Writer:
    def __init__(self, path, size, cluster_bits=16, backing=None,
                 backing_format=None):
        self.size = size
        self.bits = cluster_bits
        self.cluster = 1 << cluster_bits
        self.l2_entries = self.cluster // 8
        self.l2 = {}
        self.bitmaps = []
        self.backing = backing
        self.backing_format = backing_format
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.next = self.cluster  # the header cluster

    def allocate(self, length):
        at = self.next
        self.next += -(-length // self.cluster) * self.cluster
        return at

    def map_run(self, guest, length, fill=None):
        """Map a run of clusters.  fill(fd, host offset, length) writes data."""
        host = self.allocate(length)
        if fill:
            fill(self.fd, host, length)
        first = guest >> self.bits
        count = -(-length // self.cluster)
        done = 0
        while done < count:
            l1_index, l2_index = divmod(first + done, self.l2_entries)
            table = self.l2.get(l1_index)
            if table is None:
                table = self.l2[l1_index] = array(
                    "Q", bytes(8 * self.l2_entries))
            part = min(count - done, self.l2_entries - l2_index)
            start = (host + done * self.cluster) | _COPIED
            table[l2_index:l2_index + part] = array("Q", range(
                start, start + part * self.cluster, self.cluster))
            done += part
        return host

    def add_bitmap(self, name, data=b"", granularity_bits=16, auto=True):
        """Add a persistent bitmap.  data: one bit per granule, lowest first."""
        granules = -(-self.size // (1 << granularity_bits))
        entries = -(-(-(-granules // 8)) // self.cluster)
        table = []
        for i in range(entries):
            chunk = data[i * self.cluster:(i + 1) * self.cluster]
            if not chunk.strip(b"\0"):
                table.append(0)
            elif len(chunk) == self.cluster and not chunk.strip(b"\xff"):
                table.append(1)
            else:
                at = self.allocate(self.cluster)
                os.pwrite(self.fd, chunk, at)
                table.append(at)
        table_at = self.allocate(8 * entries)
        os.pwrite(self.fd, big_endian(table), table_at)
        raw = name.encode()
        entry = struct.pack(">QIIBBHI", table_at, entries, 2 if auto else 0,
                            1, granularity_bits, len(raw), 0) + raw
        self.bitmaps.append(entry + bytes(-len(entry) % 8))

    def close(self):
        l1_entries = -(-self.size // (self.cluster * self.l2_entries))
        l1 = [0] * l1_entries
        for index, table in self.l2.items():
            at = self.allocate(self.cluster)
            table.byteswap()
            os.pwrite(self.fd, table.tobytes(), at)
            l1[index] = at | _COPIED
        l1_at = self.allocate(8 * l1_entries)
        os.pwrite(self.fd, big_endian(l1), l1_at)

        extensions = b""
        if self.bitmaps:
            directory = b"".join(self.bitmaps)
            directory_at = self.allocate(len(directory))
            os.pwrite(self.fd, directory, directory_at)
            extensions += struct.pack(">IIIIQQ", 0x23852875, 24,
                                      len(self.bitmaps), 0, len(directory),
                                      directory_at)
        if self.backing_format:
            raw = self.backing_format.encode()
            extensions += struct.pack(">II", 0xE2792ACA, len(raw)) + raw
            extensions += bytes(-len(raw) % 8)
        extensions += bytes(8)

        per_block = self.cluster // 2
        used = self.next >> self.bits
        blocks = table_clusters = 0
        while True:
            total = used + blocks + table_clusters
            need = -(-total // per_block)
            need_table = -(-need * 8 // self.cluster)
            if (need, need_table) == (blocks, table_clusters):
                break
            blocks, table_clusters = need, need_table
        table_at = self.allocate(table_clusters * self.cluster)
        block_at = [self.allocate(self.cluster) for _ in range(blocks)]
        os.pwrite(self.fd, big_endian(block_at), table_at)
        for i, at in enumerate(block_at):
            live = min(per_block, total - i * per_block)
            os.pwrite(self.fd, b"\0\1" * live, at)

        backing = (self.backing or "").encode()
        backing_at = 104 + len(extensions) if backing else 0
        header = struct.pack(
            ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, backing_at, len(backing),
            self.bits, self.size, 0, l1_entries, l1_at, table_at,
            table_clusters, 0, 0, 0, 0, 1 if self.bitmaps else 0, 4, 104)
        os.pwrite(self.fd, header + extensions + backing, 0)
        os.ftruncate(self.fd, self.next)
        os.close(self.fd)


def empty_image(path, size, **options):
    Qcow2Writer(path, size, **options).close()


def full_image(path, size):
    """An image with every cluster mapped; it reads like write_noise()."""
    image = Qcow2Writer(path, size)
    image.map_run(0, size, lambda fd, at, n: write_noise(fd, at, n, like=0))
    image.close()


def alternating_bits(granules):
    """A bitmap in which every other granule is dirty."""
    return b"\x55" * (granules // 8)


def random_bits(granules, seed=1):
    """A bitmap of coin flips: the worst case for any run-length scheme."""
    return random.Random(seed).randbytes(granules // 8)


def scattered_bits(granules, count, seed=1):
    """A bitmap with a few dirty granules spread over the whole disk."""
    bits = bytearray(granules // 8)
    for i in random.Random(seed).sample(range(granules), count):
        bits[i >> 3] |= 1 << (i & 7)
    return bytes(bits)
