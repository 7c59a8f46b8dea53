# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""NBD servers in Python that a test leads: what the driver asks, and the requests that a
server of ours carries out below it, are seen here, and answered when the test wants
them to be."""

import socket
import struct
import threading
import time

from . import env
from .expect import fail
from .nbd import CMD, FLAG, OPT, REP

__all__ = ['FakeNbd', 'HeldNbd', 'MemoryNbd']

IHAVEOPT, REPLY = 0x49484156454f5054, 0x3e889045565a9


class FakeNbd(threading.Thread):
    """A listener and the halves of a conversation; `run` is the heirs'."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(place)
        self.listener.listen(10)
        self.start()

    def take(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def option(self, option, kind, data=b''):
        self.s.sendall(struct.pack('>QIII', REPLY, option, kind, len(data)) +
                       data)

    def handshake(self, size):
        """With the next client: one export, without structured replies."""
        self.s, _ = self.listener.accept()
        self.s.sendall(b'NBDMAGIC' + struct.pack('>QH', IHAVEOPT, 3))
        self.take(4)
        while True:
            _, option, n = struct.unpack('>QII', self.take(16))
            self.take(n)
            if option != OPT.GO:
                self.option(option, REP.ERR_UNSUP)
                continue
            self.offer(size)
            self.option(option, REP.ACK)
            return

    def offer(self, size):
        """What the answer to GO says."""
        self.option(OPT.GO, REP.INFO,
                    struct.pack('>HQH', 0, size, FLAG.HAS_FLAGS |
                                FLAG.SEND_FLUSH | FLAG.SEND_FUA))

    def whole_request(self):
        """The next one: (kind, cookie, offset, length, data)."""
        _, _, kind, cookie, off, n = struct.unpack('>IHHQQI', self.take(28))
        return kind, cookie, off, n, \
            self.take(n) if kind == CMD.WRITE else b''

    def request(self):
        """The same with the first byte only."""
        *head, data = self.whole_request()
        return *head, data[:1]

    def answer(self, kind, cookie, n, error=0, data=None):
        self.s.sendall(struct.pack('>IIQ', 0x67446698, error, cookie) +
                       (data or bytes(n) if kind == CMD.READ and not error
                        else b''))


class HeldNbd(FakeNbd):
    """Holds every request until it is released: how many there are is how many
    whoever is above it carries out at the same time."""

    def __init__(self, place, size):
        self.size, self.held, self.holds = size, [], True
        self.news = threading.Condition()
        super().__init__(place)

    def run(self):
        while True:
            self.handshake(self.size)
            try:
                while True:
                    r = self.request()
                    if r[0] == CMD.DISC:
                        break
                    with self.news:
                        self.held.append(r)
                        self.news.notify_all()
                        if not self.holds:
                            self._answer_held(1)
            except (EOFError, OSError):
                pass
            self.s.close()

    def wait_held(self, n, moment=0.2):
        """Exactly n come: no fewer, and in a moment more no more of them."""
        with self.news:
            self.news.wait_for(lambda: len(self.held) >= n, 20 * env.slow())
        time.sleep(moment)
        if len(self.held) != n:
            fail(f'{len(self.held)} requests at the same time, not {n}')

    def _answer_held(self, n):
        for kind, cookie, _, length, _ in self.held[:n]:
            self.answer(kind, cookie, length)
        del self.held[:n]

    def release(self, n):
        """Answers the first n of them."""
        with self.news:
            self._answer_held(n)

    def hold(self, holds):
        """Whether it does from now on; if not, all that are held are answered."""
        with self.news:
            self.holds = holds
            if not holds:
                self._answer_held(len(self.held))


class MemoryNbd(FakeNbd):
    """A disk in memory, of any length; flushes end with an error on demand."""

    def __init__(self, place, data, flush_error=0):
        self.data, self.flush_error = bytearray(data), flush_error
        super().__init__(place)

    def run(self):
        while True:
            self.handshake(len(self.data))
            try:
                self._serve()
            except (EOFError, OSError):
                pass
            self.s.close()

    def _serve(self):
        while True:
            kind, cookie, off, n, data = self.whole_request()
            if kind == CMD.DISC:
                return
            beyond = off + n > len(self.data)
            if kind == CMD.WRITE and not beyond:
                self.data[off:off + n] = data
            error = 22 if beyond else \
                self.flush_error if kind == CMD.FLUSH else 0
            self.answer(kind, cookie, n, error, bytes(self.data[off:off + n]))
