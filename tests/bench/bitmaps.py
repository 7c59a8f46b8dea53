#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Bitmaps of a 16 TiB disk at 64 KiB: what commands, opening, closing and tools take.

    bitmaps.py [--disk FOLDER] [--reps N] FOLDER_OF_BINARIES...

For each folder three columns: the median, the best, and the CPU's part of the
median, in milliseconds; memory in MiB.  The last line is what the memory takes for
a copy of the 32 MiB of bits of such a bitmap.  Images are written by blockbench/qcow2_writer.py."""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from blockbench.qcow2_writer import Qcow2Writer, random_bits, scattered_bits  # noqa: E402

SIZE, GRANULE = 1 << 44, 1 << 16
P = 'block-dirty-bitmap-'


class Daemon:
    """A storage daemon, its monitor, its account."""

    def __init__(self, folder, work):
        os.environ.setdefault('BLOCK_LOOP', 'epoll')    # writes are counted
        path = os.path.join(work, 'q')
        if os.path.exists(path):
            os.unlink(path)
        self.p = subprocess.Popen([
            os.path.join(folder, 'qemu-storage-daemon'), '--chardev',
            f'socket,id=m,path={path},server=on,wait=on', '--monitor',
            'chardev=m'], stderr=subprocess.DEVNULL)
        self.s = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.s.connect(path)
                break
            except OSError:
                time.sleep(0.005)
        self.f = self.s.makefile()
        self.f.readline()
        self.cmd('qmp_capabilities')

    def cpu(self):
        """Milliseconds that its threads have run."""
        spent = 0
        for task in os.listdir(f'/proc/{self.p.pid}/task'):
            with open(f'/proc/{self.p.pid}/task/{task}/schedstat',
                      encoding='ascii') as f:
                spent += int(f.read().split()[0])
        return spent / 1e6

    def cmd(self, command, **arguments):
        """(milliseconds, of which it ran)."""
        message = json.dumps({'execute': command, 'arguments': {
            k.replace('_', '-'): v for k, v in arguments.items()}})
        cpu, began = self.cpu(), time.perf_counter()
        self.s.sendall(message.encode() + b'\n')
        while True:
            line = self.f.readline()
            if '"return"' in line or '"error"' in line:
                break
        span = (time.perf_counter() - began) * 1e3
        if '"error"' in line:
            raise SystemExit(f'{command}: {line}')
        return span, self.cpu() - cpu

    def has(self, command):
        self.s.sendall(b'{"execute": "query-commands"}\n')
        return f'"{command}"' in self.f.readline()

    def job(self, command, **arguments):
        """(milliseconds, of which it ran) until a job is gone."""
        cpu, began = self.cpu(), time.perf_counter()
        self.cmd(command, job_id='j', **arguments)
        while '"status": "null"' not in self.f.readline():
            pass
        return (time.perf_counter() - began) * 1e3, self.cpu() - cpu

    def memory(self):
        with open(f'/proc/{self.p.pid}/smaps_rollup', encoding='ascii') as f:
            for line in f:
                if line.startswith('Private_Dirty'):
                    return int(line.split()[1]) / 1024
        return 0

    def written(self):
        with open(f'/proc/{self.p.pid}/io', encoding='ascii') as f:
            return int(f.read().split('wchar: ')[1].split()[0])

    def open(self, image):
        self.cmd('blockdev-add', driver='file', node_name='f', filename=image)
        return self.cmd('blockdev-add', driver='qcow2', node_name='d',
                        file='f')

    def quit(self):
        self.s.sendall(b'{"execute": "quit"}\n')
        self.p.wait()


def image(path, **bitmaps):
    if os.path.exists(path):
        os.unlink(path)
    w = Qcow2Writer(path, SIZE)
    for name, data in bitmaps.items():
        w.add_bitmap(name, data, auto=name.startswith('on'))
    w.close()


def commands(folder, work, add, data):
    path = os.path.join(work, 'i')
    image(path, dense=data['dense'], sparse=data['sparse'],
          other=data['other'])
    d = Daemon(folder, work)
    d.open(path)
    d.cmd(P + 'add', node='d', name='w', disabled=True)
    for _ in range(5):
        add('an empty command', d.cmd('query-version'))
    for kind in ('sparse', 'dense'):
        def merge():
            return d.cmd(P + 'merge', node='d', target='w', bitmaps=[kind])
        add(f'load and merge {kind} into empty', merge())
        for _ in range(3):
            add(f'merge {kind} into {kind}', merge())
        add(f'clear {kind}', d.cmd(P + 'clear', node='d', name='w'))
        add(f'merge {kind} into empty', merge())
        if kind == 'dense':
            other = {'node': 'd', 'target': 'w', 'bitmaps': ['other']}
            d.cmd('x-debug-block-dirty-bitmap-sha256', node='d', name='other')
            add('merge dense into another dense', d.cmd(P + 'merge', **other))
        d.cmd(P + 'clear', node='d', name='w')
    d.quit()


def opening(folder, work, add, data):
    path = os.path.join(work, 'i')
    for count, kind in ((1, 'sparse'), (8, 'sparse'), (8, 'dense')):
        image(path, **{f'on{i}': data[kind] for i in range(count)})
        d = Daemon(folder, work)
        before = d.memory()
        what = f'{count} {kind}'
        add(f'open, {what}', d.open(path))
        add(f'memory after it, {what} (MiB)', (d.memory() - before, None))
        wrote = d.written()
        add(f'close, {what}', d.cmd('blockdev-del', node_name='d'))
        add(f'written by it, {what} (KiB)', ((d.written() - wrote) / 1024, None))
        d.quit()


def memory(folder, work, add, data):
    path = os.path.join(work, 'i')
    for kind in ('sparse', 'dense'):
        image(path, b=data[kind])
        d = Daemon(folder, work)
        d.open(path)
        before = d.memory()
        d.cmd('x-debug-block-dirty-bitmap-sha256', node='d', name='b')
        add(f'memory of a {kind} bitmap (MiB)', (d.memory() - before, None))
        d.quit()


def populate(folder, work, add, data):
    """1 GiB of data beside the same, and the tables of 1 TiB; QEMU can't."""
    one, two, table = (os.path.join(work, n) for n in ('one', 'two', 'table'))
    for path in (one, two):
        with open(path, 'wb') as f:
            for _ in range(1024):
                f.write(b'data' * (1 << 18))
    subprocess.run([os.path.join(folder, 'qemu-img'), 'create', '-q', '-f',
                    'qcow2', '-o', 'preallocation=metadata', table, '1T'],
                   check=True)
    d = Daemon(folder, work)
    if not d.has(P + 'populate'):
        d.quit()
        return
    for name, driver, path in (('one', 'raw', one), ('two', 'raw', two),
                               ('table', 'qcow2', table)):
        d.cmd('blockdev-add', driver=driver, node_name=name, file={
            'driver': 'file', 'filename': path})
        d.cmd(P + 'add', node=name, name='b', disabled=True)
    for what, node, more in (
            ('populate 1 GiB, non-zero', 'one', {'pattern': 'non-zero'}),
            ('populate 1 GiB, difference', 'one', {
                'pattern': 'difference', 'base-node': 'two'}),
            ('populate 1 TiB, allocation', 'table', {
                'pattern': 'allocation-top'})):
        add(what, d.job(P + 'populate', node=node, name='b', **more))
    d.quit()
    before, began = tool_cpu(), time.perf_counter()
    subprocess.run(['cmp', one, two], check=True)
    add('cmp, 1 GiB', ((time.perf_counter() - began) * 1e3,
                       tool_cpu() - before))
    for path in (one, two, table):
        os.unlink(path)


def tool_cpu():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (u.ru_utime + u.ru_stime) * 1e3


def tools(folder, work, add, data):
    path = os.path.join(work, 'i')

    def img(*args):
        before, began = tool_cpu(), time.perf_counter()
        subprocess.run([os.path.join(folder, 'qemu-img'), *args], check=True,
                       stdout=subprocess.DEVNULL)
        return ((time.perf_counter() - began) * 1e3, tool_cpu() - before)

    image(path, dense=data['dense'])
    add('qemu-img info, dense', img('info', '-f', 'qcow2', path))
    add('qemu-img bitmap --add, dense', img('bitmap', '-f', 'qcow2', '--add',
                                            path, 'new'))
    add('qemu-img bitmap --merge dense', img('bitmap', '-f', 'qcow2',
                                             '--merge', 'dense', path, 'new'))
    add('qemu-img bitmap --remove dense', img('bitmap', '-f', 'qcow2',
                                              '--remove', path, 'new'))


def cell(samples):
    if not samples:
        return f'{"n/a":>30}'
    wall, cpu = [w for w, _ in samples], [c for _, c in samples]
    text = f'{statistics.median(wall):10.2f}{min(wall):10.2f}'
    return text + (f'{statistics.median(cpu):10.2f}' if cpu[0] is not None
                   else f'{"":10}')


def copy_bits(data):
    began = time.perf_counter()
    bytearray(data)
    return (time.perf_counter() - began) * 1e3


def main():
    p = argparse.ArgumentParser()
    p.add_argument('folders', nargs='+')
    p.add_argument('--disk', default='/dev/shm')
    p.add_argument('--reps', type=int, default=5)
    args = p.parse_args()
    work = tempfile.mkdtemp(prefix='bm-', dir=args.disk)
    data = {'dense': random_bits(SIZE // GRANULE),
            'other': random_bits(SIZE // GRANULE, seed=2),
            'sparse': scattered_bits(SIZE // GRANULE, 1000)}
    table = {}
    try:
        for _ in range(args.reps):
            for i, folder in enumerate(args.folders):
                def add(what, value):
                    table.setdefault(what, [[] for _ in args.folders])[
                        i].append(value)
                for part in (commands, opening, memory, tools, populate):
                    part(folder, work, add, data)
    finally:
        shutil.rmtree(work)
    print(f'{"median, best, CPU":38}' + ''.join(f'{f[-24:]:>30}'
                                                for f in args.folders))
    for what, columns in table.items():
        print(f'{what:38}' + ''.join(map(cell, columns)))
    copied = min(copy_bits(data['dense']) for _ in range(9))
    print(f'{"a copy of the dense bits":38}{copied:10.2f}')


main()
