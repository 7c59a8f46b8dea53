# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Servers under test: a qemu-storage-daemon with its monitor, a qemu-nbd.

They end with the test: a `with` block quits the daemon cleanly and then holds
its exit code and its standard error to account; whatever is left when the test
dies is killed by its process id."""

import atexit
import itertools
import os
import signal
import subprocess
import time

from . import env
from .expect import equal, fail, no_sanitizer_report
from .nbd import NbdClient
from .qmp import QMP

__all__ = ['StorageDaemon', 'NbdProgram']

_count = itertools.count()
_alive = []


def _reap():
    for p in _alive:
        if p.poll() is None:
            p.kill()
            p.wait()


atexit.register(_reap)


class _Server:
    """A child process that runs until it is told to stop."""

    def start(self, argv, name):
        self.log = env.path(f'{name}.log')
        print('$', ' '.join(str(a) for a in argv), '&')
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        _alive.append(self.process)
        self.pid = self.process.pid

    def output(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def wait(self, code=0, timeout=20):
        """The process must end by itself, with this exit code."""
        try:
            got = self.process.wait(timeout * env.slow())
        except subprocess.TimeoutExpired:
            fail(f'process {self.pid} does not end:\n{self.output()}')
        no_sanitizer_report(self.output(), f'process {self.pid}')
        if code is not None and got != code:
            fail(f'exit code {got}, {code} expected:\n{self.output()}')
        return got

    def kill(self):
        """SIGKILL, as a crash does it."""
        self.process.kill()
        self.process.wait()
        no_sanitizer_report(self.output(), f'process {self.pid}')

    def terminate(self, code=0):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(code)

    def running(self):
        return self.process.poll() is None

    def memory(self, what='VmRSS'):
        """Bytes, as /proc/PID/status names them (VmRSS, VmHWM)."""
        return self._proc('status', what + ':')

    def private_memory(self):
        """Bytes of memory that the process shares with nobody."""
        return self._proc('smaps_rollup', 'Private_')

    def _proc(self, name, start):
        """The sum of the lines that begin so; there has to be one."""
        with open(f'/proc/{self.pid}/{name}', encoding='ascii') as f:
            found = [int(line.split()[1]) * env.KiB for line in f
                     if line.startswith(start)]
        return sum(found) if found else fail(f'no {start} in {name}')


class StorageDaemon(_Server):
    """qemu-storage-daemon with a monitor on a Unix socket."""

    def __init__(self, *args, program=None, monitor=True):
        self.number = next(_count)
        self.qmp_path = env.sock(f'q{self.number}')
        self.nbd_path = env.sock(f'n{self.number}')
        self.clients = []
        argv = [program or env.QSD]
        if monitor:
            argv += ['--chardev', f'socket,id=mon,path={self.qmp_path},'
                     'server=on,wait=off', '--monitor', 'chardev=mon']
        argv += list(args)
        if '--pidfile' not in argv:
            argv += ['--pidfile', env.path(f'qsd{self.number}.pid')]
        self.start(argv, f'qsd{self.number}')
        self.qmp = None
        try:
            self._ready(argv[argv.index('--pidfile') + 1])
            if monitor:
                self.qmp = QMP(self.qmp_path)
        except Exception:
            print(self.output())
            raise

    def _ready(self, pidfile):
        """The process id is written when everything is set up.  Debian's 7.2
        garbles the greeting of a client that comes earlier."""
        end = time.monotonic() + 20 * env.slow()
        while not os.path.exists(pidfile) or not os.path.getsize(pidfile):
            if self.process.poll() is not None:
                fail(f'the daemon ended:\n{self.output()}')
            if time.monotonic() > end:
                fail('the daemon does not get ready')
            time.sleep(0.003)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for client in self.clients:
            client.close()
        if kind is None:
            if self.process.poll() is None:
                self.quit()
        else:
            print('daemon says:', self.output())
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def quit(self, code=0):
        self.qmp.cmd('quit')
        return self.wait(code)

    # -- QMP in short

    def cmd(self, command, /, **arguments):
        return self.qmp.cmd(command, **arguments)

    def error(self, command, /, **arguments):
        return self.qmp.error(command, **arguments)

    def event(self, name, timeout=None, **data):
        return self.qmp.event(name, timeout, **data)

    def transaction(self, *actions, **properties):
        return self.qmp.transaction(*actions, **properties)

    def add(self, driver, name, **options):
        """blockdev-add; option names with _ for -."""
        return self.cmd('blockdev-add', driver=driver, node_name=name,
                        **options)

    def disk(self, name, image, fmt=None, **options):
        """A format node `name` over a file node `name`-file."""
        read_only = {'read_only': True} if options.get('read_only') else {}
        self.add('file', f'{name}-file', filename=image, **read_only)
        self.add(fmt or env.IMGFMT, name, file=f'{name}-file', **options)

    def undisk(self, name):
        self.cmd('blockdev-del', node_name=name)
        self.cmd('blockdev-del', node_name=f'{name}-file')

    # -- bitmaps

    def bitmap(self, node, name, **options):
        return self.cmd('block-dirty-bitmap-add', node=node, name=name,
                        **options)

    def bitmaps(self, node):
        """{name: description} of the bitmaps on a node."""
        for n in self.cmd('query-named-block-nodes', flat=True):
            if n['node-name'] == node:
                return {b.get('name'): b for b in n.get('dirty-bitmaps', [])}
        return fail(f'no node {node}')

    def sha256(self, node, name):
        return self.cmd('x-debug-block-dirty-bitmap-sha256', node=node,
                        name=name)['sha256']

    # -- NBD

    def nbd_start(self, **options):
        self.cmd('nbd-server-start', addr={
            'type': 'unix', 'data': {'path': self.nbd_path}}, **options)
        return self.nbd_path

    def export(self, node, name=None, writable=False, **options):
        self.cmd('block-export-add', type='nbd', id=name or node,
                 node_name=node, name=name or node, writable=writable,
                 **options)

    def unexport(self, name):
        self.cmd('block-export-del', id=name)
        self.event('BLOCK_EXPORT_DELETED', id=name)

    def nbd(self, name, contexts=(), **options):
        client = NbdClient(self.nbd_path, name, contexts=contexts, **options)
        self.clients.append(client)
        return client

    def uri(self, name):
        return f'nbd+unix:///{name}?socket={self.nbd_path}'

    def dirty(self, node, bitmap):
        """The dirty ranges of a bitmap, read through a passing export."""
        name = f'dirty{next(_count)}'
        started = not os.path.exists(self.nbd_path)
        if started:
            self.nbd_start()
        # An enabled bitmap needs an export that may change it.
        read_only = [n['ro'] for n in
                     self.cmd('query-named-block-nodes', flat=True)
                     if n['node-name'] == node][0]
        self.export(node, name, writable=not read_only, bitmaps=[bitmap])
        context = f'qemu:dirty-bitmap:{bitmap}'
        client = NbdClient(self.nbd_path, name, contexts=[context])
        ranges = [(o, n) for o, n, flags in client.extents(context) if flags]
        client.disconnect()
        self.unexport(name)
        if started:
            self.cmd('nbd-server-stop')
        return ranges

    # -- jobs

    def backup(self, job, device, target, sync='full', wait=True, **options):
        self.cmd('blockdev-backup', job_id=job, device=device, target=target,
                 sync=sync, **options)
        return self.qmp.job_end(job) if wait else None

    def jobs(self):
        return {j['id']: j for j in self.cmd('query-jobs')}


class NbdProgram(_Server):
    """qemu-nbd that serves one image on a Unix socket.  Used as -t unless the
    test says otherwise, so that clients may come and go."""

    def __init__(self, *args, persistent=True, wait=True, path=None):
        self.number = next(_count)
        self.path = path or env.sock(f'p{self.number}')
        if os.path.exists(self.path):
            os.unlink(self.path)
        argv = [env.QEMU_NBD, '-k', self.path]
        if persistent:
            argv.append('-t')
        self.start(argv + list(args), f'nbd{self.number}')
        if wait:
            self._listening()

    def _listening(self):
        end = time.monotonic() + 20 * env.slow()
        while not os.path.exists(self.path):
            if self.process.poll() is not None:
                fail(f'qemu-nbd ended:\n{self.output()}')
            if time.monotonic() > end:
                fail('qemu-nbd does not listen')
            time.sleep(0.005)

    def client(self, export='', contexts=(), **options):
        return NbdClient(self.path, export, contexts=contexts, **options)

    def uri(self, name=''):
        return f'nbd+unix:///{name}?socket={self.path}'

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print('qemu-nbd says:', self.output())
        if self.process.poll() is None:
            if kind is None:
                equal(self.terminate(None) in (0, -signal.SIGTERM), True,
                      'clean end of qemu-nbd')
            else:
                self.process.kill()
                self.process.wait()
