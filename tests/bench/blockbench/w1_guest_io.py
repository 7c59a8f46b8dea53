# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W1: guest I/O through an NBD export of a local qcow2 image.

Depth 1 runs with load and server on one CPU: on a virtual machine a wake-up
of another CPU costs more than the whole request, and would hide the
difference between two servers.  Depth 32 gives the load a CPU of its own.
"""

import contextlib
import os

from . import load
from .core import scratch
from .procs import (Nbdkit, StorageDaemon, peak_rss_mib, pin_process,
                    reset_peak_rss)
from .qcow2_writer import GIB, MIB, empty_image, full_image, write_noise

METRICS = ["iops", "p50_us", "p99_us", "cpu_us_op", "rss_mib"]
TABLES = [
    ("W1m guest I/O over NBD, image in memory (tmpfs, page cache, "
     "aio=threads)", METRICS,
     "limit: fio with io_uring on a raw file; nbdkit: its file plugin on the "
     "same raw file.  For fresh images, limit and nbdkit overwrite."),
    ("W1d guest I/O over NBD, image on disk (cache.direct=on, "
     "aio=io_uring)", METRICS,
     "limit: fio with io_uring and O_DIRECT on a raw file that is already "
     "allocated."),
]

READS = [("4k", "randread"), ("64k", "read")]
WRITES = [("4k", "randwrite"), ("64k", "write")]
DISK_OPTIONS = {"aio": "io_uring", "cache": {"direct": True}}


class Medium:
    def __init__(self, bench, word, folder, options, size, seconds, shrink):
        self.bench = bench
        self.word = word
        self.folder = folder
        self.options = options
        self.size = size
        self.fresh_size = 64 * GIB
        self.seconds = seconds
        self.shrink = shrink
        self.raw = os.path.join(folder, "w1-raw")
        self.images = {s.letter: os.path.join(folder, "w1-full-" + s.letter)
                       for s in (bench.a, bench.b)}

    def case(self, kind, block, rw, depth, bitmaps):
        name = f"{self.word}/{kind} {block} {rw} qd{depth}"
        if "write" in rw:
            name += f" {bitmaps} bitmap" + "s" * (bitmaps != 1)
        return name

    def place(self, pid, depth):
        """Put the server on its CPUs; returns the load's."""
        pin_process(pid, self.bench.load_cpus if depth == 1
                    else self.bench.server_cpus)
        return self.bench.load_cpus

    def load_daemon(self, daemon, uri, block, rw, depth, size, **options):
        cpus = self.place(daemon.pid, depth)
        reset_peak_rss(daemon.pid)
        before = daemon.cpu()
        figures = load.fio(uri, rw, block, depth, size, cpus=cpus, **options)
        figures["cpu_us_op"] = ((daemon.cpu() - before) / figures["ios"]
                                * 1e6)
        figures["rss_mib"] = peak_rss_mib(daemon.pid)
        return figures

    def mapped(self, rep, count, depths):
        """Reads, and writes over what is there, with new bitmaps."""
        bench = self.bench
        first = count == 0
        with contextlib.ExitStack() as stack:
            daemons = {}
            for side in bench.order(rep):
                with bench.attempt(f"{self.word}/mapped, {count} bitmaps",
                                   side):
                    daemon = stack.enter_context(
                        StorageDaemon(side, self.folder))
                    daemon.add_qcow2("disk", self.images[side.letter],
                                     self.options)
                    for i in range(count):
                        daemon.add_bitmap("disk", f"bitmap{i}")
                    daemons[side] = daemon, daemon.export("disk",
                                                          writable=True)
            kit = None
            if first and self.word == "W1m":
                with bench.attempt(self.word + "/nbdkit", "other"):
                    kit = stack.enter_context(
                        Nbdkit(self.folder, ["file", self.raw]))
            for block, rw in (READS if first else []) + WRITES:
                for depth in depths:
                    case = self.case("mapped", block, rw, depth, count)
                    if first:
                        self.references(case, rep, kit, block, rw, depth)
                    else:
                        self.same_references(case, rep, block, rw, depth)
                    for side in bench.order(rep):
                        if side not in daemons:
                            continue
                        daemon, uri = daemons[side]
                        with bench.attempt(case, side):
                            bench.results.add(
                                case, side.letter, rep, self.load_daemon(
                                    daemon, uri, block, rw, depth, self.size,
                                    seconds=self.seconds))
            for daemon, _ in daemons.values():
                daemon.unexport("disk")
                for i in range(count):
                    daemon.qmp.cmd("block-dirty-bitmap-remove", {
                        "node": "disk", "name": f"bitmap{i}"})

    def references(self, case, rep, kit, block, rw, depth):
        bench = self.bench
        with bench.attempt(case, "limit"):
            bench.results.add(case, "limit", rep, load.fio(
                self.raw, rw, block, depth, self.size, seconds=self.seconds,
                direct=self.word == "W1d", cpus=bench.load_cpus))
        if kit:
            with bench.attempt(case, "other"):
                bench.results.add(case, "other", rep, load.fio(
                    kit.uri, rw, block, depth, self.size,
                    seconds=self.seconds, cpus=self.place(kit.pid, depth)))

    def fresh(self, rep, count, depths):
        """A fixed number of writes that all allocate."""
        bench = self.bench
        path = os.path.join(self.folder, "w1-fresh")
        for block, rw in WRITES:
            for depth in depths:
                case = self.case("fresh", block, rw, depth, count)
                amount = ({"ios": (6000 if depth == 1 else 16000)
                           // self.shrink} if block == "4k"
                          else {"io_size": 512 * MIB // self.shrink})
                for side in bench.order(rep):
                    with bench.attempt(case, side), bench.memory_to_fill(), \
                            scratch(path):
                        empty_image(path, self.fresh_size)
                        with StorageDaemon(side, self.folder) as daemon:
                            daemon.add_qcow2("disk", path, self.options)
                            for i in range(count):
                                daemon.add_bitmap("disk", f"bitmap{i}")
                            uri = daemon.export("disk", writable=True)
                            figures = self.load_daemon(
                                daemon, uri, block, rw, depth,
                                self.fresh_size, **amount)
                        bench.results.add(case, side.letter, rep, figures)
                self.same_references(case, rep, block, rw, depth)

    def same_references(self, case, rep, block, rw, depth):
        """The limits do not depend on the image; they were taken once."""
        taken = self.case("mapped", block, rw, depth, 0)
        for who in ("limit", "other"):
            value = self.bench.results.sample(taken, "iops", who, rep)
            self.bench.results.add(case, who, rep, {"iops": value})

    def run(self, reps, bitmap_counts, depths=(1, 32)):
        with scratch(self.raw, *self.images.values()):
            fd = os.open(self.raw, os.O_RDWR | os.O_CREAT)
            write_noise(fd, 0, self.size)
            os.fsync(fd)
            os.close(fd)
            for path in self.images.values():
                full_image(path, self.size)
                os.sync()
            for rep in range(reps):
                for count in bitmap_counts:
                    self.mapped(rep, count, depths)
                    if count in (min(bitmap_counts), max(bitmap_counts)):
                        self.fresh(rep, count, depths)
                    self.bench.log(f"{self.word} rep {rep}, {count} bitmaps")


def run(bench):
    if bench.quick:
        Medium(bench, "W1m", bench.memory, {}, 256 * MIB, 0.2, 10).run(
            1, [0, 8], [32])
        return
    Medium(bench, "W1m", bench.memory, {}, GIB, 0.7, 1).run(
        bench.reps + 1, [0, 1, 8, 64])
    Medium(bench, "W1d", bench.disk, DISK_OPTIONS, GIB, 0.8, 1).run(
        bench.reps, [0, 1])
