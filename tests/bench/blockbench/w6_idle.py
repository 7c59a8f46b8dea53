# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W6: what a daemon costs when nothing happens, and how fast it is there."""

import os
import time

from . import limits
from .core import scratch
from .procs import (Nbdkit, StorageDaemon, context_switches, cpu_seconds,
                    memory_breakdown, peak_rss_mib, status_fields)
from .qcow2_writer import GIB, Qcow2Writer

TABLES = [
    ("W6s start to the first QMP reply", ["wall_s", "cpu_s", "rss_mib"],
     "qemu-storage-daemon started, connected to, qmp_capabilities answered.  "
     "limit: starting and ending a program that does nothing."),
    ("W6i idle", ["private_mib", "rss_now_mib", "wakeups_s", "cpu_ms_per_s",
                  "rss_mib"],
     "each export: a 10 GiB qcow2 with one persistent bitmap, writable.  "
     "limit: nbdkit with its memory plugin, one export."),
]


def starting(bench):
    def start(side, rep):
        with StorageDaemon(side, bench.memory) as daemon:
            return {"wall_s": daemon.startup_s, "cpu_s": daemon.cpu(),
                    "rss_mib": peak_rss_mib(daemon.pid)}
    bench.compare("W6s/no nodes", start, lambda rep: limits.spawn(),
                  reps=5 if bench.quick else 25)


def idle_figures(pid, cpu_of, seconds):
    time.sleep(0.3)
    switches, cpu = context_switches(pid), cpu_of()
    start = time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - start
    memory = memory_breakdown(pid)
    return {"wakeups_s": (context_switches(pid) - switches) / span,
            "cpu_ms_per_s": (cpu_of() - cpu) * 1000 / span,
            "rss_now_mib": memory["rss_mib"],
            "private_mib": memory["private_mib"],
            "rss_mib": peak_rss_mib(pid),
            "threads": int(status_fields(pid)["Threads"])}


def idling(bench):
    seconds = 0.7 if bench.quick else 3
    for count in (0, 1, 64):
        paths = [os.path.join(bench.memory, f"w6-{i}") for i in range(count)]

        def idle(side, rep):
            with StorageDaemon(side, bench.memory) as daemon:
                start = time.perf_counter()
                for i, path in enumerate(paths):
                    daemon.add_qcow2(f"disk{i}", path)
                    daemon.export(f"disk{i}", writable=True)
                if count:
                    bench.results.add(
                        f"W6s/adding {count} disk{'s' * (count > 1)} with "
                        "exports over QMP", side.letter, rep,
                        {"wall_s": time.perf_counter() - start})
                return idle_figures(daemon.pid, daemon.cpu, seconds)

        def nbdkit(rep):
            with Nbdkit(bench.memory, ["memory", "1G"]) as kit:
                return idle_figures(kit.pid, lambda: cpu_seconds(kit.pid),
                                    seconds)

        with scratch(*paths):
            for path in paths:
                image = Qcow2Writer(path, 10 * GIB)
                image.add_bitmap("bitmap0")
                image.close()
            bench.compare(f"W6i/{count} export" + "s" * (count != 1), idle,
                          nbdkit if count == 1 else None,
                          reps=min(bench.reps, 2))


def run(bench):
    starting(bench)
    idling(bench)
