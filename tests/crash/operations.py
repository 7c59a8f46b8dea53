# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What the tables of faults do to a qcow2 image, and what must hold of it after
whatever failed: each sector is as before or after a step of the operation, our
qemu-img check and Debian's find leaks at most, and a bitmap that is not marked in
use has all that changed.

To be imported after set_up() of programs.py."""

import contextlib
import os
import shutil
import subprocess
import sys

from iolib import (QEMU_IMG, QEMU_IO, Qcow2, content, create, img, io,
                   no_image_check, path, slow, true)
from programs import finish, is_sound

SECTOR, GRANULE = 512, 4096
# '@' is the image; what is in IO are commands of qemu-io.
IO = {
    'write': ['write -P 9 100k 300k', 'write -P 8 1900k 10k'],
    'overwrite': ['write -P 9 0 64k', 'flush', 'write -P 7 5120 512'],
    'compressed': ['write -c -P 9 128k 128k', 'write -c -P 7 0 64k'],
    'zero': ['write -z 0 64k', 'write -z 1024 69k', 'write -z -u 256k 64k'],
    'discard': ['discard 0 128k', 'flush', 'write -P 5 0 4k'],
    'read': ['read 0 2M', 'write -P 5 1000k 4k'],
    'flush': ['write -P 9 512k 64k', 'flush', 'write -P 8 600k 64k', 'flush'],
    'resize': ['truncate 5M', 'write -P 3 4M 64k'],
}
IMG = {
    'snapshot': ['snapshot', '-c', 'new', '@'],
    'snapshot-delete': ['snapshot', '-d', 'old', '@'],
    'snapshot-apply': ['snapshot', '-a', 'old', '@'],
    'grow': ['resize', '--preallocation=metadata', '@', '6M'],
    'shrink': ['resize', '--shrink', '@', '1M'],
    'bitmap-add': ['bitmap', '--add', '@', 'new'],
    'bitmap-remove': ['bitmap', '--remove', '@', 'b'],
    'bitmap-merge': ['bitmap', '--merge', 'b', '@', 'c'],
    'amend': ['amend', '-o', 'refcount_bits=64', '@'],
    'amend-old': ['amend', '-f', 'qcow2', '-o', 'compat=0.10', '@'],
    'check': ['check', '-r', 'all', '@'],
    'commit': ['commit', '-d', '@'],
    'rebase': ['rebase', '-b', '', '@'],
}
# Neither has a place for bitmaps.
PLAIN = 'amend-old', 'commit'


def prepare(cluster):
    """An image with all there is, over a base that is never touched: `master`,
    and `v2`, which has no bitmaps."""
    base = create('base', '2M', fmt='raw')
    io('-f', 'raw', '-c', 'write -q -P 1 0 1M', base)
    image = create('master', '2M', cluster_size=cluster, backing_file=base,
                   backing_fmt='raw')
    img('bitmap', '--add', '-g', GRANULE, image, 'b')
    img('bitmap', '--add', '-g', GRANULE, image, 'c')
    io('-c', 'write -q -P 2 0 100k', '-c', 'write -q -c -P 3 128k 64k',
       '-c', 'write -q -z 200k 20k', image)
    img('snapshot', '-c', 'old', image)
    io('-c', 'write -q -P 4 20k 300k', '-c', 'write -q -P 4 1900k 100k', image)
    for name in ('master', 'x.qcow2', 'x.mended', 'v2', 'clean.qcow2'):
        no_image_check(name)
    shutil.copyfile(base, path('base.kept'))
    plain = path('v2')
    shutil.copyfile(image, plain)
    img('bitmap', '--remove', plain, 'b')
    img('bitmap', '--remove', plain, 'c')


def fresh(operation, image):
    """The image as it is before the operation."""
    shutil.copyfile(path('v2' if operation in PLAIN else 'master'), image)
    shutil.copyfile(path('base.kept'), path('base'))    # commit writes to it


def command(operation, name, steps=None):
    """The first @steps of it."""
    if operation in IO:
        argv = [QEMU_IO]
        for step in IO[operation][:steps]:
            argv += ['-c', step]
        return argv + [name]
    return [QEMU_IMG] + [name if a == '@' else a for a in IMG[operation]]


def execute(argv, **options):
    """The exit code, what it printed and what it said; it may not die."""
    p = subprocess.run(argv, capture_output=True, check=False,
                       timeout=60 * slow(), stdin=subprocess.DEVNULL,
                       **options)
    out = p.stdout.decode(errors='replace')
    err = p.stderr.decode(errors='replace')
    true(p.returncode >= 0 and 'Sanitizer' not in err,
         f'{argv} died ({p.returncode}): {(out + err)[-2000:]}')
    return p.returncode, out, err


def states_of(operation, image):
    """What the disk holds before the operation and after each step; leaves the
    image as it is at its end."""
    fresh(operation, image)
    states = [content(image)]
    for steps in range(1, len(IO.get(operation, [0])) + 1):
        fresh(operation, image)
        code, out, err = execute(command(operation, image, steps))
        true(code == 0, f'{operation} without faults: {out}{err}')
        states.append(content(image))
    return states


def covers(image, name, before, found):
    """A bitmap that is trusted has all that changed."""
    q = Qcow2(image)
    if name not in q.bitmaps or q.in_use(name):
        return
    bits = {g for off, n in q.bitmaps[name]['dirty']
            for g in range(off // GRANULE, -(-(off + n) // GRANULE))}
    changed = {at // GRANULE
               for at in range(0, min(len(found), len(before)), SECTOR)
               if found[at:at + SECTOR] != before[at:at + SECTOR]}
    true(changed <= bits, f'bitmap {name} lacks {sorted(changed - bits)[:5]} '
         'and is trusted')


def judge(operation, image, failed, said, states):
    before, after = states[0], states[-1]
    is_sound(image, path('x.mended'))
    found = content(image)
    true(len(found) in (len(before), len(after)), f'{len(found)} bytes')
    if not failed and operation != 'discard':
        true(found == after, f'no error was told, but not all is done: {said}')
    for at in range(0, len(found), SECTOR):
        sector = found[at:at + SECTOR]
        true(any(sector == old[at:at + SECTOR] or
                 (at >= len(old) and not any(sector))
                 for old in states), f'sector at {at}')
    if operation in IO:
        covers(image, 'b', before, found)


def try_cells(work, choose, attempt):
    """Runs a table: `choose()` gives its cells, whose first member is the
    operation, `attempt(cell, image)` says whether an error was told.  Prints a
    line for each operation; returns the exit code."""
    terminal = sys.stdout
    failures, told = {}, {}
    with open(path('log'), 'w', encoding='utf-8') as log, \
            contextlib.redirect_stdout(log):
        chosen = choose()
        every = sorted({c[0] for c in chosen})
        print(f'1..{len(every)}', file=terminal)
        for cell in chosen:
            log.seek(0)
            log.truncate()
            image = path('x.qcow2')
            try:
                told[cell[0]] = told.get(cell[0], 0) + \
                    bool(attempt(cell, image))
            except (AssertionError, subprocess.TimeoutExpired) as e:
                kept = path(f'failed-{sum(map(len, failures.values()))}.qcow2')
                no_image_check(os.path.basename(kept))
                shutil.copyfile(image, kept)
                failures.setdefault(cell[0], []).append(
                    f'{"/".join(map(str, cell))} ({kept}): {e}')
    for number, operation in enumerate(every, 1):
        n = sum(1 for c in chosen if c[0] == operation)
        bad = failures.get(operation, [])
        for text in bad:
            print(''.join(f'# {line[:400]}\n' for line in
                          text.splitlines()[:12]), end='')
        print(f'{"not " if bad else ""}ok {number} - {operation} # {n} cells, '
              f'{told.get(operation, 0)} failed as they should')
    return finish(work, failures)
