# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W4: reading a disk and its dirty bitmap over NBD, as a backup client does."""

import os

from . import limits, load
from .core import scratch
from .nbd_walk import walk
from .procs import BenchError, Nbdkit, StorageDaemon, peak_rss_mib, run_tool
from .qcow2_writer import (GIB, MIB, TIB, Qcow2Writer, alternating_bits,
                           full_image, write_noise)

TABLES = [
    ("W4s block status of a whole disk", ["wall_s", "cpu_s", "rss_mib"],
     "server: waiting for the server only, with a client that does next to "
     "nothing; nbdinfo: the whole of nbdinfo --map; CPU is the server's.  "
     "limit: moving as many bytes through a unix socket."),
    ("W4r reading a disk in page cache with nbdcopy to null:",
     ["mib_s", "cpu_s", "rss_mib"],
     "limit: dd from a raw file; nbdkit: its file plugin on the raw file."),
]


def block_status(bench):
    fragmented = (4 if bench.quick else 64) * GIB
    path = os.path.join(bench.memory, "w4-bitmap")
    plain = os.path.join(bench.memory, "w4-fragmented")
    granule = 65536
    with scratch(path, plain):
        image = Qcow2Writer(path, TIB)
        image.add_bitmap("since", alternating_bits(fragmented // granule),
                         auto=False)
        image.close()
        # Every other cluster allocated over the first 16 GiB.
        mapped = (1 if bench.quick else 16) * GIB
        image = Qcow2Writer(plain, TIB)
        for at in range(0, mapped, 2 * granule):
            image.map_run(at, granule)
        image.close()
        for name, file, context, flagged, extents in (
                ("dirty bitmap, 1 TiB, every other granule of the first "
                 f"{fragmented // GIB} GiB", path, "qemu:dirty-bitmap:since",
                 fragmented // 2, fragmented // granule),
                ("allocation, 1 TiB, every other cluster of the first "
                 f"{mapped // GIB} GiB", plain, "base:allocation",
                 TIB - mapped // 2, mapped // granule)):

            def measure(side, rep):
                with StorageDaemon(side, bench.memory) as daemon:
                    daemon.add_qcow2("disk", file, **{"read-only": True})
                    uri = daemon.export("disk", bitmaps=["since"] if "bitmap"
                                        in context else [])
                    cpu = daemon.cpu()
                    figures = walk(daemon.nbd_socket, "disk", context)
                    figures["cpu_s"] = daemon.cpu() - cpu
                    if figures["flagged_bytes"] != flagged:
                        raise BenchError(
                            f"{figures['flagged_bytes']} flagged bytes, not "
                            f"{flagged}")
                    if figures["extents"] != extents:
                        raise BenchError(f"{figures['extents']} extents, not "
                                         f"{extents}")
                    figures["rss_mib"] = peak_rss_mib(daemon.pid)
                    bench.results.add(f"W4s/server: {name}", side.letter, rep,
                                      figures)
                    cpu = daemon.cpu()
                    figures = run_tool(["nbdinfo", f"--map={context}", uri],
                                       rss=False)
                    figures["cpu_s"] = daemon.cpu() - cpu
                    figures["rss_mib"] = peak_rss_mib(daemon.pid)
                    bench.results.add(f"W4s/nbdinfo: {name}", side.letter,
                                      rep, figures)
            for rep, side in bench.rounds(bench.reps + 2):
                with bench.attempt(f"W4s/server: {name}", side):
                    measure(side, rep)
                span = limits.socket_bytes(8 * extents)
                bench.results.add(f"W4s/server: {name}", "limit", rep,
                                  {"wall_s": span})
            bench.log(f"W4 block status, {name}")


def reading(bench):
    size = (512 * MIB if bench.quick else 2 * GIB)
    path = os.path.join(bench.memory, "w4-full")
    raw = os.path.join(bench.memory, "w4-raw")
    copy = os.path.join(bench.memory, "w4-copy")
    with scratch(path, raw):
        full_image(path, size)
        with open(raw, "wb") as f:
            write_noise(f.fileno(), 0, size)

        def speed(figures, pid=None, cpu=0):
            return {"mib_s": size / MIB / figures["wall_s"],
                    "cpu_s": cpu,
                    "rss_mib": peak_rss_mib(pid) if pid else None}

        for connections in (1, 4):
            def measure(side, rep):
                with StorageDaemon(side, bench.memory) as daemon:
                    daemon.add_qcow2("disk", path, **{"read-only": True})
                    uri = daemon.export("disk")
                    if bench.judging(rep) and connections == 1:
                        with scratch(copy):
                            load.nbdcopy(uri, connections, copy)
                            limits.compare_files(raw, copy)
                    cpu = daemon.cpu()
                    figures = load.nbdcopy(uri, connections)
                    return speed(figures, daemon.pid, daemon.cpu() - cpu)

            def dd(rep):
                return speed(run_tool(["dd", f"if={raw}", "of=/dev/null",
                                       "bs=1M"], rss=False))

            def nbdkit(rep):
                with Nbdkit(bench.memory, ["-r", "file", raw]) as kit:
                    return speed(load.nbdcopy(kit.uri, connections))

            bench.compare(f"W4r/{connections} connection"
                          + "s" * (connections > 1), measure, dd, nbdkit,
                          reps=None if bench.quick else bench.reps + 2)


def run(bench):
    block_status(bench)
    reading(bench)
