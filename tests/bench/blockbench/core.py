# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""What every workload needs: the two sides, folders, repetitions, results."""

import contextlib
import os
import shutil
import sys
import tempfile
import time

from . import limits
from .procs import BenchError, Hang, StorageDaemon, output_of, run_tool
from .report import Results


class Side:
    def __init__(self, letter, folder):
        self.letter = letter
        self.folder = os.path.abspath(folder)
        self.label = os.path.basename(self.folder.rstrip("/"))

    def tool(self, name):
        return os.path.join(self.folder, name)

    def version(self, name):
        with contextlib.suppress(BenchError, OSError):
            return output_of([self.tool(name), "--version"]).decode(
                errors="replace").split("\n")[0]
        return "absent"


class Bench:
    def __init__(self, a, b, disk, memory, reps, quick, warm_gib):
        self.a, self.b = Side("A", a), Side("B", b)
        if self.a.label == self.b.label:
            self.a.label += "(A)"
            self.b.label += "(B)"
        self.reps = reps
        self.quick = quick
        self.ballast = limits.Ballast(warm_gib)
        self.results = Results({"A": self.a.label, "B": self.b.label})
        self.disk = tempfile.mkdtemp(prefix="blockbench-", dir=disk)
        self.memory = tempfile.mkdtemp(prefix="blockbench-", dir=memory)
        cpus = sorted(os.sched_getaffinity(0))
        # One CPU for the load, the others for the program under test.
        self.load_cpus = {cpus[-1]}
        self.server_cpus = set(cpus[:-1]) or {cpus[-1]}
        self.weigh = True  # measure peak memory of tools, at a cost of 1 ms
        self.started = time.monotonic()

    def close(self):
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.rmtree(self.memory, ignore_errors=True)

    def log(self, text):
        print(f"[{time.monotonic() - self.started:6.0f}s] {text}",
              file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def memory_to_fill(self):
        """Around a run that fills memory; clean up inside the block."""
        self.ballast.drop()
        try:
            yield
        finally:
            self.ballast.hold()

    def order(self, rep):
        return (self.a, self.b) if rep % 2 == 0 else (self.b, self.a)

    def rounds(self, reps=None):
        """All (repetition, side) pairs, interleaved, the first side in turn."""
        for rep in range(reps or self.reps):
            for side in self.order(rep):
                yield rep, side

    @contextlib.contextmanager
    def attempt(self, case, side):
        """A failure of one side is noted and the run goes on."""
        try:
            yield
        except Hang as e:  # costs one sample, not the whole case
            StorageDaemon.incidents.append(f"{side.label}: {case}: {e}")
            self.log(StorageDaemon.incidents[-1])
        except Exception as e:  # a candidate may fail in any way it likes
            letter = side if isinstance(side, str) else side.letter
            text = str(e) if isinstance(e, BenchError) else repr(e)
            self.results.error(case, letter, text)
            self.log(f"{case}: {letter}: {text}")

    def compare(self, case, measure, limit=None, other=None, reps=None,
                fills_memory=False, short=False):
        """Measure both sides in turn; measure(side, rep) returns figures.

        With short=True, peak memory is taken in runs of their own.
        """
        if short:
            for side in (self.a, self.b):
                with self.attempt(case, side):
                    self.results.add(case, side.letter, 0, {
                        "rss_mib": measure(side, 0)["rss_mib"]})
            self.weigh = False
        around = (self.memory_to_fill if fills_memory
                  else contextlib.nullcontext)
        for rep in range(reps or self.reps):
            for name, reference in (("limit", limit), ("other", other)):
                if reference:
                    with self.attempt(case, name), around():
                        figures = reference(rep)
                        if not isinstance(figures, dict):
                            figures = {"wall_s": figures}
                        self.results.add(case, name, rep, figures)
            for side in self.order(rep):
                if self.results.failed(case, side.letter):
                    continue
                with self.attempt(case, side), around():
                    self.results.add(case, side.letter, rep,
                                     measure(side, rep))
        self.weigh = True
        self.log(case)

    def judging(self, rep):
        """Whether this is the run of a case whose result is checked."""
        return self.weigh and rep == 0

    def answer(self, side, *args, ok_codes=(0,)):
        """What qemu-img of one side prints; not measured."""
        return output_of([side.tool("qemu-img"), *args], ok_codes)

    def same_content(self, one, two):
        """Check, with the peer's tools, that two images read the same."""
        try:
            self.answer(self.b, "compare", one, two)
        except BenchError as e:
            raise BenchError(f"wrong result: {e}")

    def bitmap_digests(self, path, names):
        """Digests of persistent bitmaps, as the peer reads them."""
        with StorageDaemon(self.b, self.memory) as daemon:
            daemon.add_qcow2("disk", path, **{"read-only": True})
            return [daemon.qmp.cmd("x-debug-block-dirty-bitmap-sha256", {
                "node": "disk", "name": name})["sha256"] for name in names]

    def img(self, side, *args, stdout=None):
        """Run qemu-img of one side and return its figures."""
        return run_tool([side.tool("qemu-img"), *args], rss=self.weigh,
                        stdout=stdout)


@contextlib.contextmanager
def scratch(*paths):
    """Files that go away at the end of the block."""
    try:
        yield
    finally:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
