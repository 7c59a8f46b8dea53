# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What a test program beside the iotests sets up before it imports iolib, which
finds everything in the environment: a folder of its own and the programs of a
build tree.

    sys.path.insert(0, os.path.dirname(HERE))
    from programs import BUILD, finish, set_up
    work = set_up('kil-', args.build)
    from iolib import img"""

import os
import shutil
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, 'build')
PROGRAMS = {'QEMU_IMG_PROG': 'tools/qemu-img', 'QEMU_IO_PROG': 'tools/qemu-io',
            'QEMU_NBD_PROG': 'tools/qemu-nbd',
            'QSD_PROG': 'storage-daemon/qemu-storage-daemon'}
SHM = '/dev/shm'


def set_up(prefix, build, in_memory=True):
    """Makes the folder and returns it.  `in_memory`: where no disk is needed,
    as a process that is killed leaves all that it wrote."""
    work = tempfile.mkdtemp(prefix=prefix, dir=SHM if in_memory and os.access(
        SHM, os.W_OK) else None)
    os.environ.update(TEST_DIR=work, SOCK_DIR=work, IMGFMT='qcow2')
    for variable, program in PROGRAMS.items():
        os.environ.setdefault(variable,
                              os.path.join(os.path.abspath(build), program))
    sys.path.insert(0, os.path.join(ROOT, 'tests', 'qemu-iotests'))
    return work


def finish(work, failed):
    """The exit code; the folder stays when something failed."""
    if failed:
        print(f'# the files are in {work}')
        return 1
    os.chdir('/')
    shutil.rmtree(work)
    return 0


def is_sound(image, copy):
    """Our qemu-img check and Debian's find leaks at most.  An image that is
    marked dirty (COPIED flags) says itself that it wants to be mended: then a
    `copy` of it is, first."""
    from iolib import PEER_IMG, QEMU_IMG, no_image_check, run, true
    for checker in {PEER_IMG, QEMU_IMG} - {None}:
        r = run(checker, 'check', image, rc=None)
        if r.code == 2:
            with open(image, 'rb') as f:
                true(f.read(80)[79] & 1, f'corruption: {r.all[-1500:]}')
            shutil.copyfile(image, copy)
            no_image_check(os.path.basename(copy))
            run(checker, 'check', '-r', 'all', copy, rc=None)
            r = run(checker, 'check', copy, rc=None)
        true(r.code in (0, 3), f'corruption: {r.all[-1500:]}')
