# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Load generators: fio on an NBD export or on a file, and nbdcopy."""

import json
import os
import signal
import subprocess
import tempfile

from .procs import BenchError, pinned, run_tool


def _fio_argv(target, rw, block, depth, size, extra):
    argv = ["fio", "--name=load", f"--rw={rw}", f"--bs={block}",
            f"--iodepth={depth}", f"--size={size}", "--randrepeat=1",
            "--randseed=7", "--fallocate=none", "--refill_buffers=0",
            "--lat_percentiles=1", "--clat_percentiles=0",
            "--percentile_list=50:99:99.9", "--output-format=json"]
    if target.startswith("nbd"):
        argv += ["--ioengine=nbd", f"--uri={target}"]
    else:
        argv += ["--ioengine=io_uring", f"--filename={target}"]
    return argv + list(extra)


def fio(target, rw, block, depth, size, seconds=None, ios=None, io_size=None,
        direct=False, cpus=None):
    """Run fio to its end and return its figures."""
    extra = []
    if seconds:
        extra += [f"--runtime={int(seconds * 1000)}ms", "--time_based"]
    else:
        extra += ["--runtime=20"]
    if ios:
        extra += [f"--number_ios={ios}"]
    if io_size:
        extra += [f"--io_size={io_size}"]
    if direct:
        extra += ["--direct=1"]
    with tempfile.TemporaryDirectory(prefix="fio-") as folder:
        with pinned(cpus):
            done = subprocess.run(
                _fio_argv(target, rw, block, depth, size, extra), cwd=folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=120)
    text = done.stdout.decode(errors="replace")
    if done.returncode or "{" not in text:
        raise BenchError("fio: " + text.strip()[-300:])
    job = json.loads(text[text.index("\n{") if not text.startswith("{")
                          else 0:])["jobs"][0]
    part = job["read" if "read" in rw else "write"]
    if job["error"] or not part["total_ios"]:
        raise BenchError(f"fio reports error {job['error']}")
    latency = part["lat_ns"]["percentile"]
    return {"iops": part["iops"], "mib_s": part["bw_bytes"] / (1 << 20),
            "ios": part["total_ios"],
            "p50_us": latency["50.000000"] / 1000,
            "p99_us": latency["99.000000"] / 1000,
            "p999_us": latency["99.900000"] / 1000}


class SteadyWriter:
    """A guest that writes 4k at random places at a steady rate.

    Every request's latency is kept with its time, so that the latencies of
    any span of the run can be looked at afterwards.
    """

    def __init__(self, target, size, rate, folder, depth=32, direct=False,
                 seed=7):
        self.folder = tempfile.mkdtemp(prefix="fio-", dir=folder)
        extra = ["--runtime=120", "--time_based", f"--rate_iops={rate}",
                 "--rate_process=poisson", "--write_lat_log=log",
                 "--log_unix_epoch=1",
                 f"--randseed={seed}"]
        if direct:
            extra.append("--direct=1")
        self.proc = subprocess.Popen(
            _fio_argv(target, "randwrite", "4k", depth, size, extra),
            cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def stop(self):
        """End the load; return [(unix time of completion, latency in s)]."""
        if self.proc.poll() is not None:
            raise BenchError("fio ended early: "
                             + self.proc.stderr.read().decode()[-300:])
        self.proc.send_signal(signal.SIGINT)
        self.proc.communicate(timeout=60)
        samples = []
        with open(os.path.join(self.folder, "log_lat.1.log")) as log:
            for line in log:
                when, latency, _ = line.split(",", 2)
                samples.append((int(when) / 1000, int(latency) / 1e9))
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)
        return samples

    def abandon(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.communicate()


def percentiles(samples, start, end):
    """Latency percentiles in µs of the requests under way in a time span."""
    span = sorted(lat for when, lat in samples
                  if when >= start and when - lat <= end)
    if len(span) < 20:
        raise BenchError(f"only {len(span)} guest writes in the span")

    def at(part):
        return span[min(len(span) - 1, int(len(span) * part))] * 1e6
    return {"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999),
            "max_us": span[-1] * 1e6,
            "iops": sum(start <= when <= end for when, _ in samples)
            / (end - start)}


def nbdcopy(uri, connections=None, target="null:"):
    argv = ["nbdcopy"]
    if connections:
        argv += [f"--connections={connections}"]
    return run_tool(argv + [uri, target], rss=False)


def read_and_write(source, target, length):
    """Seconds that fio needs to read and write this much at the same time."""
    done = subprocess.run(
        ["fio", "--ioengine=io_uring", "--direct=1", "--bs=64k",
         "--iodepth=32", f"--size={length}", "--fallocate=none",
         "--name=read", "--rw=read", f"--filename={source}",
         "--name=write", "--rw=write", f"--filename={target}",
         "--output-format=json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise BenchError("fio: " + text[-300:])
    jobs = json.loads(text[text.index("{"):])["jobs"]
    os.unlink(target)
    return max(j[k]["runtime"] for j, k in zip(jobs, ("read", "write"))) / 1000
