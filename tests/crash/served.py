# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A daemon that serves a disk with a persistent bitmap, to an NBD client that writes
and to a backup, while something fails below it; and what must hold afterwards.

To be imported after set_up() of programs.py."""

import json
import os
import signal
import subprocess
import time

from iolib import (QSD, NbdClient, NbdError, Qcow2, SANITIZER_MARKS, content,
                   equal, path, slow, sock, true)
from iolib.expect import fail
from iolib.qmp import QMP, QMPError
from operations import SECTOR, covers
from programs import is_sound

PATIENCE = 10
KIB = 1024
# Byte, offset and length; None is a flush.  0 are zeroes, -1 a discard.
WRITES = [(9, 100 * KIB, 64 * KIB), (8, 20 * KIB, 4 * KIB), None,
          (0, 64 * KIB, 96 * KIB), (7, 1000 * KIB + 512, 1536),
          (-1, 256 * KIB, 32 * KIB), None, (6, 1500 * KIB, 100 * KIB)]
LATER = [(5, 300 * KIB, 8 * KIB), None, (4, 1900 * KIB, 4 * KIB)]


class Disk:
    """What each sector may hold, and what it holds once it is flushed."""

    def __init__(self, data):
        self.may = [{data[at:at + SECTOR]}
                    for at in range(0, len(data), SECTOR)]
        self.settled = {}

    def write(self, byte, off, length, done):
        for i in range(off // SECTOR, (off + length) // SECTOR):
            new = bytes([max(byte, 0)]) * SECTOR
            self.may[i] = self.may[i] | {new}
            if done and byte >= 0:
                self.settled[i] = new
            else:
                self.settled.pop(i, None)

    def flush(self):
        for i, data in self.settled.items():
            self.may[i] = {data}
        self.settled = {}

    def agrees(self, data):
        equal(len(data), len(self.may) * SECTOR, 'length')
        for i, may in enumerate(self.may):
            true(data[i * SECTOR:(i + 1) * SECTOR] in may,
                 f'sector {i} is none of {[m[:4] for m in may]}')


class Session:
    """One daemon.  `argv` makes a command line out of the program's."""

    def __init__(self, argv, image, target, before):
        self.image, self.target = image, target
        self.disk = Disk(before)
        self.flawless, self.client, self.qmp = True, None, None
        self.backed_up = self.unsure = None
        self.sockets = sock('n'), sock('q')
        pidfile = path('pid')
        for name in (*self.sockets, pidfile):
            if os.path.exists(name):
                os.unlink(name)
        with open(path('qsd.log'), 'wb') as log:
            self.process = subprocess.Popen(argv([
                QSD, '--blockdev', self._node('d', image),
                '--blockdev', self._node('t', target), '--nbd-server',
                f'addr.type=unix,addr.path={self.sockets[0]}', '--export',
                'type=nbd,id=e,node-name=d,name=d,writable=on', '--chardev',
                f'socket,id=m,path={self.sockets[1]},server=on,wait=off',
                '--monitor', 'chardev=m', '--pidfile', pidfile]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait(lambda: self._ended() or os.path.exists(pidfile) and
                       os.path.getsize(pidfile), 'get ready')
            if not self._ended():
                self._use()
            self._end()
        finally:
            if not self._ended():
                self.process.kill()
                self.process.wait()

    @staticmethod
    def _node(name, image):
        return json.dumps({'driver': 'qcow2', 'node-name': name,
                           'discard': 'unmap',
                           'file': {'driver': 'file', 'filename': image}})

    def _ended(self):
        return self.process.poll() is not None

    @staticmethod
    def _wait(condition, what):
        end = time.monotonic() + PATIENCE * slow()
        while not condition():
            if time.monotonic() > end:
                fail(f'the daemon does not {what}')
            time.sleep(0.002)

    def _try(self, act):
        """None if it fails, but a daemon that is silent fails the test."""
        try:
            return act()
        except TimeoutError:
            return fail('the daemon neither answers nor hangs up')
        except (OSError, NbdError, QMPError, AssertionError) as e:
            self.flawless = False
            print('failed:', e)
            return None

    def _connect(self):
        self.client = self._try(lambda: NbdClient(
            self.sockets[0], 'd', timeout=PATIENCE)) \
            if not self._ended() else None

    def _request(self, act):
        """Whether it was carried out; a connection that is lost is made anew."""
        if not self.client:
            self._connect()
        if not self.client:
            return False
        try:
            act()
            return True
        except NbdError:
            self.flawless = False
        except TimeoutError:
            fail('the daemon does not answer a request')
        except OSError:
            self.flawless = False
            self.client.close()
            self.client = None
        return False

    def _write_all(self, writes):
        for w in writes:
            if w is None:
                if self._request(lambda: self.client.flush()):
                    self.disk.flush()
                continue
            byte, off, length = w
            self.disk.write(*w, self._request(
                lambda: self.client.trim(off, length) if byte < 0 else
                self.client.zero(off, length) if byte == 0 else
                self.client.write(off, bytes([byte]) * length)))

    def _backup(self):
        seen = []
        if not self._request(lambda: seen.append(
                self.client.read(0, len(self.disk.may) * SECTOR))):
            return
        self.unsure = seen[0]
        self.qmp.cmd('blockdev-backup', job_id='j', device='d', target='t',
                     sync='incremental', bitmap='b', auto_dismiss=False)

        def job():
            return self.qmp.cmd('query-jobs')[0]

        self._wait(lambda: job()['status'] == 'concluded', 'end the job')
        failed = job().get('error')
        self.qmp.cmd('job-dismiss', id='j')
        if failed:
            self.flawless = False
        else:
            self.backed_up = seen[0]
        self.unsure = None

    def _use(self):
        self._write_all(WRITES)
        self.qmp = self._try(lambda: QMP(self.sockets[1], timeout=PATIENCE))
        if self.qmp:
            self._try(self._backup)
        self._write_all(LATER)

    def _end(self):
        """In order, if it still can be asked."""
        if self.client:
            self.client.close()
        if self.qmp:
            self._try(lambda: self.qmp.cmd('quit'))
            self.qmp.close()
        elif not self._ended():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(2 * slow())
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
        self._wait(self._ended, 'end')
        with open(path('qsd.log'), encoding='utf-8', errors='replace') as f:
            self.said = f.read()

    def judge(self, base):
        """All that must hold; `base` is the disk when the bitmap began."""
        code, said = self.process.returncode, self.said
        true(code >= 0 and not any(m in said for m in SANITIZER_MARKS),
             f'it died ({code}): {said[-2000:]}')
        true(code == 0 or said, f'exit code {code} without a word')
        is_sound(self.image, path('x.mended'))
        is_sound(self.target, path('x.mended'))
        found = content(self.image)
        if code == 0 and not said:
            self.disk.flush()
            true(not self.flawless or not Qcow2(self.image).in_use('b'),
                 'no error was told, but the bitmap is in use')
        self.disk.agrees(found)
        if self.backed_up:
            true(content(self.target) == self.backed_up, 'the backup')
        try:
            covers(self.image, 'b', self.backed_up or base, found)
        except AssertionError:
            if not self.unsure:
                raise
            covers(self.image, 'b', self.unsure, found)

