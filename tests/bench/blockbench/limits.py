# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What the machine itself can do: the references for 'close to the limit'."""

import hashlib
import mmap
import os
import re
import shutil
import socket
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from .procs import BenchError, run_tool


class Ballast:
    """Memory kept warm for the next run.

    In a virtual machine whose host takes back free pages, the first touch of
    a page is many times dearer than the next.  So memory is held, and let go
    just before a run that fills memory.
    """

    def __init__(self, gib):
        self.size = int(gib * (1 << 30))
        self.area = None
        self.hold()

    def hold(self):
        if self.size and not self.area:
            self.area = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE
                                  | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
            self.area.madvise(mmap.MADV_DONTFORK)

    def drop(self):
        if self.area:
            self.area.close()
            self.area = None


def spawn():
    """Starting and ending a program that does nothing."""
    return run_tool(["true"], rss=False)["wall_s"]


def best_of(count, function, *args):
    return min(function(*args) for _ in range(count))


def timed(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def copy_bytes(length):
    """One pass of memcpy over this many bytes."""
    source, target = bytearray(length), bytearray(length)
    view = memoryview(target)

    def once():
        view[:] = source
    once()
    return best_of(3, timed, once)


def clear_bytes(length):
    """One pass of memset over this many bytes."""
    import ctypes
    area = ctypes.create_string_buffer(length)
    return best_of(3, timed, ctypes.memset, area, 0, length)


def sha256_bytes(length):
    data = bytes(length)
    return best_of(2, timed, hashlib.sha256, data)


def read_file_bytes(folder, length):
    """Reading a cached file of this length."""
    path = os.path.join(folder, "limit-read")
    with open(path, "wb") as f:
        f.write(b"x" * length)
    area = bytearray(length)

    def once():
        with open(path, "rb", buffering=0) as f:
            f.readinto(area)
    once()
    result = best_of(3, timed, once)
    os.unlink(path)
    return result


def write_file_bytes(folder, length):
    """Writing a file of this length over, without waiting for the disk."""
    path = os.path.join(folder, "limit-write")
    data = b"x" * length

    def once():
        with open(path, "r+b" if os.path.exists(path) else "wb",
                  buffering=0) as f:
            f.write(data)
    once()
    result = best_of(3, timed, once)
    os.unlink(path)
    return result


def socket_bytes(length):
    """Moving this many bytes through a unix socket between two processes."""
    near, far = socket.socketpair()
    child = os.fork()
    if not child:
        near.close()
        block = bytes(1 << 20)
        left = length
        try:
            far.recv(1)
            while left:
                left -= far.send(block[:min(left, len(block))])
        finally:
            os._exit(0)
    far.close()
    area = bytearray(1 << 20)
    time.sleep(0.01)
    start = time.perf_counter()
    near.send(b"!")
    while near.recv_into(area):
        pass
    result = time.perf_counter() - start
    os.waitpid(child, 0)
    near.close()
    return result


def zlib_on_all_cpus(path, data_length):
    """Deflating the clusters that hold data, with all CPUs, no output."""
    fd = os.open(path, os.O_RDONLY)

    def work(span):
        at, end = span
        while at < end:
            data = os.pread(fd, 65536, at)
            z = zlib.compressobj(6, zlib.DEFLATED, -12, 9)
            z.compress(data)
            z.flush()
            at += 65536
    spans = [(at, at + n) for at, n in data_spans(fd, 1 << 20)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        start = time.perf_counter()
        list(pool.map(work, spans))
        result = time.perf_counter() - start
    os.close(fd)
    return result


def zstd_on_all_cpus(path, data_length):
    """From the zstd program's own benchmark of 64 KiB blocks, one CPU."""
    if not shutil.which("zstd"):
        return None
    sample = path + ".zstd-sample"
    fd = os.open(path, os.O_RDONLY)
    at = os.lseek(fd, 0, os.SEEK_DATA)
    length = min(32 << 20, os.lseek(fd, at, os.SEEK_HOLE) - at)
    with open(sample, "wb") as f:
        f.write(os.pread(fd, length, at))
    os.close(fd)
    done = subprocess.run(["zstd", "-b3", "-i1", "-B64KB", sample],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.unlink(sample)
    # The first figure is the speed of compressing.
    found = re.search(r"([\d.]+) MB/s", done.stdout.decode())
    if not found:
        raise BenchError("zstd benchmark gave no figure")
    return data_length / (float(found[1]) * 1e6 * os.cpu_count())


def data_spans(fd, step):
    """The parts of a sparse file that hold data, in pieces."""
    at, length = 0, os.fstat(fd).st_size
    while at < length:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        while at < end:
            yield at, min(step, end - at)
            at += step
        at = end


def compare_files(one, two):
    """Comparing the data of two sparse files of the same shape."""
    start = time.perf_counter()
    left, right = bytearray(1 << 18), bytearray(1 << 18)
    with open(one, "rb", buffering=0) as f, open(two, "rb", buffering=0) as g:
        for at, length in data_spans(f.fileno(), len(left)):
            os.preadv(f.fileno(), [left], at)
            os.preadv(g.fileno(), [right], at)
            if left != right:
                raise BenchError("files differ")
    return time.perf_counter() - start
