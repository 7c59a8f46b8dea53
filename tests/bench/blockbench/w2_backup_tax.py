# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W2: what a running backup costs the guest, and how long the backup takes.

A guest writes 4k at random places at a steady rate.  Its latencies are looked
at in three spans: before the backup, during a full push backup
(blockdev-backup to a qcow2), and during a pull backup (copy-before-write with
a scratch image, the snapshot read by nbdcopy).  Both are timed without a
guest, too.
"""

import os
import time

from . import load
from .core import scratch
from .procs import BenchError, StorageDaemon, peak_rss_mib, run_tool
from .qcow2_writer import GIB, MIB, empty_image, full_image, write_noise

METRICS = ["p99_us", "p50_us", "p999_us", "max_us", "iops"]
TABLES = [
    ("W2l guest write latency around a backup", METRICS,
     "limit: the same guest load on a raw file, no backup.  IOPS: what the "
     "guest got of the 2000 (memory) or 1000 (disk) a second it asks for."),
    ("W2d duration of the backup itself, under that load",
     ["job_s", "cpu_s", "rss_mib"],
     "limit: copying the same data with dd (push) or reading it (pull)."),
    ("W2i duration of the backup without a guest",
     ["job_s", "cpu_s", "rss_mib"],
     "limit: as above; the pull goes through a socket to nbdcopy, the limit "
     "does not."),
]


def add_snapshot(daemon, target):
    """The state of "disk" as "snapshot"; guests write to "cbw" from now on."""
    daemon.qmp.cmd("blockdev-add", {
        "driver": "copy-before-write", "node-name": "cbw",
        "file": "disk", "target": target})
    daemon.qmp.cmd("blockdev-add", {
        "driver": "snapshot-access", "node-name": "snapshot", "file": "cbw"})


class Setting:
    def __init__(self, bench, word, folder, options, size, rate, calm):
        self.bench = bench
        self.word = word
        self.folder = folder
        self.options = options
        self.direct = bool(options)
        self.size = size
        self.rate = rate
        self.calm = calm  # seconds watched before the backup
        self.paths = {s.letter: os.path.join(folder, "w2-disk-" + s.letter)
                      for s in (bench.a, bench.b)}
        self.target = os.path.join(folder, "w2-target")
        self.raw = os.path.join(folder, "w2-raw")

    def note(self, kind, side, rep, samples, start, end):
        self.bench.results.add(
            f"W2l/{self.word} {kind}", side, rep,
            load.percentiles(samples, start, end))

    def writer(self, target, rep):
        return load.SteadyWriter(target, self.size, self.rate, self.folder,
                                 direct=self.direct
                                 and not target.startswith("nbd"),
                                 seed=100 + rep)

    def guest_alone(self, uri, rep):
        """Latencies of a guest on this export while nothing else goes on."""
        writer = self.writer(uri, rep)
        try:
            time.sleep(0.6)
            start = time.time()
            time.sleep(self.calm)
            end = time.time()
            return writer.stop(), start, end
        finally:
            writer.abandon()

    def raw_file(self, rep):
        samples, start, end = self.guest_alone(self.raw, rep)
        for kind in ("no backup", "push backup", "no backup, filter in place",
                     "pull backup"):
            self.note(kind, "limit", rep, samples, start, end)

    def push(self, side, rep):
        with StorageDaemon(side, self.folder) as daemon:
            daemon.add_qcow2("disk", self.paths[side.letter], self.options)
            uri = daemon.export("disk", writable=True)
            empty_image(self.target, self.size)
            daemon.add_qcow2("target", self.target, self.options)
            writer = self.writer(uri, rep)
            try:
                time.sleep(0.6)
                calm = time.time()
                time.sleep(self.calm)
                cpu = daemon.cpu()
                start = time.time()
                daemon.qmp.cmd("blockdev-backup", {
                    "job-id": "backup", "device": "disk", "target": "target",
                    "sync": "full"})
                daemon.qmp.wait_job("backup")
                end = time.time()
                cpu = daemon.cpu() - cpu
                samples = writer.stop()
            finally:
                writer.abandon()
            figures = {"job_s": end - start, "cpu_s": cpu,
                       "rss_mib": peak_rss_mib(daemon.pid)}
            daemon.unexport("disk")
        written = os.stat(self.target).st_blocks * 512
        if written < self.size * 0.98:
            raise BenchError(f"backup target holds only {written} bytes")
        self.bench.results.add(f"W2d/{self.word} push backup", side.letter,
                               rep, figures)
        self.note("no backup", side.letter, rep, samples, calm, start)
        self.note("push backup", side.letter, rep, samples, start, end)

    def pull(self, side, rep):
        with StorageDaemon(side, self.folder) as daemon:
            daemon.add_qcow2("disk", self.paths[side.letter], self.options)
            empty_image(self.target, self.size)
            daemon.add_qcow2("scratch", self.target, self.options)
            add_snapshot(daemon, "scratch")
            uri = daemon.export("cbw", writable=True)
            snapshot = daemon.export("snapshot")
            writer = self.writer(uri, rep)
            try:
                time.sleep(0.6)
                calm = time.time()
                time.sleep(self.calm)
                cpu = daemon.cpu()
                start = time.time()
                load.nbdcopy(snapshot)
                end = time.time()
                cpu = daemon.cpu() - cpu
                samples = writer.stop()
            finally:
                writer.abandon()
            figures = {"job_s": end - start, "cpu_s": cpu,
                       "rss_mib": peak_rss_mib(daemon.pid)}
            for name in ("snapshot", "cbw"):
                daemon.unexport(name)
        self.bench.results.add(f"W2d/{self.word} pull backup", side.letter,
                               rep, figures)
        self.note("no backup, filter in place", side.letter, rep, samples,
                  calm, start)
        self.note("pull backup", side.letter, rep, samples, start, end)

    def alone(self, side, rep, kind, run):
        """run(daemon) with a disk and an empty image, and nobody else."""
        with StorageDaemon(side, self.folder) as daemon, \
                scratch(self.target):
            daemon.add_qcow2("disk", self.paths[side.letter], self.options)
            empty_image(self.target, self.size)
            daemon.add_qcow2("target", self.target, self.options)
            cpu = daemon.cpu()
            start = time.time()
            run(daemon)
            self.bench.results.add(
                f"W2i/{self.word} {kind} backup", side.letter, rep,
                {"job_s": time.time() - start, "cpu_s": daemon.cpu() - cpu,
                 "rss_mib": peak_rss_mib(daemon.pid)})

    def idle(self, side, rep):
        def push(daemon):
            daemon.qmp.cmd("blockdev-backup", {
                "job-id": "backup", "device": "disk", "target": "target",
                "sync": "full"})
            daemon.qmp.wait_job("backup")

        def pull(daemon):
            add_snapshot(daemon, "target")
            load.nbdcopy(daemon.export("snapshot"))
            daemon.unexport("snapshot")

        self.alone(side, rep, "push", push)
        self.alone(side, rep, "pull", pull)

    def copy_limit(self, rep):
        flags = ["iflag=direct", "oflag=direct"] if self.direct else []
        copy = run_tool(["dd", f"if={self.raw}", f"of={self.target}", "bs=4M",
                         *flags], rss=False)
        read = run_tool(["dd", f"if={self.raw}", "of=/dev/null", "bs=4M",
                         *flags[:1]], rss=False)
        for table in ("W2d", "W2i"):
            for kind, figures in (("push", copy), ("pull", read)):
                self.bench.results.add(
                    f"{table}/{self.word} {kind} backup", "limit", rep,
                    {"job_s": figures["wall_s"], "cpu_s": figures["cpu_s"]})

    def run(self, reps):
        bench = self.bench
        with scratch(self.raw, self.target, *self.paths.values()):
            for path in self.paths.values():
                full_image(path, self.size)
            with open(self.raw, "wb") as f:
                write_noise(f.fileno(), 0, self.size)
            os.sync()
            for rep in range(reps):
                with bench.attempt(f"W2l/{self.word} raw", "limit"), \
                        bench.memory_to_fill(), scratch(self.target):
                    self.raw_file(rep)
                    self.copy_limit(rep)
                for kind in (self.push, self.pull, self.idle):
                    for side in bench.order(rep):
                        with bench.attempt(
                                f"W2d/{self.word} {kind.__name__} backup",
                                side), bench.memory_to_fill(), \
                                scratch(self.target):
                            kind(side, rep)
                bench.log(f"W2 {self.word} rep {rep}")


DIRECT = {"aio": "io_uring", "cache": {"direct": True}}


def run(bench):
    if bench.quick:
        Setting(bench, "memory", bench.memory, {}, 512 * MIB, 2000, 0.5).run(1)
        return
    Setting(bench, "memory", bench.memory, {}, 2 * GIB, 2000, 1.5).run(
        bench.reps)
    Setting(bench, "disk", bench.disk, DIRECT, 4 * GIB, 1000, 1.5).run(
        bench.reps)
