# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Images that QEMU 10.0 has written, with a manifest of what is in them."""

import json
import os

from . import env
from .daemon import StorageDaemon
from .expect import equal, skip
from .model import sha256_of
from .tools import img, img_json, run

__all__ = ['unpack_images', 'image_agrees']

ARCHIVE = os.path.join(env.SHARED, 'images', 'qemu-10.0-images.tar.zst')
MANIFEST = os.path.join(env.SHARED, 'images', 'manifest.json')


def unpack_images():
    """Unpack into the test's directory; returns the manifest."""
    if not os.path.exists(ARCHIVE):
        skip('the images are not in ../shared/images')
    run('tar', '-S', '-I', 'zstd', '-xf', ARCHIVE, '-C', env.TEST_DIR)
    with open(MANIFEST, encoding='utf-8') as f:
        return json.load(f)


def _allocation(image):
    """[[start, length, depth]] of what is allocated, neighbours merged."""
    merged = []
    for e in img_json('map', image):
        if not e['present']:
            continue
        last = merged[-1] if merged else None
        if last and last[0] + last[1] == e['start'] and \
           last[2] == e['depth']:
            last[1] += e['length']
        else:
            merged.append([e['start'], e['length'], e['depth']])
    return merged


def image_agrees(name, want):
    """Info, check, map, content and bitmaps are what the manifest says."""
    image = env.path(name)
    info = img_json('info', image)
    equal(info['virtual-size'], want['virtual-size'], 'virtual-size')
    equal(info['cluster-size'], want['cluster-size'], 'cluster-size')
    equal(info['format-specific']['data'].get('bitmaps', []),
          want['bitmaps'], 'bitmaps')
    img('check', image)
    equal(_allocation(image), want['allocation'], f'{name}: allocation')
    if 'sha256' in want:
        equal(sha256_of(image, 'qcow2'), want['sha256'], f'{name}: content')
    if not want['bitmaps']:
        return
    with StorageDaemon() as qsd:
        qsd.disk('d', image, fmt='qcow2', read_only=True)
        found = qsd.bitmaps('d')
        for bitmap, ranges in want['dirty'].items():
            if ranges == 'inconsistent':
                equal(found[bitmap].get('inconsistent'), True, bitmap)
                continue
            equal([list(r) for r in qsd.dirty('d', bitmap)], ranges,
                  f'{name}: {bitmap}')
