# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A file system that is full soon: a tmpfs in a mount namespace of the test's
own, which goes away with the test whatever happens."""

import ctypes
import os
import subprocess

from . import env
from .expect import skip
from .tools import run

__all__ = ['small_fs', 'resize_fs', 'fill_fs']

CLONE_NEWNS = 0x20000


def small_fs(size, name='small'):
    """Mount a tmpfs of `size` bytes; returns its folder.  Skips the test where
    that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        skip(f'no mount namespace: {os.strerror(ctypes.get_errno())}')
    folder = env.path(name)
    os.makedirs(folder, exist_ok=True)
    for command in (['mount', '--make-rprivate', '/'],
                    ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs',
                     folder]):
        p = subprocess.run(command, capture_output=True, check=False,
                           text=True)
        if p.returncode:
            skip(f'{" ".join(command)}: {p.stderr.strip()}')
    return folder


def resize_fs(folder, size):
    """Give the file system of small_fs() so many bytes."""
    run('mount', '-o', f'remount,size={size}', folder)


def fill_fs(folder, room=0):
    """Take all space but `room` bytes; returns the file that has it."""
    left = os.statvfs(folder)
    fill = os.path.join(folder, 'fill')
    with open(fill, 'wb') as f:
        os.posix_fallocate(f.fileno(), 0, left.f_bavail * left.f_frsize - room)
    return fill
