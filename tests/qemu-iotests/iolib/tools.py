# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Running programs to their end, with captured output.

`img(...)`, `io(...)`, `nbd_tool(...)` take the arguments and the exit code
that must come (0 if not told, None if it does not matter) and return a Result.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys

from . import env
from .expect import fail, no_sanitizer_report, skip

__all__ = ['Result', 'run', 'img', 'io', 'nbd_tool', 'img_json', 'create',
           'need_tool', 'peer_img', 'write', 'read_ok', 'map_json', 'opts',
           'no_image_check']


class Result:
    """What a program left behind."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def all(self):
        """Standard output, then standard error."""
        return self.out + self.err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return (f'$ {" ".join(self.argv)}\n[exit {self.code}]\n'
                f'{self.out}{self.err}')


def run(*argv, rc=0, stdin=None, timeout=60, cwd=None, binary=False):
    """Run a program.  It must end with `rc`; a sanitizer report fails the
    test whatever the exit code says."""
    argv = [str(a) for a in argv]
    p = subprocess.run(argv, input=stdin, capture_output=True, cwd=cwd,
                       timeout=timeout * env.slow(), check=False,
                       stdin=None if stdin is not None
                       else subprocess.DEVNULL)
    out = p.stdout if binary else p.stdout.decode(errors='replace')
    result = Result(argv, p.returncode, out, p.stderr.decode(errors='replace'))
    print(result if not binary else f'$ {" ".join(argv)} [{p.returncode}]')
    no_sanitizer_report(result.err, argv[0])
    if rc is not None and result.code != rc:
        fail(f'exit code {result.code}, {rc} expected: {result!r}')
    return result


def img(*args, **kwargs):
    return run(env.QEMU_IMG, *args, **kwargs)


def io(*args, **kwargs):
    return run(env.QEMU_IO, *args, **kwargs)


def nbd_tool(*args, **kwargs):
    return run(env.QEMU_NBD, *args, **kwargs)


def peer_img(*args, **kwargs):
    """The distribution's qemu-img, whoever is under test."""
    if not env.PEER_IMG:
        skip('no qemu-img of the distribution')
    return run(env.PEER_IMG, *args, **kwargs)


def img_json(*args, **kwargs):
    """qemu-img SUBCOMMAND --output=json ..., parsed."""
    return img(args[0], '--output=json', *args[1:], **kwargs).json()


def map_json(image, *args):
    """The map as [(start, length, depth, zero, data)], what both old and new
    versions say."""
    return [(e['start'], e['length'], e['depth'], e['zero'], e['data'])
            for e in img_json('map', *args, image)]


def create(name, size, fmt=None, **options):
    """Create an image of the format under test; returns its path."""
    args = ['create', '-q', '-f', fmt or env.IMGFMT]
    if options:
        args += ['-o', opts(**options)]
    image = name if name.startswith('/') else env.path(name)
    img(*args, image, size)
    return image


def opts(**options):
    return ','.join(f'{k}={v}' for k, v in options.items())


def write(image, *writes, fmt=None):
    """Write (pattern byte, offset, length) through qemu-io."""
    args = ['-f', fmt or env.IMGFMT]
    for byte, off, length in writes:
        args += ['-c', f'write -P {byte} {off} {length}']
    result = io(*args, image)
    if 'failed' in result.all:
        fail(repr(result))
    return result


def read_ok(image, *reads, fmt=None):
    """(pattern byte, offset, length) must be read back through qemu-io."""
    args = ['-r', '-f', fmt or env.IMGFMT]
    for byte, off, length in reads:
        args += ['-c', f'read -P {byte} {off} {length}']
    result = io(*args, image)
    if 'failed' in result.all:
        fail(repr(result))
    return result


def need_tool(*names):
    for name in names:
        if not shutil.which(name):
            skip(f'{name} is not installed')


# -- a second opinion on every image -------------------------------------

_unchecked = set()
_ended_well = True


def no_image_check(*images):
    """These images are damaged on purpose."""
    _unchecked.update(env.path(i) for i in images)


def _watch(kind, value, trace):
    global _ended_well
    _ended_well = False
    sys.__excepthook__(kind, value, trace)


def _images():
    for folder, _, names in os.walk(env.TEST_DIR):
        for name in names:
            image = os.path.join(folder, name)
            if image in _unchecked or os.path.islink(image) or \
               not os.path.isfile(image):
                continue
            with open(image, 'rb') as f:
                if f.read(4) == b'QFI\xfb':
                    yield image


def _second_opinion():
    """Debian's `qemu-img check` has to find nothing in what a test leaves."""
    if not _ended_well or env.PEER or not env.PEER_IMG:
        return
    for image in _images():
        # Without its base, which may be gone.
        name = 'json:' + json.dumps({'driver': 'qcow2', 'backing': None,
                                     'file': {'driver': 'file',
                                              'filename': image}})
        p = subprocess.run([env.PEER_IMG, 'check', name],
                           capture_output=True, check=False, text=True)
        if p.returncode not in (0, 63):
            print(f'the peer finds fault with {image} (exit {p.returncode}):'
                  f'\n{p.stdout}{p.stderr}', file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
            os._exit(1)


sys.excepthook = _watch
atexit.register(_second_opinion)
