# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Run programs and daemons, and account for their time, CPU and memory."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

GNU_TIME = shutil.which("time") or "/usr/bin/time"


class BenchError(Exception):
    """A measured program failed or gave a wrong answer."""


class Hang(BenchError):
    """A measured program gave no answer at all."""


@contextlib.contextmanager
def pinned(cpus):
    """Children started inside the block run on these CPUs only."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_tool(argv, rss=True, timeout=300, stdout=None, ok_codes=(0,)):
    """Run one short-lived program and return its figures.

    Peak memory comes from GNU time, because the kernel's own figure for a
    child of this process is never below this process's size.  Where the
    program is very short, pass rss=False: the wrapper costs about 1 ms.
    """
    argv = [str(a) for a in argv]
    peak = None
    report = None
    if rss and os.path.exists(GNU_TIME):
        report = tempfile.NamedTemporaryFile("r", prefix="blockbench-time-")
        argv = [GNU_TIME, "-q", "-f", "%M", "-o", report.name] + argv
    with tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=err,
                                stdout=stdout or subprocess.DEVNULL)
        watchdog = threading.Timer(timeout, proc.kill)
        watchdog.start()
        _, status, usage = os.wait4(proc.pid, 0)
        wall = time.perf_counter() - start
        watchdog.cancel()
        proc.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in ok_codes:
            err.seek(0)
            text = err.read().decode(errors="replace").strip()[-300:]
            raise BenchError(f"exit {code}: {' '.join(argv)}: {text}")
    if report:
        words = report.read().split()
        peak = int(words[-1]) / 1024 if words else None
        report.close()
    figures = {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime}
    if peak is not None:
        figures["rss_mib"] = peak
    return figures


def output_of(argv, ok_codes=(0,)):
    """The standard output of a program that is not being measured."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in ok_codes:
        raise BenchError(f"exit {done.returncode}: {' '.join(map(str, argv))}: "
                         + done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout


def cpu_seconds(pid):
    """CPU time of a process with all its threads, also those already gone."""
    return time.clock_gettime((~pid << 3) | 2)


def status_fields(pid):
    text = open(f"/proc/{pid}/status").read()
    return dict(re.findall(r"^(\w+):\s*(\d+)", text, re.M))


def peak_rss_mib(pid):
    return int(status_fields(pid)["VmHWM"]) / 1024


def reset_peak_rss(pid):
    try:
        with open(f"/proc/{pid}/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def context_switches(pid):
    """Voluntary context switches of all threads: how often it woke up."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            text = open(f"/proc/{pid}/task/{tid}/status").read()
        except OSError:
            continue
        total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)",
                               text, re.M)[1])
    return total


def memory_breakdown(pid):
    """Resident and own (private, written to) memory in MiB."""
    text = open(f"/proc/{pid}/smaps_rollup").read()
    kib = {k: int(v) for k, v in re.findall(r"^(\w+):\s*(\d+) kB", text, re.M)}
    return {"rss_mib": kib["Rss"] / 1024,
            "private_mib": kib["Private_Dirty"] / 1024}


def pin_process(pid, cpus):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(tid), cpus)


class QmpError(BenchError):
    pass


class Qmp:
    """A minimal QMP client over a unix socket."""

    def __init__(self, path, proc, timeout=20):
        end = time.monotonic() + timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                if proc.poll() is not None:
                    raise BenchError("the daemon ended before QMP was ready")
                if time.monotonic() > end:
                    raise BenchError("no QMP socket")
                time.sleep(0.0002)
        self.sock.settimeout(5)
        self.reader = self.sock.makefile("rb")
        self.events = []
        self.last = "(greeting)"
        self._read()
        self.cmd("qmp_capabilities")
        self.sock.settimeout(30)

    def _read(self):
        try:
            line = self.reader.readline()
        except TimeoutError:
            raise Hang("no QMP answer; last command: " + self.last)
        if not line:
            raise BenchError("QMP connection closed by the daemon; "
                             "last command: " + self.last)
        return json.loads(line)

    def cmd(self, name, args=None):
        request = {"execute": name}
        if args:
            request["arguments"] = args
        self.last = name
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        while True:
            reply = self._read()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise QmpError(f"{name}: {reply['error'].get('desc')}")
            self.events.append(reply)

    def timed(self, name, args=None):
        start = time.perf_counter()
        self.cmd(name, args)
        return time.perf_counter() - start

    def wait_job(self, job):
        """Wait until a job that dismisses itself has ended."""
        self.last = "waiting for a job"
        self.sock.settimeout(300)
        while True:
            while self.events:
                event = self.events.pop(0)
                data = event.get("data", {})
                if (event.get("event") == "BLOCK_JOB_COMPLETED"
                        and data.get("device") == job):
                    if "error" in data:
                        raise BenchError(f"job failed: {data['error']}")
                    self.sock.settimeout(30)
                    return
                if (event.get("event") == "JOB_STATUS_CHANGE"
                        and data.get("id") == job
                        and data.get("status") == "aborting"):
                    raise BenchError("job aborted")
            message = self._read()
            if "event" in message:
                self.events.append(message)

    def close(self):
        self.reader.close()
        self.sock.close()


class StorageDaemon:
    """One qemu-storage-daemon of one side, driven over QMP."""

    # How often a daemon did not get through the QMP handshake.
    incidents = []

    def __init__(self, side, folder, args=(), cpus=None):
        self.has_nbd = False
        for attempt in range(3):
            try:
                self._start(side, folder, args, cpus)
                return
            except (BenchError, OSError) as e:
                self.log.seek(0)
                text = self.log.read()[-300:]
                self._cleanup()
                error = BenchError(f"{e} {text}".strip())
                self.incidents.append(f"{side.label}: started again: {error}")
        raise error

    def _start(self, side, folder, args, cpus):
        self.folder = tempfile.mkdtemp(prefix="qsd-", dir=folder)
        self.nbd_socket = os.path.join(self.folder, "nbd")
        qmp_socket = os.path.join(self.folder, "qmp")
        self.log = open(os.path.join(self.folder, "log"), "w+")
        argv = [side.tool("qemu-storage-daemon"),
                "--chardev", f"socket,id=mon,path={qmp_socket},server=on,wait=off",
                "--monitor", "chardev=mon", *args]
        start = time.perf_counter()
        with pinned(cpus):
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                         stdout=self.log, stderr=self.log)
        self.pid = self.proc.pid
        self.qmp = Qmp(qmp_socket, self.proc)
        self.startup_s = time.perf_counter() - start

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def add_file(self, node, path, **options):
        self.qmp.cmd("blockdev-add", {"driver": "file", "node-name": node,
                                      "filename": str(path), **options})

    def add_qcow2(self, node, path, file_options=None, **options):
        self.add_file(node + "-file", path, **(file_options or {}))
        self.qmp.cmd("blockdev-add", {"driver": "qcow2", "node-name": node,
                                      "file": node + "-file", **options})

    def remove_qcow2(self, node):
        self.qmp.cmd("blockdev-del", {"node-name": node})
        self.qmp.cmd("blockdev-del", {"node-name": node + "-file"})

    def export(self, node, name=None, writable=False, bitmaps=()):
        if not self.has_nbd:
            self.qmp.cmd("nbd-server-start", {"addr": {
                "type": "unix", "data": {"path": self.nbd_socket}}})
            self.has_nbd = True
        args = {"type": "nbd", "id": "export-" + (name or node),
                "node-name": node, "name": name or node, "writable": writable}
        if bitmaps:
            args["bitmaps"] = list(bitmaps)
        self.qmp.cmd("block-export-add", args)
        return self.uri(name or node)

    def unexport(self, name):
        self.qmp.cmd("block-export-del", {"id": "export-" + name,
                                          "mode": "hard"})
        while not any(e.get("event") == "BLOCK_EXPORT_DELETED"
                      and e["data"]["id"] == "export-" + name
                      for e in self.qmp.events):
            self.qmp.events.append(self.qmp._read())
        self.qmp.events.clear()

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.nbd_socket}"

    def add_bitmap(self, node, name, **options):
        self.qmp.cmd("block-dirty-bitmap-add", {
            "node": node, "name": name, "persistent": True, **options})

    def cpu(self):
        return cpu_seconds(self.pid)

    def pin(self, cpus):
        pin_process(self.pid, cpus)

    def stop(self):
        if self.proc.poll() is None:
            with contextlib.suppress(BenchError, OSError):
                self.qmp.cmd("quit")
            try:
                self.proc.wait(60)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.qmp.close()
        self._cleanup()

    def _cleanup(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nbdkit:
    """A plain NBD server over a raw file: the reference for NBD figures."""

    def __init__(self, folder, plugin_args, cpus=None):
        self.folder = tempfile.mkdtemp(prefix="nbdkit-", dir=folder)
        path = os.path.join(self.folder, "nbd")
        with pinned(cpus):
            self.proc = subprocess.Popen(
                ["nbdkit", "-f", "-U", path, *map(str, plugin_args)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
        self.pid = self.proc.pid
        self.uri = f"nbd+unix:///?socket={path}"
        end = time.monotonic() + 10
        while not os.path.exists(path):
            if self.proc.poll() is not None or time.monotonic() > end:
                raise BenchError("nbdkit did not start")
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
