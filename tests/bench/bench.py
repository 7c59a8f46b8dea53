#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Compare two folders of block-layer binaries in one interleaved run."""

import argparse
import os
import platform
import resource
import sys
import time
import traceback

from blockbench import (w1_guest_io, w2_backup_tax, w3_incremental, w4_nbd,
                        w5_tools, w6_idle)
from blockbench.core import Bench
from blockbench.procs import StorageDaemon

WORKLOADS = {"w1": w1_guest_io, "w2": w2_backup_tax, "w3": w3_incremental,
             "w4": w4_nbd, "w5": w5_tools, "w6": w6_idle}
TOOLS = ("qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon")


def cpu_use():
    """(busy CPU seconds of the machine, those of this run)"""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]
    own = sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
              for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy / os.sysconf("SC_CLK_TCK"), own


def enough_warm():
    """GiB; three times what a run fills, for others take of it meanwhile."""
    with open("/proc/meminfo") as f:
        kib = dict(line.split(":") for line in f)["MemAvailable"].split()[0]
    return min(6, int(kib) / (3 << 20))


def facts_of(bench, args):
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{os.cpu_count()} CPUs, {platform.release()}",
        "disk": args.disk, "memory": args.memory,
        "quick": args.quick, "reps": args.reps, "warm_gib": args.warm,
        "versions": {s.label: {t: s.version(t) for t in TOOLS}
                     for s in (bench.a, bench.b)},
        "load_average": os.getloadavg(),
    }


def markdown(bench, facts):
    a, b = bench.a, bench.b
    text = [f"# {a.label} (A) against {b.label} (B)", "",
            f"{facts['when']}, {facts['machine']}, "
            f"{'quick run' if facts['quick'] else 'full run'}, "
            f"{facts['reps']} repetitions, {facts.get('seconds', 0):.0f} s.",
            "", f"A: {a.version('qemu-img')}; B: {b.version('qemu-img')}.", "",
            "Figures are medians, limits the best seen. *A gain* is the "
            "median over repetitions of how many times better A is than B in "
            "the same repetition (above 1: A is better), with the lowest and "
            "highest in brackets; *at best* compares the best repetition of "
            "each. *A of limit* is the part of the machine's own limit that "
            "A reaches at best (1: at the limit). "
            "Errors are listed at the end.", "",
            "Other programs (and kernel threads) used this part of the "
            "machine's CPU time: " + ", ".join(
                f"{name} {share:.0%}" for name, share in
                facts.get("foreign_cpu", {}).items()) + ".", ""]
    for module in WORKLOADS.values():
        for title, metrics, note in getattr(
                module, "TABLES",
                [(getattr(module, "TITLE", ""),
                  getattr(module, "METRICS", []), None)]):
            table = bench.results.table(title, metrics, note)
            if table:
                text.append(table)
    if facts.get("incidents"):
        text += ["## Incidents", "",
                 "Daemons that gave no answer, or no right one, when they had "
                 "just started; the sample was taken again or left out.", ""]
        text += ["- " + line for line in facts["incidents"]] + [""]
    if bench.results.errors:
        text += ["## Errors", ""]
        text += [f"- {case}: {who}: {message}"
                 for case, errors in bench.results.errors.items()
                 for who, message in errors.items()]
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a", help="folder of the binaries under test")
    parser.add_argument("b", help="folder of the binaries to compare with")
    parser.add_argument("--disk", default=os.environ.get("TMPDIR", "."),
                        help="folder on a real disk (default: $TMPDIR or .)")
    parser.add_argument("--memory", help="folder on a tmpfs, for what should "
                        "not depend on a disk (default: the same as --disk)")
    parser.add_argument("--only", help="workloads to run, such as w1,w4")
    parser.add_argument("--quick", action="store_true",
                        help="one small repetition of everything")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--warm", type=float, default=enough_warm(),
                        metavar="GIB",
                        help="memory kept warm for runs that fill memory "
                        "(default: 6, or a third of what is available)")
    parser.add_argument("--json", default="results.json")
    parser.add_argument("--markdown", default="results.md")
    args = parser.parse_args()
    args.memory = args.memory or args.disk
    if args.quick:
        args.reps = 1
    bench = Bench(args.a, args.b, args.disk, args.memory, args.reps,
                  args.quick, args.warm)
    facts = facts_of(bench, args)
    chosen = args.only.split(",") if args.only else list(WORKLOADS)
    try:
        for name in chosen:
            began = time.monotonic()
            busy, own = cpu_use()
            try:
                WORKLOADS[name].run(bench)
            except (Exception, KeyboardInterrupt) as e:
                # Keep what was measured before, and the other workloads.
                bench.results.error(name.upper() + "/(stopped)", "run",
                                    f"{type(e).__name__}: {e}")
                traceback.print_exc()
            facts.setdefault("workload_seconds", {})[name] = round(
                time.monotonic() - began, 1)
            more_busy, more_own = cpu_use()
            facts.setdefault("foreign_cpu", {})[name] = max(
                0, more_busy - busy - more_own + own) / (
                    os.cpu_count() * (time.monotonic() - began))
            facts["seconds"] = time.monotonic() - bench.started
            facts["incidents"] = StorageDaemon.incidents
            bench.results.save(args.json, facts)
    finally:
        bench.close()
    text = markdown(bench, facts)
    with open(args.markdown, "w") as f:
        f.write(text)
    print(text)
    return 1 if bench.results.errors else 0


if __name__ == "__main__":
    sys.exit(main())
