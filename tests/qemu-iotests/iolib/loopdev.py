# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A block device over a file, taken down at the end of the test."""

import atexit
import subprocess

from . import env
from .expect import skip

__all__ = ['loop_device']


def loop_device(file):
    """The device's name.  Skips the test where there can be none."""
    p = subprocess.run(['losetup', '-f', '--show', env.path(file)],
                       capture_output=True, check=False, text=True)
    if p.returncode:
        skip(f'no loop device: {p.stderr.strip()}')
    device = p.stdout.strip()
    atexit.register(subprocess.run, ['losetup', '-d', device], check=False)
    return device
