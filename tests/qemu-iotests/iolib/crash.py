# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Crashes: a daemon that is killed under write load, and what must be true of
its image afterwards.

A block of the model has a history: the versions that were sent since it was
last known, oldest first, and the place in it that the last acknowledged flush
covers. After the crash a block holds one of the versions from there on, or,
where clusters are smaller than blocks, each of its clusters does."""

import random
import threading

from . import env
from .daemon import StorageDaemon
from .expect import fail, true
from .model import content
from .nbd import CMD
from .qcow2 import Qcow2
from .tools import create, img, no_image_check, run
from .writer import fill_block

__all__ = ['CrashModel', 'seeded']

BLOCK, BLOCKS = 4096, 2048


class CrashModel:
    """An image that is killed again and again; `zero_flags` are those of its
    zero requests: with NO_HOLE no cluster is ever freed."""

    def __init__(self, cluster, zero_flags, rng):
        self.rng, self.zero_flags, self.cluster = rng, zero_flags, cluster
        name = f'c{cluster}.qcow2'
        self.image = create(name, BLOCKS * BLOCK, cluster_size=cluster)
        no_image_check(name)            # leaks are what a crash may leave
        img('bitmap', '--add', self.image, 'b')
        self.history = {b: [bytes(BLOCK)] for b in range(BLOCKS)}
        self.flushed = dict.fromkeys(range(BLOCKS), 0)
        self.seq = 0

    def round(self, longest=0.25):
        """Serve, write, die, look."""
        qsd = StorageDaemon()
        qsd.disk('d', self.image)
        if qsd.bitmaps('d').get('b', {}).get('inconsistent'):
            qsd.cmd('block-dirty-bitmap-remove', node='d', name='b')
            qsd.bitmap('d', 'b', persistent=True)
        qsd.nbd_start()
        qsd.export('d', writable=True)
        self.flushed = dict.fromkeys(range(BLOCKS), 0)
        killer = threading.Timer(self.rng.uniform(0.02, longest),
                                 qsd.process.kill)
        killer.start()
        try:
            self._load(qsd.nbd('d'))
        except (ConnectionError, OSError):
            pass
        killer.join()
        qsd.kill()
        self._look()

    def _load(self, client):
        while True:
            batch = set()
            for block in set(self.rng.sample(range(BLOCKS),
                                             self.rng.randint(1, 16))):
                batch.add(self._send(client, block))
            while batch:
                cookie, result = client.reap()
                if result is not None:
                    raise result
                batch.remove(cookie)
            if self.rng.random() < 0.3:
                client.flush()
                self.flushed = {b: len(h) - 1
                                for b, h in self.history.items()}

    def _send(self, client, block):
        if self.rng.random() < 0.15:
            self.history[block].append(bytes(BLOCK))
            return client.submit(CMD.WRITE_ZEROES, block * BLOCK, BLOCK,
                                 flags=self.zero_flags)
        self.seq += 1
        self.history[block].append(fill_block(self.seq))
        return client.submit(CMD.WRITE, block * BLOCK, BLOCK,
                             self.history[block][-1])

    def _look(self):
        for checker in {env.PEER_IMG, env.QEMU_IMG} - {None}:
            r = run(checker, 'check', self.image, rc=None)
            true(r.code in (0, 3), f'corruption: {r}')
        q = Qcow2(self.image)
        true(all(q.in_use(n) for n in q.bitmaps), 'bitmaps are in use')
        data = content(self.image)
        for b in range(BLOCKS):
            block = data[b * BLOCK:(b + 1) * BLOCK]
            self._judge(b, block, self.history[b][self.flushed[b]:])
            self.history[b] = [block]

    def _judge(self, b, block, allowed):
        step = min(self.cluster, BLOCK)
        for at in range(0, BLOCK, step):
            if not any(block[at:at + step] == v[at:at + step]
                       for v in allowed):
                fail(f'block {b} holds {block[at:at + 16].hex()} at {at}, '
                     f'flushed was {allowed[0][:16].hex()}, since then came '
                     f'{[v[:16].hex() for v in allowed[1:]]}')


def seeded():
    """A generator whose seed stands in the log."""
    seed = random.randrange(1 << 30)
    print('seed', seed)
    return random.Random(seed)
