# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A QMP client over a Unix socket."""

import json
import socket
import time

from . import env
from .expect import fail

__all__ = ['QMP', 'QMPError', 'hyphens']


class QMPError(Exception):
    """An error reply."""

    def __init__(self, error):
        super().__init__(f'{error["class"]}: {error["desc"]}')
        self.cls, self.desc = error['class'], error['desc']


def hyphens(arguments):
    """node_name='x' is what Python can spell of {"node-name": "x"}."""
    return {k.replace('_', '-'): v for k, v in arguments.items()}


class QMP:
    """One session.  `events` holds what has come and was not asked for."""

    def __init__(self, path, negotiate=True, timeout=20):
        self.timeout = timeout * env.slow()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self._connect(path)
        self.buf = b''
        self.events = []
        self.greeting = self.receive()
        if negotiate:
            self.cmd('qmp_capabilities')

    def _connect(self, path):
        end = time.monotonic() + self.timeout
        while True:
            try:
                return self.sock.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    # -- bytes and messages

    def send_raw(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self, timeout=None):
        """The next message, None at the end of the stream."""
        self.sock.settimeout(timeout or self.timeout)
        while b'\n' not in self.buf:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buf += data
        line, self.buf = self.buf.split(b'\n', 1)
        print('<-', line.decode(errors='replace').strip()[:2000])
        return json.loads(line)

    def reply(self):
        """The next message that is no event."""
        while True:
            message = self.receive()
            if message is None:
                fail('the monitor closed the connection')
            if 'event' not in message:
                return message
            self.events.append(message)

    def raw(self, data):
        """Send bytes, return the reply as it is."""
        self.send_raw(data)
        return self.reply()

    # -- commands

    def execute(self, command, arguments=None):
        message = {'execute': command}
        if arguments is not None:
            message['arguments'] = arguments
        print('->', json.dumps(message)[:2000])
        reply = self.raw(json.dumps(message) + '\n')
        if 'error' in reply:
            raise QMPError(reply['error'])
        return reply['return']

    def cmd(self, command, /, **arguments):
        """Run a command: its return value, or QMPError."""
        return self.execute(command, hyphens(arguments) or None)

    def error(self, command, /, **arguments):
        """Run a command that must fail: (class, description)."""
        return self.error_of(command, hyphens(arguments) or None)

    def error_of(self, command, arguments=None):
        try:
            result = self.execute(command, arguments)
        except QMPError as e:
            return e.cls, e.desc
        return fail(f'{command} must fail, it returned {result!r}')

    def transaction(self, *actions, **properties):
        """Actions are ('type', {data}) pairs."""
        arguments = {'actions': [{'type': t, 'data': d} for t, d in actions]}
        if properties:
            arguments['properties'] = hyphens(properties)
        return self.execute('transaction', arguments)

    # -- events

    def event(self, name, timeout=None, **data):
        """Wait for the first event of this name whose data has these members;
        it is taken out of `events`."""
        data = hyphens(data)
        end = time.monotonic() + (timeout * env.slow() if timeout
                                  else self.timeout)

        def fits(e):
            return e['event'] == name and \
                all(e.get('data', {}).get(k) == v for k, v in data.items())

        while True:
            for i, e in enumerate(self.events):
                if fits(e):
                    return self.events.pop(i)
            left = end - time.monotonic()
            if left <= 0:
                fail(f'no event {name} {data}; seen: {self.events}')
            try:
                message = self.receive(left)
            except TimeoutError:
                continue
            if message is None:
                fail(f'the connection ended before event {name}')
            if 'event' not in message:
                fail(f'a reply nobody asked for: {message}')
            self.events.append(message)

    def quiet(self, seconds=0.05):
        """Take in what comes within that time, return all pending events."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                message = self.receive(left)
            except TimeoutError:
                break
            if message is None:
                break
            self.events.append(message)
        found, self.events = self.events, []
        return found

    def job_end(self, job, error=None):
        """Wait for BLOCK_JOB_COMPLETED of a job; it must have ended so."""
        e = self.event('BLOCK_JOB_COMPLETED', device=job)['data']
        if e.get('error') != error:
            fail(f'job {job} ended with {e}, error {error!r} expected')
        return e

    def close(self):
        self.sock.close()
