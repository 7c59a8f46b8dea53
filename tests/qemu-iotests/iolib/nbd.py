# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""An NBD client in plain Python: the handshake piece by piece, so that tests
can say what no good client says, and a transmission phase with any number of
requests in flight.

Numbers and layouts are those of the NBD protocol document: "Fixed newstyle
negotiation", "Option types", "Structured reply message"."""

import errno
import socket
import struct
import time

from . import env
from .expect import fail

__all__ = ['NbdClient', 'NbdError', 'Handshake', 'OPT', 'REP', 'CMD', 'FLAG',
           'merge_extents']


class OPT:
    EXPORT_NAME, ABORT, LIST, PEEK, STARTTLS, INFO, GO, STRUCTURED, \
        LIST_META, SET_META = range(1, 11)


class REP:
    ACK, SERVER, INFO, META = 1, 2, 3, 4
    ERR = 1 << 31
    ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_PLATFORM, ERR_TLS_REQD, \
        ERR_UNKNOWN, ERR_SHUTDOWN, ERR_BLOCK_SIZE, ERR_TOO_BIG = \
        [(1 << 31) + n for n in range(1, 10)]


class CMD:
    READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = \
        range(8)


class FLAG:
    """Transmission flags and command flags."""
    HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, ROTATIONAL, SEND_TRIM, \
        SEND_WRITE_ZEROES, SEND_DF, CAN_MULTI_CONN, SEND_RESIZE, SEND_CACHE, \
        SEND_FAST_ZERO = [1 << n for n in range(12)]
    CMD_FUA, CMD_NO_HOLE, CMD_DF, CMD_REQ_ONE, CMD_FAST_ZERO = \
        [1 << n for n in range(5)]


MAGIC, IHAVEOPT = b'NBDMAGIC', b'IHAVEOPT'
OPT_REPLY_MAGIC = 0x3e889045565a9
REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668e33ef
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 0, 1, 2, 5
CHUNK_ERROR = 1 << 15


class NbdError(Exception):
    """The server answered a request with an error."""

    def __init__(self, code, message=''):
        super().__init__(f'{errno.errorcode.get(code, code)} {message}')
        self.code, self.message = code, message


def merge_extents(extents):
    """Neighbours with equal flags become one; [(offset, length, flags)]."""
    merged = []
    for off, length, flags in extents:
        if merged and merged[-1][2] == flags and \
           merged[-1][0] + merged[-1][1] == off:
            merged[-1] = (merged[-1][0], merged[-1][1] + length, flags)
        else:
            merged.append((off, length, flags))
    return merged


class Handshake:
    """The negotiation, option by option."""

    def __init__(self, address, flags=3, timeout=20):
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self._connect(address, timeout)
        self.sock.settimeout(timeout * env.slow())
        self.magic = self.recv(8)
        self.opt_magic = self.recv(8)
        self.server_flags, = struct.unpack('>H', self.recv(2))
        if flags is not None:
            self.sock.sendall(struct.pack('>I', flags))

    def _connect(self, address, timeout):
        end = time.monotonic() + timeout
        while True:
            try:
                return self.sock.connect(address)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def recv(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise ConnectionResetError('the server hung up')
            data += part
        return bytes(data)

    def send_option(self, option, data=b'', magic=IHAVEOPT):
        self.sock.sendall(magic + struct.pack('>II', option, len(data)) + data)

    def option_reply(self):
        """(option, type, data)"""
        magic, option, kind, length = struct.unpack('>QIII', self.recv(20))
        if magic != OPT_REPLY_MAGIC:
            fail(f'bad magic of an option reply: {magic:#x}')
        return option, kind, self.recv(length)

    def option(self, option, data=b''):
        """Send an option, return [(type, data)] up to ACK or an error."""
        self.send_option(option, data)
        replies = []
        while True:
            echoed, kind, payload = self.option_reply()
            if echoed != option:
                fail(f'reply to option {echoed}, {option} was sent')
            replies.append((kind, payload))
            if kind == REP.ACK or kind & REP.ERR:
                return replies

    def structured(self):
        replies = self.option(OPT.STRUCTURED)
        return replies[-1][0] == REP.ACK

    def list(self):
        """The names of the exports with their descriptions."""
        found = []
        for kind, data in self.option(OPT.LIST):
            if kind == REP.SERVER:
                n, = struct.unpack('>I', data[:4])
                found.append((data[4:4 + n].decode(), data[4 + n:].decode()))
            elif kind != REP.ACK:
                raise NbdError(kind)
        return found

    @staticmethod
    def go_data(export, infos=()):
        name = export.encode()
        return struct.pack('>I', len(name)) + name + \
            struct.pack(f'>H{len(infos)}H', len(infos), *infos)

    @staticmethod
    def meta_data(export, queries):
        name = export.encode()
        data = struct.pack('>I', len(name)) + name
        data += struct.pack('>I', len(queries))
        for q in queries:
            data += struct.pack('>I', len(q.encode())) + q.encode()
        return data

    def meta(self, export, queries, option=OPT.SET_META):
        """{name: id} of the contexts that match."""
        found = {}
        replies = self.option(option, self.meta_data(export, queries))
        for kind, data in replies:
            if kind == REP.META:
                found[data[4:].decode()] = struct.unpack('>I', data[:4])[0]
            elif kind != REP.ACK:
                raise NbdError(kind, data.decode(errors='replace'))
        return found

    def info(self, export, infos=(3,), option=OPT.INFO):
        """{info type: payload} of OPT_INFO or OPT_GO."""
        found = {}
        for kind, data in self.option(option, self.go_data(export, infos)):
            if kind == REP.INFO:
                found[struct.unpack('>H', data[:2])[0]] = data[2:]
            elif kind != REP.ACK:
                raise NbdError(kind, data.decode(errors='replace'))
        return found

    def close(self):
        self.sock.close()


class NbdClient:
    """A connection in transmission.  `submit` sends, `reap` takes the next
    reply; the plain verbs do both.  The buffer that replies are parsed from
    is filled with large receives, so that a busy writer is not slow."""

    def __init__(self, address, export='', contexts=(), structured=True,
                 timeout=30):
        h = Handshake(address, timeout=timeout)
        self.sock = h.sock
        self.contexts = {}
        if structured and not h.structured():
            fail('the server refuses structured replies')
        if contexts:
            self.contexts = {i: n for n, i in
                             h.meta(export, list(contexts)).items()}
        infos = h.info(export, option=OPT.GO)
        self.size, self.flags = struct.unpack('>QH', infos[0])
        self.block_sizes = struct.unpack('>III', infos[3]) \
            if 3 in infos else None
        self.cookie = 0
        self.pending = {}
        self.buf = bytearray()
        self.at = 0

    # -- wire

    def _take(self, length):
        while len(self.buf) - self.at < length:
            if self.at:
                del self.buf[:self.at]
                self.at = 0
            data = self.sock.recv(max(1 << 18, length - len(self.buf)))
            if not data:
                raise ConnectionResetError('the server hung up')
            self.buf += data
        start = self.at
        self.at += length
        return bytes(self.buf[start:self.at])

    def submit(self, kind, off=0, length=0, data=b'', flags=0):
        """Send a request, return its cookie."""
        self.cookie += 1
        self.pending[self.cookie] = (kind, off, length)
        self.sock.sendall(struct.pack('>IHHQQI', REQUEST, flags, kind,
                                      self.cookie, off, length) + data)
        return self.cookie

    def reap(self):
        """Take the next complete reply: (cookie, result or NbdError)."""
        partial = {}
        while True:
            magic, = struct.unpack('>I', self._take(4))
            if magic == SIMPLE:
                error, cookie = struct.unpack('>IQ', self._take(12))
                kind, _, length = self.pending.pop(cookie)
                if error:
                    return cookie, NbdError(error)
                return cookie, (self._take(length) if kind == CMD.READ
                                else None)
            if magic != STRUCTURED:
                fail(f'bad magic of a reply: {magic:#x}')
            flags, kind, cookie, length = struct.unpack('>HHQI',
                                                        self._take(16))
            if cookie not in self.pending:
                fail(f'a reply to an unknown cookie {cookie}')
            self._chunk(partial.setdefault(cookie, {}), kind, cookie,
                        self._take(length))
            # Chunks of several replies may be interleaved: keep the others.
            self._stash(cookie, partial[cookie])
            if flags & 1:
                return cookie, self._finish(cookie)

    def _stash(self, cookie, part):
        request = self.pending[cookie]
        old = request[3] if len(request) > 3 else {}
        for key, value in part.items():
            if isinstance(value, list):
                old.setdefault(key, []).extend(value)
            else:
                old[key] = value
        part.clear()
        self.pending[cookie] = request[:3] + (old,)

    @staticmethod
    def _chunk(part, kind, cookie, data):
        if kind == CHUNK_DATA:
            off, = struct.unpack('>Q', data[:8])
            part['data'] = [(off, data[8:])]
        elif kind == CHUNK_HOLE:
            off, length = struct.unpack('>QI', data)
            part['data'] = [(off, bytes(length))]
        elif kind == CHUNK_STATUS:
            ident, = struct.unpack('>I', data[:4])
            numbers = struct.unpack(f'>{(len(data) - 4) // 4}I', data[4:])
            part['status'] = [(ident, list(zip(numbers[::2],
                                               numbers[1::2])))]
        elif kind & CHUNK_ERROR:
            code, n = struct.unpack('>IH', data[:6])
            part['error'] = NbdError(code, data[6:6 + n].decode())
        elif kind != CHUNK_NONE:
            fail(f'unknown chunk type {kind} for cookie {cookie}')

    def _finish(self, cookie):
        kind, off, length, part = self.pending.pop(cookie)
        if 'error' in part:
            return part['error']
        if kind == CMD.READ:
            out, seen = bytearray(length), 0
            for at, data in part.get('data', []):
                if at < off or at + len(data) > off + length:
                    fail('a data chunk outside of the request')
                out[at - off:at - off + len(data)] = data
                seen += len(data)
            if seen != length:
                fail(f'{seen} of {length} bytes in the chunks')
            return bytes(out)
        if kind == CMD.BLOCK_STATUS:
            return {self.contexts[i]: e for i, e in part.get('status', [])}
        return None

    def wait(self, cookie):
        """Take replies until this one comes; no other may be in flight."""
        got, result = self.reap()
        if got != cookie:
            fail(f'reply {got} came, {cookie} expected')
        if isinstance(result, NbdError):
            raise result
        return result

    # -- verbs

    def read(self, off, length, flags=0):
        return self.wait(self.submit(CMD.READ, off, length, flags=flags))

    def write(self, off, data, flags=0):
        return self.wait(self.submit(CMD.WRITE, off, len(data), data, flags))

    def zero(self, off, length, flags=0):
        return self.wait(self.submit(CMD.WRITE_ZEROES, off, length,
                                     flags=flags))

    def trim(self, off, length, flags=0):
        return self.wait(self.submit(CMD.TRIM, off, length, flags=flags))

    def cache(self, off, length):
        return self.wait(self.submit(CMD.CACHE, off, length))

    def flush(self):
        return self.wait(self.submit(CMD.FLUSH))

    def status(self, off, length, flags=0):
        """{context: [(length, flags)]}"""
        return self.wait(self.submit(CMD.BLOCK_STATUS, off, length,
                                     flags=flags))

    def extents(self, context):
        """[(offset, length, flags)] of a context over the whole export,
        neighbours merged."""
        found, at = [], 0
        while at < self.size:
            length = min(self.size - at, 1 << 31)
            start = at
            for n, flags in self.status(start, length)[context]:
                n = min(n, self.size - at)
                found.append((at, n, flags))
                at += n
            if at == start:
                fail(f'no progress of block status at {at}')
        return merge_extents(found)

    def read_all(self, step=1 << 20):
        """Yield (offset, bytes) over the whole export."""
        for off in range(0, self.size, step):
            yield off, self.read(off, min(step, self.size - off))

    def disconnect(self):
        """Say goodbye; the server closes."""
        self.submit(CMD.DISC)
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        self.sock.close()

    def close(self):
        self.sock.close()
