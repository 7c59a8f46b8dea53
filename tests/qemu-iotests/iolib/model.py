# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Bytes and ranges: patterns, hashes of a whole disk, sets of clusters."""

import hashlib
import os
import random

from . import env
from .tools import img

__all__ = ['pattern', 'sha256_of', 'sha256_file', 'content', 'clusters',
           'picture', 'flip', 'random_bytes', 'sparse_sha256']


def pattern(seed, length):
    """Bytes that differ by seed and never repeat within a cluster."""
    return random.Random(seed).randbytes(length)


random_bytes = pattern


def content(image, fmt=None, size=None):
    """The guest-visible bytes of an image through `qemu-img convert`."""
    raw = env.path('content.tmp')
    img('convert', '-q', '-f', fmt or env.IMGFMT, '-O', 'raw', image, raw)
    with open(raw, 'rb') as f:
        data = f.read(size) if size else f.read()
    os.unlink(raw)
    return data


def sha256_of(image, fmt=None):
    return hashlib.sha256(content(image, fmt)).hexdigest()


def sha256_file(name):
    """The hash of a file's bytes."""
    h = hashlib.sha256()
    with open(name, 'rb') as f:
        while data := f.read(1 << 20):
            h.update(data)
    return h.hexdigest()


def sparse_sha256(client):
    """The hash of an export's content."""
    h = hashlib.sha256()
    for _, data in client.read_all():
        h.update(data)
    return h.hexdigest()


def clusters(ranges, granularity=64 << 10):
    """The set of cluster numbers that ranges touch."""
    return {c for off, length in ranges
            for c in range(off // granularity,
                           (off + length - 1) // granularity + 1)}


def picture(data, cluster, blank='-'):
    """One letter a cluster: |AAAA----|.  A cluster has to be uniform."""
    out = ''
    for off in range(0, len(data), cluster):
        part = data[off:off + cluster]
        first = part[:1]
        if part != first * len(part):
            raise AssertionError(f'mixed bytes in the cluster at {off}')
        out += chr(first[0]) if first != b'\0' else blank
    return f'|{out}|'


def flip(image, off, data):
    """Overwrite bytes of a file behind everyone's back."""
    with open(image, 'r+b') as f:
        f.seek(off)
        f.write(data)
