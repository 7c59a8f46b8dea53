# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A guest that writes without a pause, and what follows from it.

A Writer is a thread with one NBD connection per disk and several requests in
flight.  Every write fills whole blocks with its own sequence number, which no
other Writer of the test uses, and no two writes in flight touch one block, so a
block's versions are totally ordered, each with the moment it was sent and the
moment it was acknowledged.

A copy of the disks is *one point in time* if a moment T exists such that every
version found in the copy was sent before T and every version that follows a
found one was acknowledged after T.  `assert_cut` proves just this, over any number of
disks, and that T lies between the sending of the command that made the copy and
its answer."""

import itertools
import random
import selectors
import struct
import threading
import time

from .expect import fail
from .nbd import CMD, NbdClient, NbdError

__all__ = ['Writer', 'assert_cut', 'assert_current', 'fill_block']

BLOCK = 4096


def fill_block(seq, count=1):
    return struct.pack('<Q', seq) * (BLOCK // 8 * count)


class _Write:
    __slots__ = ('seq', 'sent', 'acked')

    def __init__(self, seq, sent, acked):
        self.seq, self.sent, self.acked = seq, sent, acked


class Writer:
    """Writes to `exports`, a list of (address, export name)."""

    _numbers = itertools.count()

    def __init__(self, exports, depth=8, seed=1, blocks=16, hot=None,
                 pause=0.0):
        self.clients = [NbdClient(a, e) for a, e in exports]
        self.sizes = [c.size // BLOCK for c in self.clients]
        # versions[disk][block] = [_Write, ...], oldest first
        self.versions = [{} for _ in self.clients]
        self.depth, self.max_blocks, self.hot = depth, blocks, hot
        self.pause = pause
        self.rng = random.Random(seed)
        self.seq = next(self._numbers) << 32
        self.error = None
        self.done = 0
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._main, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        """Let what is in flight land, then end."""
        self._stop.set()
        self.thread.join(60)
        if self.thread.is_alive():
            fail('the writer hangs: a write was never answered')
        for c in self.clients:
            c.close()
        if self.error:
            raise self.error
        return self

    def wait_for(self, count, timeout=60):
        """Until so many more writes are acknowledged."""
        goal, end = self.done + count, time.monotonic() + timeout
        while self.done < goal:
            if self.error:
                raise self.error
            if time.monotonic() > end:
                fail(f'only {self.done} writes in {timeout} seconds')
            time.sleep(0.002)

    def _main(self):
        try:
            self._loop()
        except BaseException as e:      # handed to the test by stop()
            self.error = e

    def _loop(self):
        flying = [{} for _ in self.clients]     # cookie -> (first, count, w)
        busy = [set() for _ in self.clients]
        wait = selectors.DefaultSelector()
        for i, c in enumerate(self.clients):
            wait.register(c.sock, selectors.EVENT_READ, i)
        while True:
            if not self._stop.is_set():
                for i in range(len(self.clients)):
                    while len(flying[i]) < self.depth:
                        self._send(i, flying[i], busy[i])
            elif not any(flying):
                return
            for key, _ in wait.select(30):
                self._receive(key.data, flying[key.data], busy[key.data])
            if self.pause:
                time.sleep(self.pause)

    def _send(self, i, flying, busy):
        limit = min(self.sizes[i], self.hot or self.sizes[i])
        count = self.rng.randint(1, self.max_blocks)
        first = self.rng.randrange(max(1, limit - count))
        taken = range(first, first + count)
        while any(b in busy for b in taken):
            first = self.rng.randrange(limit)
            count, taken = 1, range(first, first + 1)
        busy.update(taken)
        self.seq += 1
        w = _Write(self.seq, time.monotonic(), None)
        for b in taken:
            self.versions[i].setdefault(b, []).append(w)
        cookie = self.clients[i].submit(CMD.WRITE, first * BLOCK,
                                        count * BLOCK,
                                        fill_block(w.seq, count))
        flying[cookie] = (taken, w)

    def _receive(self, i, flying, busy):
        client = self.clients[i]
        while flying:
            cookie, result = client.reap()
            if isinstance(result, NbdError):
                raise result
            taken, w = flying.pop(cookie)
            w.acked = time.monotonic()
            busy.difference_update(taken)
            self.done += 1
            if client.at == len(client.buf):
                return


def _found(versions, data, base, what):
    """Yield (index of the version a block holds, its versions); -1 is the
    content of before the first write."""
    # A copy: the writer may still be at work.
    for b, known in list(versions.items()):
        block = data[b * BLOCK:(b + 1) * BLOCK]
        seq, = struct.unpack('<Q', block[:8])
        if block == fill_block(seq) and seq:
            for i, w in enumerate(known):
                if w.seq == seq:
                    yield b, i, known
                    break
            else:
                if block != base(b):
                    fail(f'{what}: block {b} holds write {seq}, which never '
                         'went there')
                yield b, -1, known
        elif block == base(b):
            yield b, -1, known
        else:
            fail(f'{what}: block {b} is torn or holds foreign bytes')


def _base_of(initial, i):
    def base(b):
        if initial is None:
            return bytes(BLOCK)
        return initial[i][b * BLOCK:(b + 1) * BLOCK]
    return base


def assert_cut(writer, copies, before=None, after=None, initial=None):
    """`copies` (bytes per disk) are one point in time, which lies between
    `before` and `after`; blocks never written are as in `initial` (zeroes if
    not given)."""
    last_in, first_out = (0.0, ''), (float('inf'), '')
    for i, data in enumerate(copies):
        base = _base_of(initial, i)
        for b in range(writer.sizes[i]):
            if b not in writer.versions[i] and \
               data[b * BLOCK:(b + 1) * BLOCK] != base(b):
                fail(f'disk {i}: block {b} was never written, but changed')
        for b, at, known in _found(writer.versions[i], data, base,
                                   f'disk {i}'):
            if at >= 0 and known[at].sent > last_in[0]:
                last_in = (known[at].sent, f'disk {i} block {b}')
            if at + 1 < len(known):
                acked = known[at + 1].acked
                if acked is not None and acked < first_out[0]:
                    first_out = (acked, f'disk {i} block {b}')
    if last_in[0] > first_out[0]:
        fail(f'no point in time: the copy has {last_in[1]}, which was sent '
             f'{last_in[0] - first_out[0]:.6f} s after {first_out[1]}, which '
             'it lacks, had been acknowledged')
    if before is not None and first_out[0] < before:
        fail(f'{first_out[1]} was acknowledged before the command was sent, '
             'but is missing in the copy')
    if after is not None and last_in[0] > after:
        fail(f'{last_in[1]} was sent after the command had returned, but is '
             'in the copy')


def assert_current(writer, disks, initial=None):
    """The disks hold the last version of every block: no write was lost."""
    for i, data in enumerate(disks):
        for b, at, known in _found(writer.versions[i], data,
                                   _base_of(initial, i), f'disk {i}'):
            if at != len(known) - 1:
                fail(f'disk {i} block {b}: write {known[-1].seq} is lost')
