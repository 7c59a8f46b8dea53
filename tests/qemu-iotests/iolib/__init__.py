# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What a test imports: `from iolib import *`.

A test is a program.  It ends with 0 when its claim holds, with 77 and a
reason on standard output when it can't be tried here, with anything else
when the claim is false.  The library is small files, each one idea:

    env      where things are: programs, directories, the format under test
    expect   the assertions, and `skip`
    tools    running qemu-img, qemu-io, qemu-nbd and foreign programs
    qmp      a QMP client
    daemon   a qemu-storage-daemon, and a qemu-nbd that serves
    nbd      an NBD client in plain Python, several requests in flight
    fakenbd  NBD servers that a test leads
    qcow2    a decoder of qcow2 headers and bitmap directories
    model    patterns, extents, hashes of a whole disk
    crash    killing a daemon, and judging what is left
    images   images written by QEMU 10.0
    smallfs  a file system that is full soon
    loopdev  a block device
    writelog the log of blklogwrites
    pki      certificates and keys for TLS
    writer   a guest that writes all the time, and the proof that a copy is
             one point in time of it
"""

from .env import *       # noqa: F401,F403
from .expect import *    # noqa: F401,F403
from .tools import *     # noqa: F401,F403
from .qmp import *       # noqa: F401,F403
from .daemon import *    # noqa: F401,F403
from .nbd import *       # noqa: F401,F403
from .fakenbd import *   # noqa: F401,F403
from .qcow2 import *     # noqa: F401,F403
from .model import *     # noqa: F401,F403
from .crash import *     # noqa: F401,F403
from .images import *    # noqa: F401,F403
from .smallfs import *   # noqa: F401,F403
from .loopdev import *   # noqa: F401,F403
from .writelog import *  # noqa: F401,F403
from .pki import *       # noqa: F401,F403
from .writer import *    # noqa: F401,F403
