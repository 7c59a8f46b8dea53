# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""W5: the qemu-img subcommands."""

import json
import os
import shutil

from . import limits
from .core import scratch
from .procs import BenchError, run_tool
from .qcow2_writer import (GIB, MIB, TIB, Qcow2Writer, empty_image,
                           mixed_cluster, random_bits, write_noise)

TABLES = [
    ("W5 qemu-img", ["wall_s", "cpu_s", "rss_mib"],
     "limit: convert: cp, or the compressor on all CPUs; check: starting a "
     "program and reading the metadata; map: cat of the same output; compare: "
     "reading the data of both, and memcmp; rebase: reading both backing "
     "images; commit: cp of the overlay's "
     "data; create, measure, info, --version: starting a program that does "
     "nothing; bitmap: the same plus reading or writing the bitmap's bytes."),
]


class Disk:
    """The half-full disk that is converted: a raw file and a qcow2 image."""

    def __init__(self, folder, size):
        self.raw = os.path.join(folder, "w5-raw")
        self.qcow2 = os.path.join(folder, "w5-qcow2")
        self.size = size
        run = 16 * MIB
        image = Qcow2Writer(self.qcow2, size)
        # A block of half compressible data; repeated with a mark in each
        # cluster, so that no two clusters are the same.
        clusters = [mixed_cluster(i) for i in range(256)]
        with open(self.raw, "wb") as f:
            f.truncate(size)
            for at in range(0, size, 2 * run):
                block = bytearray(b"".join(clusters))
                for i in range(256):
                    block[i * 65536:i * 65536 + 8] = (at + i).to_bytes(8,
                                                                       "big")
                os.pwrite(f.fileno(), block, at)
                image.map_run(at, run,
                              lambda fd, host, n: os.pwrite(fd, block, host))
        image.close()
        self.data = size // 2


def converting(bench, size, compressed):
    disk = Disk(bench.memory, size)
    out = os.path.join(bench.memory, "w5-out")
    cases = [
        ("convert qcow2 to raw", ["-f", "qcow2", "-O", "raw"], disk.qcow2,
         None),
        ("convert raw to qcow2", ["-f", "raw", "-O", "qcow2"], disk.raw, None),
        ("convert qcow2 to compressed qcow2, zlib",
         ["-f", "qcow2", "-c", "-O", "qcow2"], disk.qcow2,
         limits.zlib_on_all_cpus),
        ("convert qcow2 to compressed qcow2, zstd",
         ["-f", "qcow2", "-c", "-O", "qcow2", "-o", "compression_type=zstd"],
         disk.qcow2, limits.zstd_on_all_cpus),
    ]
    cases = cases[2:] if compressed else cases[:2]
    label = f"{size // MIB} MiB half full"
    packed = {}
    with scratch(disk.raw, disk.qcow2, out):
        for name, options, source, compressor in cases:
            def measure(side, rep):
                with scratch(out):
                    figures = bench.img(side, "convert", *options, source,
                                        out)
                    packed.setdefault(name, {}).setdefault(
                        side.label, os.stat(out).st_blocks // 2048)
                    if bench.judging(rep):
                        bench.same_content(disk.raw, out)
                return figures

            limits_found = []

            def limit(rep):
                if compressor:
                    if not limits_found:
                        limits_found.append(
                            compressor(disk.raw, disk.data))
                    return limits_found[0]
                with scratch(out):
                    return run_tool(["cp", "--reflink=never",
                                     "--sparse=auto", disk.raw, out],
                                    rss=False)["wall_s"]
            bench.compare(f"W5/{name}, {label}", measure, limit, fills_memory=True,
                          reps=min(bench.reps, 2) if compressor else None)
        for name in packed:
            bench.log(f"{name}: MiB {packed[name]}")

        if compressed:
            return
        copy = out + "2"
        with scratch(copy):
            run_tool(["cp", "--sparse=auto", disk.raw, copy])

            def comparing(side, rep):
                args = ["compare", "-f", "raw", "-F", "qcow2"]
                if bench.judging(rep):
                    changed = disk.size - 32 * MIB + 5
                    poke(copy, changed)
                    try:
                        bench.answer(side, *args, copy, disk.qcow2,
                                     ok_codes=(1,))
                    finally:
                        poke(copy, changed)
                return bench.img(side, *args, disk.raw, disk.qcow2)
            bench.compare(f"W5/compare raw with qcow2, {label}", comparing,
                          lambda rep: limits.compare_files(disk.raw, copy))
        for name, source in (("raw", disk.raw), ("qcow2", disk.qcow2)):
            def measuring(side, rep):
                args = ["measure", "-f", name, "-O", "qcow2", source]
                if bench.judging(rep):
                    need = json.loads(bench.answer(
                        side, *args, "--output=json"))["required"]
                    if not disk.data <= need <= disk.data * 1.02:
                        raise BenchError(f"wrong answer: {need} bytes")
                return bench.img(side, *args)
            bench.compare(f"W5/measure {name}, {label}", measuring,
                          lambda rep: limits.spawn(), short=True,
                          reps=bench.reps * 3)


def poke(path, at):
    """Invert one byte of a file."""
    with open(path, "r+b", buffering=0) as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([255 - byte]))


def chains(bench):
    """commit and rebase of an overlay with scattered data."""
    size = (256 * MIB if bench.quick else GIB)
    share = 4  # one cluster in this many is in the overlay
    base = os.path.join(bench.memory, "w5-base")
    other = os.path.join(bench.memory, "w5-base2")
    overlay = os.path.join(bench.memory, "w5-overlay")
    data = os.path.join(bench.memory, "w5-data")

    def full(path, change=False):
        image = Qcow2Writer(path, size)
        image.map_run(0, size, write_noise)
        if change:
            os.pwrite(image.fd, b"changed" * 100, 65536 * 1001)
        image.close()

    def make_overlay(path=overlay):
        image = Qcow2Writer(path, size, backing=base, backing_format="qcow2")
        for at in range(0, size, share * 65536):
            image.map_run(at, 65536, lambda fd, host, n: write_noise(
                fd, host, n, seed=1))
        image.close()

    def commit(side, rep):
        make_overlay()
        if bench.judging(rep):
            full(base)
        figures = bench.img(side, "commit", "-f", "qcow2", overlay)
        if bench.judging(rep):
            make_overlay()
            bench.same_content(overlay, base)
        return figures

    def rebase(side, rep):
        make_overlay()
        figures = bench.img(side, "rebase", "-f", "qcow2", "-F", "qcow2",
                            "-b", other, overlay)
        if bench.judging(rep):
            make_overlay(data + "2")
            with scratch(data + "2"):
                bench.same_content(overlay, data + "2")
            info = json.loads(bench.answer(bench.b, "info", "--output=json",
                                           overlay))
            if info.get("backing-filename") != other:
                raise BenchError("the backing file has not changed")
        return figures

    with scratch(base, other, overlay, data):
        full(base)
        full(other, change=True)
        with open(data, "wb") as f:
            write_noise(f.fileno(), 0, size // share)

        def copy_limit(rep):
            with scratch(data + "2"):
                shutil.copyfile(data, data + "2")
                return run_tool(["dd", f"if={data}", f"of={data}2", "bs=64k",
                                 "conv=notrunc"], rss=False)["wall_s"]
        bench.compare(
            f"W5/rebase, {size // MIB} MiB backing images", rebase,
            lambda rep: run_tool(["cat", base, other], rss=False)["wall_s"])
        bench.compare(f"W5/commit {size // share // MIB} MiB in single "
                      "clusters", commit, copy_limit)


def metadata(bench):
    mapped = os.path.join(bench.memory, "w5-mapped")
    fragmented = os.path.join(bench.memory, "w5-fragmented")
    out = os.path.join(bench.memory, "w5-out")
    text = os.path.join(bench.memory, "w5-text")
    size = (8 if bench.quick else 64) * GIB
    with scratch(mapped, fragmented, out, text):
        image = Qcow2Writer(mapped, size)
        image.map_run(0, size)
        image.close()
        image = Qcow2Writer(fragmented, size)
        for at in range(0, size // 2, 131072):
            image.map_run(at, 65536)
        image.close()
        tables = size // 65536 * 10

        def check(side, rep):
            args = ["check", "-f", "qcow2", "--output=json", mapped]
            if bench.judging(rep):
                answer = json.loads(bench.answer(side, *args))
                if (answer.get("check-errors")
                        or answer["allocated-clusters"] != size // 65536):
                    raise BenchError(f"wrong answer: {answer}")
            return bench.img(side, *args)
        bench.compare(f"W5/check, {size // GIB} GiB fully mapped", check,
                      lambda rep: limits.spawn() + limits.read_file_bytes(
                          bench.memory, tables), short=True,
                      reps=bench.reps * 3)

        def extents(answer):
            """Reports of one kind joined, so that only the content counts."""
            joined = []
            for e in json.loads(answer):
                kind = (e["data"], e["zero"])
                if joined and joined[-1][0] == kind:
                    joined[-1][1] += e["length"]
                else:
                    joined.append([kind, e["length"]])
            return len(joined)

        def mapping(side, rep):
            args = ["map", "-f", "qcow2", "--output=json", fragmented]
            if bench.judging(rep):
                answer = bench.answer(side, *args)
                if not extents(answer) >= size // 131072:
                    raise BenchError(f"{extents(answer)} extents")
                with open(text, "wb") as f:
                    f.write(answer)
            with open(os.devnull, "wb") as sink:
                return bench.img(side, *args, stdout=sink)
        bench.compare(f"W5/map, {size // 131072} extents", mapping,
                      lambda rep: run_tool(["cat", text], rss=False)["wall_s"]
                      if os.path.exists(text) else limits.spawn())

        def creating(*options):
            def create(side, rep):
                with scratch(out):
                    figures = bench.img(side, "create", "-q", "-f", "qcow2",
                                        *options, out, 64 * GIB)
                    if bench.judging(rep):
                        answer = json.loads(bench.answer(
                            bench.b, "check", "--output=json", out))
                        mapped = answer.get("allocated-clusters", 0)
                        if mapped != (1 << 20 if options else 0):
                            raise BenchError(f"wrong image: {answer}")
                    return figures
            return create

        def spawn(rep):
            return limits.spawn()
        bench.compare("W5/create 64 GiB", creating(), spawn, short=True,
                      reps=bench.reps * 3)
        bench.compare("W5/create 64 GiB, preallocation=metadata",
                      creating("-o", "preallocation=metadata"),
                      lambda rep: limits.spawn() + limits.write_file_bytes(
                          bench.memory, 10 * MIB), short=True)


def bitmaps(bench):
    path = os.path.join(bench.memory, "w5-bitmaps")
    for label, size in ((("1 TiB", TIB),) if bench.quick else
                        (("1 TiB", TIB), ("16 TiB", 16 * TIB))):
        data = random_bits(size // 65536)

        def make():
            image = Qcow2Writer(path, size)
            image.add_bitmap("one", data, auto=False)
            image.add_bitmap("two", auto=False)
            image.close()

        def add(side, rep):
            make()
            figures = bench.img(side, "bitmap", "--add", "-f", "qcow2", path,
                                "new")
            if bench.judging(rep):
                bench.bitmap_digests(path, ["new"])
            return figures

        def merge(side, rep):
            make()
            figures = bench.img(side, "bitmap", "--merge", "one", "-f",
                                "qcow2", path, "two")
            if bench.judging(rep):
                one, two = bench.bitmap_digests(path, ["one", "two"])
                if one != two:
                    raise BenchError("wrong content after merging")
            return figures

        def info(side, rep):
            if bench.judging(rep):
                make()
                if b"name: one" not in bench.answer(side, "info", path):
                    raise BenchError("the bitmap is not listed")
            return bench.img(side, "info", path)

        with scratch(path):
            bench.compare(f"W5/bitmap --add, {label} with a dense bitmap",
                          add, lambda rep: limits.spawn(), short=True,
                          reps=bench.reps * 3)
            bench.compare(f"W5/bitmap --merge dense, {label}", merge,
                          lambda rep: limits.spawn()
                          + limits.read_file_bytes(bench.memory, len(data))
                          + limits.write_file_bytes(bench.memory, len(data)),
                          short=True, reps=bench.reps * 2)
            bench.compare(f"W5/info, {label} with a dense bitmap", info,
                          lambda rep: limits.spawn(), short=True,
                          reps=bench.reps * 3)


def starting(bench):
    path = os.path.join(bench.memory, "w5-small")
    reps = 5 if bench.quick else 25
    with scratch(path):
        empty_image(path, GIB)
        for name, args, word in (
                ("--version", ["--version"], b"version"),
                ("info of an empty 1 GiB image", ["info", path],
                 b"virtual size: 1 GiB")):
            def start(side, rep):
                if (bench.judging(rep)
                        and word not in bench.answer(side, *args)):
                    raise BenchError("wrong answer")
                return bench.img(side, *args)
            bench.compare("W5/" + name, start, lambda rep: limits.spawn(),
                          short=True, reps=reps)


def run(bench):
    starting(bench)
    metadata(bench)
    bitmaps(bench)
    chains(bench)
    converting(bench, 512 * MIB if bench.quick else 4 * GIB, False)
    converting(bench, 256 * MIB if bench.quick else GIB, True)
