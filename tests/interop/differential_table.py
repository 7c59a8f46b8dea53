# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The large table of differential-img: every command on every image.

The images are made once, by the peer, so that both sides begin with the same
bytes. {i} is the image, {f} its format. What a line writes goes to a name of its
own, so that all of it is judged at the end.
"""

import re

# Whole clusters of 64 KiB: in parts of one, who fills the rest how differs.
WRITES = ('-c "write -q -P 1 0 128k" -c "write -q -P 2 448k 128k" '
          '-c "write -q -z 512k 64k" -c "write -q -P 3 1472k 64k"')
BASE = ['img create -q -f raw base.raw 1M',
        'io -f raw -c "write -q -P 8 60k 600k" base.raw']


def qcow2(options='', size='2M', writes=WRITES, more=(), before=()):
    return ('qcow2', 'a.qcow2', [
        *before, f'img create -q -f qcow2 {options} a.qcow2 {size}',
        f'io -f qcow2 {writes} a.qcow2', *more])


def over(options='', size='', **kwargs):
    return qcow2(f'-b base.raw -F raw {options}', size, before=BASE,
                 **kwargs)


COMPRESSED = '-c "write -q -c -P 1 0 1M" -c "write -q -P 2 1M 100k"'
SMALL = '-c "write -q -P 1 0 128k" -c "write -q -P 2 448k 128k"'

# name: (format, file, how the peer makes it)
IMAGES = {
    'raw': ('raw', 'a.raw', [
        'img create -q -f raw a.raw 2M',
        'io -f raw -c "write -q -P 1 64k 100k" -c "write -q -P 2 1M 4k" '
        'a.raw']),
    'raw, odd': ('raw', 'a.raw', [
        'py open("a.raw", "wb").write(b"x" * 70000 + bytes(5001))']),
    'raw, a sector': ('raw', 'a.raw', [
        'py open("a.raw", "wb").write(b"x" * 512)']),
    'raw, empty': ('raw', 'a.raw', ['img create -q -f raw a.raw 0']),
    'qcow2': qcow2(),
    'qcow2, new': qcow2(writes='-c "read -q 0 512"'),
    'qcow2, cluster 512': qcow2('-o cluster_size=512'),
    'qcow2, cluster 4k': qcow2('-o cluster_size=4k'),
    'qcow2, cluster 2M': qcow2('-o cluster_size=2M', '5M',
                               '-c "write -q -P 1 2M 2M"'),
    'qcow2, odd': qcow2('', '1049088', writes=SMALL),
    'qcow2, subclusters': qcow2('-o extended_l2=on'),
    'qcow2, refcounts of a bit': qcow2('-o refcount_bits=1'),
    'qcow2, refcounts of 64 bits': qcow2('-o refcount_bits=64'),
    'qcow2, version 2': qcow2('-o compat=0.10', writes=SMALL),
    'qcow2, zlib': qcow2(writes=COMPRESSED),
    'qcow2, zstd': qcow2('-o compression_type=zstd', writes=COMPRESSED),
    'qcow2, lazy': qcow2('-o lazy_refcounts=on'),
    'qcow2, metadata': qcow2('-o preallocation=metadata'),
    'qcow2, data file': qcow2('-o data_file=df', writes=SMALL),
    'qcow2, snapshot': qcow2(more=[
        'img snapshot -c s1 a.qcow2',
        'io -f qcow2 -c "write -q -P 5 0 300k" a.qcow2']),
    'qcow2, bitmaps': qcow2(more=[
        'img bitmap --add a.qcow2 b0',
        'io -f qcow2 -c "write -q -P 5 0 300k" a.qcow2',
        'img bitmap --add --disable -g 32k a.qcow2 b1']),
    # Clusters of which the file holds a part: how many, decides whether its
    # holes are told.
    'qcow2, parts of clusters': qcow2('', '2M', '-c "write -q 0 4k" '
                                      '-c "write -q -c 64k 64k" '
                                      '-c "write -q 130k 1k" '
                                      '-c "write -q 300k 130k"'),
    'qcow2, parts of subclusters': qcow2('-o extended_l2=on', '2M',
                                         '-c "write -q 5k 4k" '
                                         '-c "write -q -c 128k 64k" '
                                         '-c "write -q 450k 200k"'),
    'qcow2, data file as it is': qcow2(
        '-o data_file=df,data_file_raw=on', '1M', '-c "write -q 5k 4k"'),
    'overlay': over(writes='-c "write -q -P 5 50k 100k" -c "write -q -z 300k '
                    '70k"'),
    'overlay, longer': over(size='2M'),
    'overlay, shorter': over(size='500k', writes='-c "write -q -P 5 50k 9k"'),
    'overlay, subclusters': over('-o extended_l2=on', '2M'),
    'overlay of an overlay': qcow2(
        '-b mid.qcow2 -F qcow2', '3M', before=BASE + [
            'img create -q -f qcow2 -b base.raw -F raw mid.qcow2 2M',
            'io -f qcow2 -c "write -q -P 6 0 64k" -c "write -q -z 100k 64k" '
            'mid.qcow2']),
}

# What only looks at the image: the files are the same on both sides, so every
# byte of the output has to be.
LOOKS = r'img (info|check|map|measure|compare|snapshot) .*{i}$'

# Commands that leave the image alone, and what they make.
READS = [
    'img info {i}', 'img info --output=json {i}', 'img info -f {f} {i}',
    'img info --backing-chain {i}',
    'img info --backing-chain --output=json {i}',
    'img info -f raw {i}', 'img info -U {i}',
    'img info --image-opts driver={f},file.driver=file,file.filename={i}',
    'img check -f {f} {i}', 'img check -f {f} --output=json {i}',
    'img check -q -f {f} {i}',
    'img map -f {f} {i}', 'img map -f {f} --output=json {i}',
    'img map -f {f} --output=json -s 64k -l 512k {i}',
    'img map -f {f} --output=json -s 1 -l 1 {i}',
    'img map -f {f} --output=json -s 100M {i}',
    'img measure -f {f} -O raw {i}', 'img measure -f {f} -O qcow2 {i}',
    'img measure -f {f} -O qcow2 --output=json {i}',
    'img measure -f {f} -O qcow2 -o cluster_size=4k {i}',
    'img measure -f {f} -O qcow2 -o cluster_size=2M,refcount_bits=64 {i}',
    'img measure -f {f} -O qcow2 -o extended_l2=on {i}',
    'img compare -f {f} -F {f} {i} {i}', 'img compare -s -f {f} {i} {i}',
    'img compare -f {f} -F raw {i} {i}',
    'img snapshot -l {i}',
    'img convert -f {f} -O raw {i} c1.raw',
    'img compare -f {f} -F raw {i} c1.raw',
    'img convert -f {f} -O raw -S 0 {i} c2.raw',
    'img convert -f {f} -O raw -S 64k -m 1 {i} c3.raw',
    'img convert -f {f} -O raw -W -m 16 {i} c4.raw',
    'img convert -f {f} -O raw -C {i} c5.raw',
    'img convert -f {f} -O raw -T none -t none {i} c6.raw',
    'img convert -f {f} -O raw --salvage -U {i} c7.raw',
    'img convert -f {f} -O raw -r 1G -t writeback -p -q {i} c8.raw',
    'img convert -f {f} -O raw {i} {i} c9.raw',
    'img convert -f {f} -O qcow2 {i} d1.qcow2',
    'img map --output=json d1.qcow2', 'img info d1.qcow2',
    'img convert -f {f} -O qcow2 -o cluster_size=512 {i} d2.qcow2',
    'img map --output=json d2.qcow2',
    'img convert -f {f} -O qcow2 -o extended_l2=on -S 512 {i} d3.qcow2',
    'img map --output=json d3.qcow2',
    'img convert -f {f} -O qcow2 -c {i} d4.qcow2',
    'img map --output=json d4.qcow2',
    'img convert -f {f} -O qcow2 -c -o compression_type=zstd -W {i} d5.qcow2',
    'img convert -f {f} -O qcow2 -o preallocation=metadata {i} d6.qcow2',
    'img map --output=json d6.qcow2',
    'img convert -f {f} -O qcow2 -S 0 -o lazy_refcounts=on {i} d7.qcow2',
    'img create -q -f qcow2 d8.qcow2 8M',
    'img convert -n --target-is-zero -f {f} -O qcow2 {i} d8.qcow2',
    'img map --output=json d8.qcow2',
    'img convert --bitmaps -f {f} -O qcow2 {i} d9.qcow2',
    'img convert -l s1 -f {f} -O qcow2 {i} d10.qcow2',
    'img dd -f {f} -O raw bs=1000 count=70 skip=3 if={i} of=e1.raw',
    'img dd -f {f} -O qcow2 bs=64k if={i} of=e2.qcow2',
    'io -r -f {f} -c "read -v 60k 64" -c length -c map -c "alloc 0 600k" {i}',
    'io -r -f {f} -c "read -P 1 0 4k" -c "read -q 0 8M" {i}',
    'io -r -f {f} -c "write 0 512" {i}',
]

# Commands that change it, one after the other.
CHANGES = [
    'img bitmap --add -f {f} {i} b5', 'img info {i}',
    'io -f {f} -c "write -P 9 30k 70k" -c "read -P 9 30k 70k" {i}',
    'io -f {f} -c "write -z -u 512k 128k" -c "discard 0 64k" {i}',
    'img map -f {f} --output=json {i}', 'img check -f {f} {i}',
    ('code only', 'img snapshot -c s2 {i}'), 'img resize -f {f} {i} +1M',
    'img resize -f {f} {i} 600k', 'img resize -f {f} --shrink {i} 600k',
    'img info {i}', 'img map -f {f} --output=json {i}',
    'img bitmap --disable --clear -f {f} {i} b5',
    'img bitmap --remove -f {f} {i} b5',
    ('code only', 'img snapshot -d s2 {i}'),
    "img rebase -f {f} -b '' {i}", 'img info {i}',
    'img resize -f {f} --shrink {i} 600k',
    'io -f {f} -c "write -P 4 0 512" {i}',
    'img check -f {f} {i}', 'img map -f {f} --output=json {i}',
]


# What no image of that kind is compared with: ours do better, or other names and
# places are as good.
DROP = {
    # Ours stay mapped where they are zeroed: so the data file stays whole.
    ('qcow2, data file as it is', 'img check -f {f} {i}'),
    # It leaks a cluster when the snapshot can't be made.
    ('qcow2, refcounts of a bit', 'img check -f {f} {i}'),
    # It tells that version 2 has no bitmaps, we copy none.
    ('qcow2, version 2',
     'img convert --bitmaps -f {f} -O qcow2 {i} d9.qcow2'),
}


# Looked at again and again, while the file gets shorter.
SHORT = [
    'info {i}', 'info --output=json {i}', 'check -f qcow2 {i}',
    'check -f qcow2 --output=json {i}', 'map --output=json {i}',
    'measure -O qcow2 {i}', 'compare {i} {i}', 'snapshot -l {i}',
    'convert -f qcow2 -O raw {i} o.raw', 'bench -f qcow2 -c 1 {i}',
    'dd -f qcow2 if={i} of=o.raw bs=64k', 'rebase -f qcow2 -u -b gone '
    '-F raw {i}', 'resize -f qcow2 {i} 3M',
]
LENGTHS = (0, 3, 4, 71, 72, 103, 104, 112, 65536, 131072, 196608, 262144,
           300000, 400000)


def short_files():
    """Files that end too early, with and without their header."""
    make = ['img create -q -f qcow2 m.qcow2 2M',
            'io -f qcow2 -c "write -q 0 300k" m.qcow2',
            'img snapshot -c s m.qcow2']
    for length in LENGTHS:
        cut = (f'py open("a.qcow2", "wb").write('
               f'open("m.qcow2", "rb").read()[:{length}])')
        steps = []
        for line in SHORT:
            exact = 'exact' if re.match(LOOKS, f'img {line}') else ''
            steps += [cut, (exact, 'img ' + line.format(i='a.qcow2'))]
        yield dict(name=f'qcow2, cut to {length}', make=make, unsound=True,
                   steps=steps + ['py open("a.qcow2", "wb")'])


def fill(step, fmt, image, look):
    if isinstance(step, str) and look and re.match(LOOKS, step):
        step = 'exact', step
    if isinstance(step, tuple):
        return step[0], step[1].format(f=fmt, i=image)
    return step.format(f=fmt, i=image)


def table():
    yield from short_files()
    for name, (fmt, image, make) in IMAGES.items():
        for kind, lines in (('read', READS), ('change', CHANGES)):
            yield dict(name=f'{name}: {kind}', make=make, steps=[
                fill(line, fmt, image, kind == 'read') for line in lines
                if (name, line) not in DROP])
