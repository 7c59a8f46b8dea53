#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The main job: a disk that is being written is backed up in full, then
incrementally (pushed), then incrementally again (pulled over NBD), with a clean
restart of the daemon in between. Each backup chain is restored and its hash held
against the hash of the disk at the moment the backup began.

The hash of that moment comes from the writer, which keeps what it has written in
memory: between two of its writes it has nothing in flight for as long as one QMP
command takes, and in that instant memory and disk are the same."""

import hashlib
import json
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '../../tests/qemu-iotests'))
from iolib import (  # noqa: E402
    CMD, KiB, MiB, NbdClient, StorageDaemon, create, img, path)

SIZE = 64 * MiB
CELL = 2 * MiB                  # of the pictures
CLUSTER = 64 * KiB


# The library tells every command and QMP message: into a log, for failures.
terminal, sys.stdout = sys.stdout, open(path('log'), 'w')


def say(text=''):
    print(text, file=terminal, flush=True)


def picture(cells):
    return '|' + ''.join(cells.get(i, '-') for i in range(SIZE // CELL)) + '|'


def cells_of(ranges):
    return {i: 'X' for off, length in ranges
            for i in range(off // CELL, (off + length - 1) // CELL + 1)}


def letters_of(data):
    """Of each cell the youngest letter that is really there."""
    return {i: chr(max(data[i * CELL:(i + 1) * CELL:4 * KiB]))
            for i in range(SIZE // CELL) if any(data[i * CELL:(i + 1) * CELL:
                                                     4 * KiB])}


def mib(ranges):
    return f'{sum(n for _, n in ranges) / MiB:.1f} MiB'


class Guest:
    """Writes at full speed, eight requests in flight, in the part of the disk
    that it is told to, and remembers what it wrote."""

    def __init__(self):
        self.memory = bytearray(SIZE)
        self.rng = random.Random(1)
        self.work = None            # (letter, first byte, end)
        self.count = 0
        self.at_rest = None         # to be called with nothing in flight
        self.rested = threading.Event()
        self.stopping = False
        self.error = None

    def start(self, client):
        self.client, self.stopping = client, False
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping = True
        self.thread.join()
        if self.error:
            raise self.error
        self.client.flush()
        self.client.disconnect()

    def writes(self, letter, first, last):
        """From now on `letter`, into the cells first..last."""
        self.work = letter, first * CELL, (last + 1) * CELL

    def instant(self, call):
        """Calls between two writes; returns the hash of the disk then."""
        self.rested.clear()
        self.at_rest = call
        self.rested.wait()
        if self.error:
            raise self.error
        return self.hash_then

    def wait_for(self, count):
        end = self.count + count
        while self.count < end and not self.error:
            threading.Event().wait(0.005)

    def _write(self, busy):
        letter, first, end = self.work
        length = self.rng.choice((4, 4, 4, 16, 64, 256)) * KiB
        off = self.rng.randrange(first, end - length + 1, 4 * KiB)
        if any(off < o + n and o < off + length for o, n in busy.values()):
            return
        data = (letter.encode() + self.rng.randbytes(15)) * (length // 16)
        busy[self.client.submit(CMD.WRITE, off, length, data)] = (off, length)
        self.memory[off:off + length] = data

    def _reap(self, busy):
        cookie, result = self.client.reap()
        busy.pop(cookie)
        if result is not None:
            raise result
        self.count += 1

    def _main(self):
        busy = {}
        try:
            while not self.stopping:
                while len(busy) < 8:
                    self._write(busy)
                self._reap(busy)
                if self.at_rest:
                    while busy:
                        self._reap(busy)
                    self._rest()
            while busy:
                self._reap(busy)
        except Exception as e:
            self.error = e
            self.rested.set()

    def _rest(self):
        self.hash_then = hashlib.sha256(self.memory).hexdigest()
        self.letters_then = letters_of(self.memory)
        self.at_rest()
        self.at_rest = None
        self.rested.set()


class Demo:
    def __init__(self):
        self.disk = create('disk.qcow2', SIZE, cluster_size=CLUSTER)
        self.guest = Guest()
        self.moments = []           # (name, hash, image that restores it)

    def daemon(self):
        qsd = StorageDaemon()
        qsd.disk('disk', self.disk)
        qsd.nbd_start()
        qsd.export('disk', 'vda', writable=True)
        return qsd

    def target(self, qsd, name, base):
        image = path(name)
        if base:
            img('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base,
                image)
        else:
            create(name, SIZE)
        qsd.disk('target', image, backing=None)
        return image

    def show(self, name, image, ranges=None):
        """The disk at the moment, the bitmap, and what the backup holds by
        itself, without its base."""
        raw = path('own.raw')
        img('convert', '-O', 'raw', 'json:' + json.dumps(
            {'driver': 'qcow2', 'backing': None,
             'file': {'driver': 'file', 'filename': image}}), raw)
        with open(raw, 'rb') as f:
            own = letters_of(f.read())
        os.unlink(raw)
        say(f'  disk    {picture(self.guest.letters_then)}')
        if ranges is not None:
            say(f'  dirty   {picture(cells_of(ranges))}  {mib(ranges)}')
        say(f'  {name:7} {picture(own)}')

    def push(self, qsd, title, name, base, old, new, then):
        """One backup job, its bitmap and the next one in one transaction;
        `then` is what the guest does from that moment on."""
        say(f'\n{title}')
        image = self.target(qsd, name, base)
        actions = [('block-dirty-bitmap-add',
                    {'node': 'disk', 'name': new, 'persistent': True})]
        job = {'job-id': name, 'device': 'disk', 'target': 'target',
               'sync': 'full', 'speed': 64 * MiB}
        dirty = None
        if old:
            job.update({'sync': 'bitmap', 'bitmap': old,
                        'bitmap-mode': 'never'})
            actions.append(('block-dirty-bitmap-disable',
                            {'node': 'disk', 'name': old}))
        actions.append(('blockdev-backup', job))

        def begin():
            qsd.transaction(*actions)
            self.guest.writes(*then)

        moment = self.guest.instant(begin)
        before = self.guest.count
        qsd.qmp.job_end(name)
        during = self.guest.count - before
        qsd.undisk('target')
        if old:
            dirty = qsd.dirty('disk', old)
        say(f'  while it ran, the guest completed {during} more writes')
        self.show('copied', image, dirty)
        self.moments.append((title, moment, image))
        return image

    def pull(self, qsd, title, name, base, old, new, then):
        """The guest's old data go to a scratch image; a client reads the dirty
        ranges of the disk as it was, over NBD."""
        say(f'\n{title}')
        client_image = path(name)
        img('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base,
            client_image)
        # What the guest overwrites goes here; all else is read from the disk.
        qsd.disk('overlay', create('overlay.qcow2', SIZE), backing='disk')
        job = ('blockdev-backup', {'job-id': 'fleece', 'device': 'disk',
                                   'target': 'overlay', 'sync': 'none'})

        def begin():
            qsd.transaction(
                ('block-dirty-bitmap-add', {'node': 'disk', 'name': new,
                                            'persistent': True}),
                ('block-dirty-bitmap-disable', {'node': 'disk',
                                                'name': old}), job)
            self.guest.writes(*then)

        moment = self.guest.instant(begin)
        before = self.guest.count
        qsd.export('overlay', 'pull',
                   bitmaps=[{'node': 'disk', 'name': old}])
        context = f'qemu:dirty-bitmap:{old}'
        reader = qsd.nbd('pull', contexts=[context])
        dirty = [(o, n) for o, n, f in reader.extents(context) if f]
        with Restored(client_image) as out:
            for off, length in dirty:
                out.write(off, reader.read(off, length))
        during = self.guest.count - before
        reader.disconnect()
        qsd.unexport('pull')
        qsd.cmd('block-job-cancel', device='fleece')
        qsd.event('BLOCK_JOB_CANCELLED', device='fleece')
        qsd.undisk('overlay')
        say(f'  while it was read, the guest completed {during} more writes')
        self.show('pulled', client_image, dirty)
        self.moments.append((title, moment, client_image))
        return client_image

    def run(self):
        guest = self.guest
        qsd = self.daemon()
        say(f'A picture is the disk of {SIZE // MiB} MiB, {CELL // MiB} MiB a '
            'letter: the youngest one that is there.\n\n'
            'T0: a new disk; the guest begins to write A, and never stops. '
            'From T1 on it\n    writes B, from T2 on C, from T3 on D, each '
            'in other places.')
        guest.writes('A', 0, 11)
        guest.start(qsd.nbd('vda'))
        guest.wait_for(300)
        full = self.push(qsd, 'T1: full backup; bitmap B1 starts',
                         'full.qcow2', None, None, 'B1', ('B', 6, 18))

        guest.wait_for(300)
        inc = self.push(qsd, 'T2: incremental backup since T1, pushed; '
                        'bitmap B2 starts', 'inc.qcow2', full, 'B1', 'B2',
                        ('C', 16, 21))

        guest.wait_for(200)
        guest.stop()
        qsd.quit()
        say('\nThe daemon ends and starts again; the bitmaps are in the image:')
        for b in img('info', '--output=json', self.disk).json()[
                'format-specific']['data']['bitmaps']:
            say(f'  {b["name"]}: '
                f'{"recording" if "auto" in b["flags"] else "stands still"}')
        qsd = self.daemon()
        guest.start(qsd.nbd('vda'))
        guest.wait_for(200)
        self.pull(qsd, 'T3: incremental backup since T2, pulled over NBD; '
                  'bitmap B3 starts', 'pull.qcow2', inc, 'B2', 'B3',
                  ('D', 3, 9))
        guest.wait_for(100)
        guest.stop()
        qsd.quit()
        return self.prove()

    def prove(self):
        say('\nThe proof: each chain restored, against the disk at that '
            'moment')
        good = True
        last = hashlib.sha256(self.guest.memory).hexdigest()
        for title, moment, image in self.moments + [
                ('now: the disk itself', last, self.disk)]:
            raw = path('restored.raw')
            img('convert', '-f', 'qcow2', '-O', 'raw', image, raw)
            with open(raw, 'rb') as f:
                found = hashlib.sha256(f.read()).hexdigest()
            os.unlink(raw)
            good &= found == moment
            name = title.split(':')[0]
            say(f'  {name:3}  restored {found[:24]}  disk {moment[:24]}  '
                f'{"equal" if found == moment else "DIFFERENT"}')
        checked = img('check', '-q', self.disk, rc=None)
        good &= checked.code == 0
        say(f'  the image of the disk: {"sound" if not checked.code else checked.all}')
        say(f'\n{self.guest.count} writes, none lost. '
            'Every backup is the disk at its moment.'
            if good else '\nA BACKUP IS WRONG')
        return 0 if good else 1


class Restored:
    """The image that a pulling client writes: through an NBD server of its own,
    as a backup tool would."""

    def __init__(self, image):
        self.qsd = StorageDaemon()
        self.qsd.disk('image', image)
        self.qsd.nbd_start()
        self.qsd.export('image', 'image', writable=True)
        self.client = NbdClient(self.qsd.nbd_path, 'image')

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.client.flush()
        self.client.disconnect()
        self.qsd.quit()


try:
    code = Demo().run()
except BaseException:
    sys.stdout.flush()
    with open(path('log')) as log:
        say(''.join(log.readlines()[-40:]))
    raise
sys.exit(code)
