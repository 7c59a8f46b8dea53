# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Where things are.  `check` hands everything over in the environment; a test
that is started by hand falls back to the programs in PATH and to a temporary
directory of its own."""

import os
import shutil
import tempfile

__all__ = ['IMGFMT', 'PEER', 'TEST_DIR', 'SOCK_DIR', 'SOURCE_ROOT', 'SHARED',
           'QEMU_IMG', 'QEMU_IO', 'QEMU_NBD', 'QSD', 'PEER_IMG', 'KiB', 'MiB',
           'GiB', 'TiB', 'path', 'sock', 'slow', 'shadow', 'is_watched']

KiB, MiB, GiB, TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

IMGFMT = os.environ.get('IMGFMT', 'qcow2')
PEER = os.environ.get('IOTEST_PEER') == '1'
SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))))
SHARED = os.environ.get('IOTEST_SHARED') or \
    os.path.join(os.path.dirname(SOURCE_ROOT), 'shared')

QEMU_IMG = os.environ.get('QEMU_IMG_PROG', 'qemu-img')
QEMU_IO = os.environ.get('QEMU_IO_PROG', 'qemu-io')
QEMU_NBD = os.environ.get('QEMU_NBD_PROG', 'qemu-nbd')
QSD = os.environ.get('QSD_PROG', 'qemu-storage-daemon')
# The distribution's qemu-img: a second opinion on every image we write.
PEER_IMG = os.environ.get('PEER_IMG_PROG') or shutil.which('qemu-img')


def _own_dir(variable):
    found = os.environ.get(variable)
    return found or tempfile.mkdtemp(prefix='iot-')


TEST_DIR = _own_dir('TEST_DIR')
SOCK_DIR = _own_dir('SOCK_DIR')
os.chdir(TEST_DIR)


def path(name):
    """A file of this test."""
    return os.path.join(TEST_DIR, name)


def sock(name):
    """A Unix socket of this test; the path stays under the limit of 107."""
    return os.path.join(SOCK_DIR, name)


def slow():
    """Times longer than usual: sanitizers or valgrind are at work."""
    return float(os.environ.get('IOTEST_SLOW', '1'))


def shadow():
    """Times the memory: the thread sanitizer keeps the history of each word,
    and as much again of each coroutine."""
    return 4 if 'TSAN_OPTIONS' in os.environ else 1


def is_watched():
    """The programs will run below strace or the like: the sanitizer can't look
    for leaks then, as it would watch them in the same way."""
    os.environ['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '') + \
        ':detect_leaks=0'
