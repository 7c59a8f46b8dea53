# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W3: incremental backup, and dirty bitmaps of large disks."""

import contextlib
import os
import random
import statistics
import time

from . import limits, load
from .core import scratch
from .procs import (BenchError, QmpError, StorageDaemon, memory_breakdown,
                    peak_rss_mib)
from .qcow2_writer import (GIB, MIB, TIB, Qcow2Writer, empty_image,
                           random_bits, scattered_bits, write_noise)

DIRECT = {"aio": "io_uring", "cache": {"direct": True}}
GRANULE = 65536
SIZES = [("64 GiB", 64 * GIB), ("1 TiB", TIB), ("16 TiB", 16 * TIB)]

TABLES = [
    ("W3i incremental push backup of a 64 GiB disk",
     ["durable_s", "job_s", "cpu_s", "written_mib", "rss_mib"],
     "sync=bitmap of scattered 64 KiB granules, image and target on disk with "
     "cache.direct=on, aio=io_uring; the time runs until the target is closed."
     "  limit: fio reading and writing the same amount at once, 64 KiB, depth "
     "32, O_DIRECT."),
    ("W3b bitmap operations over QMP", ["wall_s"],
     "64 KiB granules; dense: coin flips, sparse: 1000 dirty granules.  "
     "limit: query-version, to which is added memset for clear, memcpy for "
     "merge, both for the transaction, SHA-256 of as many bytes for sha256."),
    ("W3o opening and closing an image with persistent bitmaps",
     ["wall_s", "cpu_s", "rss_mib", "rss_now_mib"],
     "blockdev-add and blockdev-del.  'RSS MiB' is the growth from before "
     "the opening, 'peak RSS' that of the daemon.  limit: reading (opening) "
     "or writing (closing) a cached file of the bitmaps' size, in memory."),
]


def dirty_disk(path, size, granules):
    """A disk on which these granules, and no others, hold data."""
    image = Qcow2Writer(path, size)
    bits = bytearray(size // GRANULE // 8)
    start = previous = None
    runs = []
    for g in granules:
        bits[g >> 3] |= 1 << (g & 7)
        if previous is None or g != previous + 1:
            if start is not None:
                runs.append((start, previous - start + 1))
            start = g
        previous = g
    runs.append((start, previous - start + 1))
    for first, count in runs:
        image.map_run(first * GRANULE, count * GRANULE, write_noise)
    image.add_bitmap("since", bytes(bits))
    image.close()


def incremental(bench):
    size = 64 * GIB
    shares = [0.001, 0.01] if bench.quick else [0.001, 0.01, 0.10]
    total = size // GRANULE
    source = os.path.join(bench.disk, "w3-source")
    target = os.path.join(bench.disk, "w3-target")
    for share in shares:
        count = int(total * share)
        case = f"W3i/{share * 100:g} % dirty ({count * GRANULE // MIB} MiB)"
        granules = sorted(random.Random(3).sample(range(total), count))

        def backup(side, rep):
            empty_image(target, size)
            with StorageDaemon(side, bench.disk) as daemon:
                daemon.add_qcow2("disk", source, DIRECT)
                daemon.add_qcow2("target", target, DIRECT)
                cpu = daemon.cpu()
                start = time.perf_counter()
                daemon.qmp.cmd("blockdev-backup", {
                    "job-id": "backup", "device": "disk", "target": "target",
                    "sync": "bitmap", "bitmap": "since",
                    "bitmap-mode": "never"})
                daemon.qmp.wait_job("backup")
                job = time.perf_counter() - start
                daemon.remove_qcow2("target")
                figures = {
                    "job_s": job,
                    "durable_s": time.perf_counter() - start,
                    "cpu_s": daemon.cpu() - cpu,
                    "rss_mib": peak_rss_mib(daemon.pid),
                    "written_mib": os.stat(target).st_blocks / 2048}
            if bench.judging(rep) and share < 0.05:
                bench.same_content(source, target)
            os.unlink(target)
            if figures["written_mib"] < count * GRANULE / MIB:
                raise BenchError("target too small: "
                                 f"{figures['written_mib']:.0f} MiB")
            return figures

        def both_ways(rep):
            return {"durable_s": load.read_and_write(
                source, target, count * GRANULE)}

        with scratch(source, target):
            dirty_disk(source, size, granules)
            os.sync()
            bench.compare(case, backup, both_ways,
                          reps=min(bench.reps, 2 if share > 0.05 else 9))


def operation_limit(qmp, name, length):
    noop = statistics.median(qmp.timed("query-version") for _ in range(20))
    extra = {"merge": [limits.copy_bytes], "clear": [limits.clear_bytes],
             "sha256": [limits.sha256_bytes],
             "transaction": [limits.copy_bytes, limits.clear_bytes]}
    return noop + sum(f(length) for f in extra.get(name.split()[0], []))


def operations(bench):
    sizes = SIZES[:2] if bench.quick else SIZES
    path = {s.letter: os.path.join(bench.memory, "w3-bitmaps-" + s.letter)
            for s in (bench.a, bench.b)}
    for label, size in sizes:
        granules = size // GRANULE
        dense = random_bits(granules)
        sparse = scattered_bits(granules, 1000)
        digests = {}

        def measure(side, rep):
            times = {}

            def take(name, command, args, again=1):
                spans = []
                for _ in range(again):
                    spans.append(daemon.qmp.timed(command, args))
                times[name] = statistics.median(spans)

            def bitmap(name, **more):
                return {"node": "disk", "name": name, **more}

            def same_digest(one, two):
                found = set()
                for name in (one, two):
                    with contextlib.suppress(QmpError):
                        found.add(daemon.qmp.cmd(
                            "x-debug-block-dirty-bitmap-sha256",
                            bitmap(name))["sha256"])
                if len(found) > 1:
                    raise BenchError("wrong content after merging")

            def merge(source):
                return {"node": "disk", "target": "work",
                        "bitmaps": [source]}

            with StorageDaemon(side, bench.memory) as daemon:
                daemon.add_qcow2("disk", path[side.letter])
                for what in ("first add", "add"):
                    take(what, "block-dirty-bitmap-add", bitmap(
                        "work" if what == "first add" else "spare",
                        persistent=True))
                take("disable", "block-dirty-bitmap-disable", bitmap("work"))
                for source in ("sparse", "dense"):
                    take(f"merge {source} into empty",
                         "block-dirty-bitmap-merge", merge(source))
                    take(f"merge {source} into {source}",
                         "block-dirty-bitmap-merge", merge(source), 3)
                    if rep == 0:
                        same_digest("work", source)
                    take(f"clear {source}", "block-dirty-bitmap-clear",
                         bitmap("work"))
                take("clear empty", "block-dirty-bitmap-clear",
                     bitmap("work"), 3)
                name = "transaction add+merge+clear"
                times[name] = daemon.qmp.timed("transaction", {"actions": [
                    {"type": "block-dirty-bitmap-add",
                     "data": bitmap("new", persistent=True)},
                    {"type": "block-dirty-bitmap-merge",
                     "data": {"node": "disk", "target": "new",
                              "bitmaps": ["dense"]}},
                    {"type": "block-dirty-bitmap-clear",
                     "data": bitmap("work")}]})
                take("remove", "block-dirty-bitmap-remove", bitmap("new"))
                for source in ("sparse", "dense"):
                    try:
                        spans = time.perf_counter()
                        reply = daemon.qmp.cmd(
                            "x-debug-block-dirty-bitmap-sha256",
                            bitmap(source))
                        times[f"sha256 {source}"] = (
                            time.perf_counter() - spans)
                        digests.setdefault(source, {})[side.label] = (
                            reply["sha256"])
                    except QmpError as e:
                        bench.results.error(f"W3b/{label}: sha256 {source}",
                                            side.letter, str(e))
                known = {c["name"] for c in daemon.qmp.cmd("query-commands")}
                if "block-dirty-bitmap-populate" in known:
                    start = time.perf_counter()
                    daemon.qmp.cmd("block-dirty-bitmap-populate", {
                        "job-id": "populate", "node": "disk", "name": "spare",
                        "pattern": "allocation-top"})
                    daemon.qmp.wait_job("populate")
                    times["populate"] = time.perf_counter() - start
                daemon.qmp.cmd("block-dirty-bitmap-remove", bitmap("work"))
                daemon.qmp.cmd("block-dirty-bitmap-remove", bitmap("spare"))
                for name, span in times.items():
                    bench.results.add(f"W3b/{label}: {name}", side.letter,
                                      rep, {"wall_s": span})
                if rep == 0 and side is bench.b:
                    for name in times:
                        bench.results.add(
                            f"W3b/{label}: {name}", "limit", 0,
                            {"wall_s": operation_limit(
                                daemon.qmp, name, granules // 8)})

        with scratch(*path.values()):
            for p in path.values():
                image = Qcow2Writer(p, size)
                image.add_bitmap("dense", dense, auto=False)
                image.add_bitmap("sparse", sparse, auto=False)
                image.close()
            for rep, side in bench.rounds(bench.reps * 3):
                with bench.attempt(f"W3b/{label}: (run)", side):
                    measure(side, rep)
            for source, found in digests.items():
                if len(set(found.values())) > 1:
                    bench.results.error(f"W3b/{label}: sha256 {source}",
                                        "A", f"digests differ: {found}")
        bench.log(f"W3 bitmap operations {label}")


def opening(bench):
    sizes = SIZES[:2] if bench.quick else SIZES
    path = os.path.join(bench.memory, "w3-open")
    for label, size in sizes:
        granules = size // GRANULE
        for count, kind in ((0, ""), (1, "sparse"), (1, "dense"),
                            (8, "dense")):
            name = f"{label}, " + (f"{count} {kind} bitmap" + "s" * (count > 1)
                                   if count else "no bitmaps")
            if count == 8 and bench.quick:
                continue
            data = (scattered_bits(granules, 1000) if kind == "sparse"
                    else random_bits(granules))

            def measure(side, rep):
                with StorageDaemon(side, bench.memory) as daemon:
                    before = memory_breakdown(daemon.pid)["rss_mib"]
                    cpu = daemon.cpu()
                    daemon.add_file("disk-file", path)
                    span = daemon.qmp.timed("blockdev-add", {
                        "driver": "qcow2", "node-name": "disk",
                        "file": "disk-file"})
                    cpu2 = daemon.cpu()
                    grown = memory_breakdown(daemon.pid)["rss_mib"] - before
                    bench.results.add(
                        f"W3o/open {name}", side.letter, rep, {
                            "wall_s": span, "cpu_s": cpu2 - cpu,
                            "rss_mib": peak_rss_mib(daemon.pid),
                            "rss_now_mib": max(grown, 0)})
                    found = daemon.qmp.cmd("query-named-block-nodes")
                    node = [n for n in found if n["node-name"] == "disk"][0]
                    have = len(node.get("dirty-bitmaps", []))
                    if have != count:
                        raise BenchError(f"{have} bitmaps after opening")
                    cpu = daemon.cpu()
                    span = daemon.qmp.timed("blockdev-del",
                                            {"node-name": "disk"})
                    bench.results.add(
                        f"W3o/close {name}", side.letter, rep, {
                            "wall_s": span, "cpu_s": daemon.cpu() - cpu,
                            "rss_mib": peak_rss_mib(daemon.pid)})

            with scratch(path):
                image = Qcow2Writer(path, size)
                for i in range(count):
                    image.add_bitmap(f"bitmap{i}", data)
                image.close()
                names = [f"bitmap{i}" for i in range(count)]
                digests = bench.bitmap_digests(path, names)
                for rep, side in bench.rounds(bench.reps * 2):
                    with bench.attempt(f"W3o/open {name}", side):
                        measure(side, rep)
                        if rep == 0 and digests != bench.bitmap_digests(
                                path, names):
                            raise BenchError("bitmaps changed by closing")
                if count:
                    length = max(1, len(data) * count
                                 if kind == "dense" else 65536)
                    bench.results.add(
                        f"W3o/open {name}", "limit", 0, {
                            "wall_s": limits.read_file_bytes(
                                bench.memory, length)})
                    bench.results.add(
                        f"W3o/close {name}", "limit", 0, {
                            "wall_s": limits.write_file_bytes(
                                bench.memory, length)})
        bench.log(f"W3 open and close {label}")


def run(bench):
    incremental(bench)
    operations(bench)
    opening(bench)
