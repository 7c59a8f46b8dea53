# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The table of differential-img: what is done to which images."""

MAKE = [
    'img create -q -f raw base.raw 1M',
    'io -f raw -c "write -q -P 1 0 64k" base.raw',
    'img create -q -f qcow2 -b base.raw -F raw mid.qcow2',
    'io -f qcow2 -c "write -q -P 2 500k 128k" mid.qcow2',
    'img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 2M',
    'io -f qcow2 -c "write -q -P 3 64k 64k" -c "write -q -z 512k 64k" '
    'top.qcow2',
]


def case(name, *steps, **flags):
    return dict(name=name, steps=list(steps), **flags)


def each(*args, program='img'):
    return [f'{program} {a}' for a in args]


# ---- every command of qemu-io, used wrongly ----

IO_COMMANDS = (
    'aio_flush aio_read aio_write alloc break close discard flush info length '
    'map open read readv remove_break reopen resume sleep truncate wait_break '
    'write writev').split()
IO_ARGUMENTS = (
    '', 'x', '0', '0 x', '-1 512', '512 -1', '0 512 x', '0 1E', '1k 1k 1k 1k',
    '-z', '-y', '--help', '-P', '-P 1', '-P x 0 512', '-s', '-l 1 0 512',
    '8E 1', '4M 512', '0 9E', '-o', '-m', '-c x', '-t x', '-d x', '-r', '-w',
    'a b', 'a b c')


def io_misuse(name, image):
    lines = []
    for command in IO_COMMANDS:
        # It would wait for what does not come.
        uses = ('', 'a b') if command == 'wait_break' else IO_ARGUMENTS
        # In order, whoever is done first.
        end = ' -c aio_flush' if command.startswith('aio_') else ''
        tried = ' '.join(f'-c "{command} {a}"{end}' for a in uses)
        lines.append(f'io {tried} {image}')
    return case(f'io commands used wrongly: {name}',
                'img create -q -f raw r 4M',
                'img create -q -f qcow2 q.qcow2 4M', *lines, unsound=True)


CASES = [
    io_misuse('raw', '-f raw r'), io_misuse('qcow2', '-f qcow2 q.qcow2'),
    io_misuse('read-only', '-r -f qcow2 q.qcow2'), io_misuse('no file', ''),
    io_misuse('blkdebug', 'blkdebug::q.qcow2'),
    # ---- usage ----
    case('usage', *each(
        '', 'foo', '-T', '--bogus', '--image-opts', 'create', 'create -f',
        'create -f raw a', 'create -f raw a -1', 'create a 1M -z',
        'info', 'info a b', 'info -f x -z', 'check', 'check a b', 'map',
        'map a b', 'compare a', 'compare', 'convert', 'convert a',
        'rebase', 'rebase a', 'resize', 'resize 10M', 'resize a b c',
        'snapshot', 'snapshot -c', 'snapshot -l -a x a', 'measure',
        'measure a b', 'bench', 'bench a b', 'dd', 'dd if=a', 'bitmap',
        'bitmap --merge', 'bitmap --foo', 'bitmap a b')),
    case('missing files', *each(
        'info gone', 'check gone', 'map gone', 'compare gone gone',
        'convert gone out', 'convert -O nope gone out', 'rebase -b x gone',
        'rebase -u -b x -F raw gone', 'resize gone 5M', 'snapshot -l gone',
        'snapshot -c x gone', 'measure -O qcow2 gone', 'bench gone',
        'dd if=gone of=out', 'bitmap --add gone b', 'info foo:bar',
        "info ''", 'info --image-opts driver=qcow2,file.filename=gone',
        'info --image-opts a.b', 'info json:{',
        "info 'json:{\"driver\":\"nope\"}'")),
    case('wrong values', *each(
        'create -f raw a 1x', 'create -f raw a 9E',
        'create -f raw a 99999999999E', 'create -f raw -o size=1M a 2M',
        'create -f nope a 1M', 'create -f nope -o help',
        'create -f qcow2 -o a=b a 1M', 'create -f qcow2 -o ,a=b a 1M',
        'create -f qcow2 -o a=b, a 1M', "create -f qcow2 -o '' a 1M",
        'create -f raw -o a=b,,help a 1M', 'create -f raw /nonexistent/a 1M',
        'create -f qcow2 -o cluster_size=3 a 1M',
        'create -f qcow2 -o refcount_bits=3 a 1M',
        'create -f qcow2 -o preallocation=x a 1M',
        'create -f qcow2 -o lazy_refcounts=x a 1M',
        'create -f qcow2 -o compat=0.10,lazy_refcounts=on a 1M',
        'create --object foo,id=1 -f raw a 1M',
        'create --object iothread,id=x -f raw a 1M',
        'create -q -f raw r 1M', 'create -q -f qcow2 q.qcow2 1M',
        'check -r x q.qcow2', 'check --output=foo q.qcow2',
        'check -T foo q.qcow2', 'check -r all -U q.qcow2',
        'check -f raw r', 'check --output=json -f raw r',
        'map -s x r', 'map -l x r', 'map -s -1 r', 'map --output=foo r',
        'compare -T foo r r', 'compare --image-opts -f raw r r',
        'compare -f nope r r', 'compare -U r gone',
        'convert -S x r o', 'convert -S 1 r o', 'convert -S 513 r o',
        'convert -m 0 r o', 'convert -m 17 r o', 'convert -m x r o',
        'convert -t foo r o', 'convert -T foo r o', 'convert -r x r o',
        'convert -c -O raw q.qcow2 o', 'convert -c -C -O qcow2 r o',
        'convert -C -S 4k -O qcow2 r o', 'convert -n -o size=3 r o',
        'convert -B r -O qcow2 q.qcow2 o', 'convert -B r -O raw q.qcow2 o',
        'convert --target-image-opts r o',
        'convert --target-image-opts -O raw r o',
        'convert --target-image-opts -n r driver=raw,file.filename=gone',
        'convert --target-is-zero r o', 'convert --skip-broken-bitmaps r o',
        'convert -l foo q.qcow2 o', 'convert -l snapshot.id=1 q.qcow2 o',
        'convert -l snapshot.foo=1 q.qcow2 o',
        'convert -l x -O raw q.qcow2 q.qcow2 o',
        'convert --bitmaps -O qcow2 q.qcow2 q.qcow2 o',
        'convert --image-opts -f raw a b', 'convert -O nope r o',
        'convert -O null-co r o', 'convert -o foo=1 -O qcow2 r o',
        'convert -o backing_file=x -O raw r o',
        'convert -O qcow2 -o preallocation=metadata -c r o',
        'convert -O qcow2 -B r -F raw q.qcow2 q.qcow2 o',
        'convert -O raw r /nonexistent/o', 'convert -O qcow2 r /nonexistent/o',
        'convert -O qcow2 -o cluster_size=3 r o5',
        'convert --bitmaps -O qcow2 -f raw r o8',
        'convert -n -O raw q.qcow2 gone',
        'rebase -u -b x -F nope q.qcow2', 'rebase -u -b x q.qcow2',
        'rebase -b gone -F raw q.qcow2', 'rebase -t foo -b x q.qcow2',
        'rebase -T foo -b x q.qcow2', 'rebase -u -b r -F raw -f raw r',
        'rebase -b r -F raw -f raw r', "rebase -b '' -f raw r",
        'resize q.qcow2 x', 'resize q.qcow2 +x', 'resize q.qcow2 0',
        'resize -f raw r 0', 'resize --preallocation=foo q.qcow2 2M',
        'resize --shrink q.qcow2 -100M', 'resize q.qcow2 -1k',
        'resize --preallocation=full --shrink q.qcow2 512k',
        'resize -f raw r 10E',
        'measure --size 1G r', 'measure --size x', 'measure -O nope --size 1',
        'measure -O qcow2 -o foo=4k r', 'measure -f qcow2 --size 1G',
        'measure --image-opts --size 1G', 'measure -l x --size 1G',
        'measure -l foo -O qcow2 q.qcow2',
        'bench -c x r', 'bench -d x r', 'bench -s x r', 'bench -S x r',
        'bench -o x r', 'bench --pattern x r', 'bench --pattern 300 r',
        'bench --flush-interval=3 -c 10 r',
        'bench -w --flush-interval=3 -c 10 r',
        'bench -w --flush-interval=x r', 'bench -i foo r', 'bench -t foo r',
        'bench -t -c 1 r', 'bench -n -t foo', '--', '-T x', '--trace x,foo=1',
        '-T foo=1 info r', '--trace enable=x info r', '-T x* info r',
        'convert -F raw r o', 'convert -F nope r o',
        'dd foo', 'dd foo=1', 'dd if=r of=d bs=0', 'dd if=r of=d bs=3G',
        'dd if=r of=d count=x', 'dd if=r of=d skip=x', 'dd if=r of=d bs=x',
        'dd -O nope if=r of=d', 'dd if=r of=/nonexistent/d',
        'dd --image-opts -f raw if=r of=d',
        'snapshot -a s9 q.qcow2', 'snapshot -d s9 q.qcow2',
        'snapshot -U -c x q.qcow2', 'snapshot -d x r', 'snapshot -l r',
        'bitmap --add -g 3 q.qcow2 x', 'bitmap --add -g x q.qcow2 x',
        'bitmap --add -g 4G q.qcow2 x', 'bitmap -b x q.qcow2 --add x',
        'bitmap --image-opts -f qcow2 --add a b',
        "bitmap --add q.qcow2 ''", 'bitmap --remove q.qcow2 x',
        'bitmap --add -f raw r b', 'bitmap --remove -f raw r b',
        'bitmap --merge b0 -b gone -F qcow2 q.qcow2 b9',
        'bitmap --add q.qcow2 ' + 'x' * 1024,
        'bitmap --add -F raw -b x q.qcow2 b')),

    # ---- create and info ----
    case('create and info', *each(
        'create -f raw a 0', 'create -f raw a 1.5k', 'create -f raw a 1k',
        'info a', 'info --output=json a', 'create -f qcow2 b.qcow2 1M',
        'info b.qcow2', 'info --output=json b.qcow2',
        'create -f qcow2 -o lazy_refcounts b.qcow2 1M',
        'create -f qcow2 -o nolazy_refcounts b.qcow2 1M', 'info b.qcow2',
        'create -f qcow2 -o cluster_size=4k,lazy_refcounts=on,'
        'refcount_bits=1 b.qcow2 10M', 'info b.qcow2',
        'create -f qcow2 -o compat=0.10 b.qcow2 1M', 'info b.qcow2',
        'info --output=json b.qcow2',
        'create -f qcow2 -o extended_l2=on b.qcow2 1M', 'info b.qcow2',
        'create -f qcow2 -o compression_type=zstd b.qcow2 1M',
        'info b.qcow2', 'create -f qcow2 -o preallocation=metadata b.qcow2 1M',
        'info b.qcow2', 'create -f qcow2 -o size=1M b.qcow2',
        'create -f qcow2 -o data_file=df,data_file_raw=on e.qcow2 1M',
        'info e.qcow2', 'info --output=json e.qcow2', 'info -f raw a', 'info -f file a',
        'info -U b.qcow2', 'info --image-opts driver=qcow2,file.filename='
        'b.qcow2', 'info --image-opts b.qcow2 -f qcow2',
        "info 'json:{\"driver\":\"null-co\"}'",
        "info --output=json 'json:{\"driver\":\"null-co\"}'",
        "map --output=json 'json:{\"driver\":\"null-co\"}'",
        "info 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\","
        "\"filename\":\"b.qcow2\"}}'")),
    case('chains', *each(
        'info top.qcow2', 'info --backing-chain top.qcow2',
        'info --backing-chain --output=json top.qcow2', 'map top.qcow2',
        'map --output=json top.qcow2', 'map --output=json mid.qcow2',
        'map --output=json base.raw', 'map base.raw',
        'map --output=json -s 64k -l 100k top.qcow2',
        'map --start-offset=10M top.qcow2', 'map -s 3 -l 5 --output=json '
        'top.qcow2', 'map --start-offset=10M --output=json top.qcow2',
        'check top.qcow2', 'check --output=json top.qcow2',
        'create -f qcow2 -b mid.qcow2 x.qcow2',
        'create -f qcow2 -b gone -F raw x.qcow2',
        'create -f qcow2 -u -b gone -F raw x.qcow2',
        'create -f qcow2 -u -b gone -F raw x.qcow2 1M', 'info x.qcow2',
        'create -f raw -b mid.qcow2 -F qcow2 x.raw',
        'create -f qcow2 -b x2.qcow2 -F qcow2 x2.qcow2'), make=MAKE),
    # No tool of the peer's but info survives to open such images.
    case('a loop of backing files', *each(
        'create -q -f qcow2 -u -b l2.qcow2 -F qcow2 l1.qcow2 1M',
        'create -q -f qcow2 -u -b l1.qcow2 -F qcow2 l2.qcow2 1M',
        'info --backing-chain l1.qcow2',
        'info --backing-chain --output=json l1.qcow2'), unsound=True),

    # ---- bitmaps ----
    case('bitmaps over what is gone',
         'img create -q -f qcow2 -u -b gone -F raw a.qcow2 4M',
         'img create -q -f qcow2 m.qcow2 4M', *each(
             'bitmap --add a.qcow2 b0', 'bitmap --disable a.qcow2 b0',
             'bitmap --add m.qcow2 b1',
             'bitmap --merge b0 -b a.qcow2 -F qcow2 m.qcow2 b1',
             'bitmap --clear --enable a.qcow2 b0',
             'bitmap --remove a.qcow2 b0', 'snapshot -c s a.qcow2',
             'resize a.qcow2 8M', 'amend -o compat=1.1 a.qcow2',
             'info a.qcow2', 'map a.qcow2', 'check a.qcow2')),
    case('bitmaps', 'img create -q -f qcow2 a.qcow2 4M', *each(
        'bitmap --add a.qcow2 b0', 'bitmap --add a.qcow2 b0',
        'bitmap --add --disable -g 512 a.qcow2 b1',
        'bitmap --add --disable --merge b0 a.qcow2 b9',
        'bitmap --add -g 2G a.qcow2 big', 'info a.qcow2',
        'info --output=json a.qcow2', 'bitmap --enable --disable a.qcow2 b0',
        'bitmap --merge b0 a.qcow2 nope', 'bitmap --merge nope a.qcow2 b0',
        'bitmap --clear a.qcow2 nope', "bitmap --add a.qcow2 'a/b c'",
        'bitmap --remove a.qcow2 b9', 'info a.qcow2',
        'convert --bitmaps -O qcow2 a.qcow2 c.qcow2', 'info c.qcow2',
        'convert --bitmaps -O raw a.qcow2 o7',
        'measure -O qcow2 a.qcow2', 'measure --output=json -O qcow2 a.qcow2',
        'check a.qcow2', 'check c.qcow2')),

    # ---- compare ----
    case('compare', *MAKE, *each(
        'create -q -f qcow2 e.qcow2 2M', 'create -q -f qcow2 e3.qcow2 3M',
        'compare e.qcow2 e3.qcow2', 'compare -s e.qcow2 e3.qcow2',
        'compare top.qcow2 e.qcow2', 'compare e.qcow2 top.qcow2',
        'compare top.qcow2 mid.qcow2', 'compare base.raw mid.qcow2',
        'compare -q top.qcow2 e.qcow2', 'compare -p top.qcow2 top.qcow2',
        'convert -O raw top.qcow2 top.raw', 'compare top.qcow2 top.raw',
        'compare -p -q top.qcow2 top.raw', 'compare -s top.qcow2 top.raw',
        'compare -f qcow2 -F raw top.qcow2 top.raw',
        'compare -f raw top.raw top.raw'),
        'io -f raw -c "write -q -P 9 66050 3" top.raw',
        'img compare top.qcow2 top.raw', 'img compare top.raw top.qcow2'),

    # ---- convert ----
    case('convert', *MAKE, *each(
        'convert -O raw top.qcow2 o.raw', 'convert -O qcow2 top.qcow2 o.qcow2',
        'map --output=json o.qcow2', 'map --output=json o.raw',
        'convert -p -O qcow2 top.qcow2 o.qcow2',
        'convert -p -q -O qcow2 top.qcow2 o.qcow2',
        'convert -c -O qcow2 top.qcow2 c.qcow2', 'check c.qcow2',
        'map c.qcow2', 'map --output=json c.qcow2',
        'convert -c -W -O qcow2 top.qcow2 c.qcow2',
        'convert -m 1 -O qcow2 top.qcow2 o.qcow2',
        'convert -S 0 -O qcow2 top.qcow2 o.qcow2', 'map --output=json o.qcow2',
        'convert -S 64k -O qcow2 top.qcow2 o.qcow2',
        'map --output=json o.qcow2',
        'convert -B mid.qcow2 -F qcow2 -O qcow2 top.qcow2 o.qcow2',
        'info o.qcow2', 'map --output=json o.qcow2',
        'convert -B base.raw -F raw -O qcow2 top.qcow2 o.qcow2',
        'map --output=json o.qcow2',
        'convert -O qcow2 -o backing_file=mid.qcow2,backing_fmt=qcow2 '
        'top.qcow2 o.qcow2', 'map --output=json o.qcow2',
        'convert -B gone -F raw -O qcow2 top.qcow2 g.qcow2',
        'convert -O qcow2 -o size=8M top.qcow2 o2.qcow2', 'info o2.qcow2',
        'convert -O raw mid.qcow2 top.qcow2 joined', 'info joined',
        'convert -n -O raw top.qcow2 base.raw',
        'create -q -f qcow2 n.qcow2 3M'),
        'io -c "write -q -P 9 0 3M" n.qcow2', *each(
        'convert -n -O qcow2 top.qcow2 n.qcow2', 'map --output=json n.qcow2',
        'create -q -f qcow2 -o cluster_size=4k z.qcow2 2M',
        'convert -n --target-is-zero -O qcow2 top.qcow2 z.qcow2',
        'map --output=json z.qcow2',
        'convert -C -O raw o.raw p.raw', 'compare o.raw p.raw',
        'convert --image-opts driver=qcow2,file.filename=top.qcow2 q.raw',
        'convert -n --target-image-opts top.qcow2 '
        'driver=raw,file.filename=q.raw', 'compare q.raw o.raw',
        'convert -O qcow2 -o cluster_size=512 top.qcow2 s.qcow2',
        'convert -O qcow2 -o extended_l2=on top.qcow2 x.qcow2',
        'map --output=json x.qcow2')),
    case('convert -o help', ('code only', 'img convert -O qcow2 -o help'),
         ('code only', 'img create -f qcow2 -o help x'),
         'img create -f raw -o help', 'img convert -o help'),
    case('an odd length', 'py open("odd", "wb").write(b"x" * 1000)', *each(
        'convert -f raw -O raw odd o', 'convert -f raw -O qcow2 odd o.qcow2',
        'convert -f raw -O raw odd odd oo', 'compare -f raw odd o.qcow2',
        'info o.qcow2')),

    case('salvage', 'img create -q -f qcow2 -o cluster_size=4k a.qcow2 64k',
         'io -c "write -q -c -P 1 0 4k" -c "write -q -c -P 2 4k 4k" '
         '-c "write -q -P 3 8k 4k" a.qcow2',
         'py f = open("a.qcow2", "r+b"); f.seek(0x5000); '
         'f.write(b"\\xff" * 20)', *each(
             '-c "read -P 1 0 4k" -c "read -P 2 4k 4k" a.qcow2',
             program='io'), *each(
             'convert -O raw a.qcow2 o.raw',
             'convert --salvage -O raw a.qcow2 p.raw',
             'convert --salvage -q -O raw a.qcow2 q.raw',
             'convert --salvage -O qcow2 -c a.qcow2 o.qcow2',
             'compare a.qcow2 p.raw', 'compare p.raw a.qcow2',
             'dd if=a.qcow2 of=d.raw', "rebase -b '' a.qcow2",
             'bench -c 100 -s 4096 a.qcow2'), unsound=True),

    # ---- check and repair ----
    case('leaks', 'img create -q -f qcow2 a.qcow2 4M',
         'io -c "write -q 0 128k" a.qcow2',
         'py import os, struct; f = open("a.qcow2", "r+b"); f.seek(48); '
         'f.seek(struct.unpack(">Q", f.read(8))[0]); '
         'b = struct.unpack(">Q", f.read(8))[0]; '
         'n = os.path.getsize("a.qcow2") // 65536; f.truncate((n + 1) << 16);'
         ' f.seek(b + 2 * n); f.write(b"\\0\\1")', *each(
             'check a.qcow2', 'check --output=json a.qcow2',
             'check -q a.qcow2', 'check -r leaks a.qcow2', 'check a.qcow2'),
         unsound=True),
    case('corruptions', 'img create -q -f qcow2 a.qcow2 4M',
         'io -c "write -q 0 128k" a.qcow2',
         'py import struct; f = open("a.qcow2", "r+b"); f.seek(48); '
         'f.seek(struct.unpack(">Q", f.read(8))[0]); '
         'b = struct.unpack(">Q", f.read(8))[0]; f.seek(b + 12); '
         'f.write(b"\\0\\0")', *each(
             'check a.qcow2', 'check --output=json a.qcow2',
             'check -r all a.qcow2', 'check a.qcow2'), unsound=True),

    # ---- rebase, resize, snapshot ----
    case('rebase', *MAKE, *each(
        'rebase -u -b elsewhere -F raw top.qcow2', 'info top.qcow2',
        'rebase -u -b mid.qcow2 -F qcow2 top.qcow2',
        'rebase -b base.raw -F raw top.qcow2', 'map --output=json top.qcow2',
        'rebase -p -b mid.qcow2 -F qcow2 top.qcow2',
        "rebase -b '' top.qcow2", 'info top.qcow2',
        'map --output=json top.qcow2', 'rebase -u mid.qcow2',
        'info mid.qcow2')),
    case('commit', *each(
        'commit', 'commit a b', 'commit gone', 'commit -f raw base.raw',
        'commit -b nope top.qcow2', 'commit -t foo top.qcow2',
        'commit -r x top.qcow2', 'commit -q -d top.qcow2',
        'map --output=json top.qcow2', 'commit top.qcow2',
        'map --output=json top.qcow2', 'info mid.qcow2',
        'map --output=json mid.qcow2'),
        'io -c "write -q -P 9 1M 100k" top.qcow2', *each(
        'commit -r 1G -b base.raw top.qcow2', 'map --output=json top.qcow2',
        'info base.raw', 'map --output=json base.raw',
        'compare -f raw base.raw top.qcow2'), make=MAKE),
    case('resize', *MAKE, *each(
        'resize top.qcow2 3M', 'resize top.qcow2 +1M', 'resize top.qcow2 -1M',
        'resize --shrink top.qcow2 -1M', 'resize -q top.qcow2 4M',
        *(f'resize --shrink top.qcow2 {size}' for size in (
            '9E', '+9E', '8E', '+8E', '-8E', '-4M', '-5M', '0', '+0')),
        'info top.qcow2',
        'resize --preallocation=metadata top.qcow2 5M',
        'resize top.qcow2 5242880', 'info top.qcow2',
        'map --output=json top.qcow2', 'resize -f raw base.raw 3M',
        'resize -f raw base.raw 512k', 'resize -f raw --shrink base.raw 512k',
        'resize base.raw 600k', 'info base.raw')),
    case('snapshot', *MAKE, *each(
        'snapshot -l mid.qcow2', 'snapshot mid.qcow2',
        'snapshot -c s1 mid.qcow2', 'snapshot -c s1 mid.qcow2',
        'snapshot -c 1 mid.qcow2', 'snapshot -l mid.qcow2',
        'info mid.qcow2', 'info --output=json mid.qcow2'),
        'io -c "write -q -P 7 0 1M" mid.qcow2', *each(
        'convert -l s1 -O raw mid.qcow2 s1.raw',
        'convert -l snapshot.id=1 -O raw mid.qcow2 s2.raw',
        'compare s1.raw s2.raw', 'compare s1.raw mid.qcow2',
        'measure -l s1 -O qcow2 mid.qcow2', 'snapshot -a s1 mid.qcow2',
        'compare s1.raw mid.qcow2', 'snapshot -d s1 mid.qcow2',
        'snapshot -l mid.qcow2', 'snapshot -d 1 mid.qcow2',
        'snapshot -U -l mid.qcow2', 'check mid.qcow2',
        'snapshot -c ' + 'y' * 30 + ' mid.qcow2', 'snapshot -l mid.qcow2')),

    case('snapshots beside a data file',
         'img create -q -f qcow2 -o data_file=df x.qcow2 1M',
         'io -c "write -q 0 300k" -c "write -q -z 64k 64k" x.qcow2', *each(
             'snapshot -c s x.qcow2', 'check x.qcow2', 'snapshot -l x.qcow2',
             'snapshot -a s x.qcow2', 'snapshot -d s x.qcow2',
             'check x.qcow2')),

    # ---- measure, dd, bench ----
    case('measure', *each(
        'measure --size 1G', 'measure --size 1G -O qcow2',
        'measure --size 1G -O qcow2 --output=json', 'measure top.qcow2',
        'measure -O qcow2 top.qcow2', 'measure -O qcow2 base.raw',
        'measure -O qcow2 -o cluster_size=4k top.qcow2',
        'measure --size 1000 -O raw'), make=MAKE),
    case('dd', *MAKE, *each(
        'dd if=top.qcow2 of=d.raw', 'info d.raw',
        'dd if=top.qcow2 of=d1.raw bs=64k count=2 skip=1',
        'dd -O qcow2 if=top.qcow2 of=d.qcow2 bs=1M', 'info d.qcow2',
        'dd if=top.qcow2 of=d2.raw skip=1000000',
        'dd -f raw -U if=top.qcow2 of=d3.raw count=3',
        'dd if=top.qcow2 of=d4.raw bs=512 count=100G',
        'compare -f raw -F qcow2 d.raw top.qcow2')),
    case('bench', 'img create -q -f qcow2 a.qcow2 1M', *each(
        'bench -c 100 a.qcow2', 'bench -w -c 100 a.qcow2',
        'bench -q -c 10 a.qcow2', 'bench --pattern 3 -c 10 a.qcow2',
        'bench -w --flush-interval=3 --no-drain -c 10 -d 1 a.qcow2',
        'bench -w --flush-interval=64 -c 200 a.qcow2',
        'bench -c 0 a.qcow2', 'bench -s 1000 -c 3 a.qcow2',
        'bench -n -c 2 a.qcow2', 'bench -n -t none -c 2 -d 1 a.qcow2',
        'bench -i native -c 2 a.qcow2', 'bench -n -c 2 gone',
        'bench -n -i threads -c 2 a.qcow2',
        'bench -w -U -c 2 a.qcow2', 'bench -i io_uring -c 10 -d 1 a.qcow2',
        'bench -o 512k -S 128k -c 10 -d 2 a.qcow2')),

    # ---- qemu-io ----
    case('io commands', 'img create -q -f raw r 4M', *each(*[
        f'-f raw -c "{c}" r' for c in (
            'write -P 1 0 64k', 'read -v 0 20', 'read -v 3 33',
            'write -q 0 1k', 'write -f 0 1k', 'write -u -z 0 1k',
            'write -n -z 0 1k', 'write -n 0 1k', 'write -z -f 0 1M',
            'write -zu -n 0 1M', 'write -c 0 1k', 'write -s nofile 0 1k',
            'write -s r 0 1k', 'write -s r -P 1 0 1k', 'write -b 0 1k',
            'read -b 0 1k', 'write -p 0 1k', 'write -x 0 1k',
            'read -P 1 -s 10 0 5', 'read -P 1 -l 10 0 5', 'read -s 10 0 5',
            'read -P 1 -s 2 -l 2 0 5', 'read -P 1 -s x 0 5',
            'read -P 1 -l -1 0 5', 'read -P 9 0 5', 'read 0', 'read',
            'read x 1', 'read 0 x', 'read -1 5', 'read 0 0', 'write 0 0',
            'write -z 0 0', 'read 1k 1.5k', 'write 0x10 010',
            'writev 0 1k 2k', 'writev -P 3 0 1k 2k', 'readv -P 3 0 1k 2k',
            'readv -v 0 16 16', 'readv -P 4 0 1k 2k', 'readv 0', 'readv 0 x',
            'readv 0 0', 'writev 0', 'writev -f 0 512', 'writev -q 0 512',
            'writev -x 0', 'readv -s 0 1', 'aio_read 0 1k',
            'aio_read -P 8 0 1k', 'aio_read -v 0 16', 'aio_read -q 0 1k',
            'aio_write -P 3 0 1k', 'aio_write -z 0 1k',
            'aio_write -z 0 1k 2k', 'aio_write -u 0 1k', 'aio_write -z 0 x',
            'aio_write 0', 'aio_write -x', 'aio_read', 'aio_read 4M 1k',
            'aio_write 4M 1k', 'aio_flush', 'aio_flush 1', 'flush',
            'flush 1', 'truncate', 'truncate x', 'truncate 3M',
            'truncate -m off 4M', 'truncate -m bad 4M', 'truncate -m full 4M',
            'truncate -1', 'length', 'length 1', 'info', 'map', 'alloc 0',
            'alloc 0 1M', 'alloc 0 1k 1', 'alloc', 'alloc x', 'alloc 5M 1k',
            'discard 0 1k', 'discard -q 0 1k', 'discard 5M 1k',
            'discard x 1', 'discard 0 x', 'discard 0', 'discard -x',
            'discard 0 8G', 'sleep', 'sleep x', 'sleep 1', 'sigraise',
            'sigraise x', 'reopen', 'reopen -r', 'reopen -w', 'reopen -x',
            'reopen a b', 'reopen -c none', 'reopen -c bad',
            'reopen -o foo=1', 'reopen -rw', 'break', 'abort x', 'open',
            'close', 'close 1', 'quit', 'quit 1', 'q', 'r 0 1k', 'w 0 1k',
            'f', 'l', 't 4M', 'd 0 1k', 'c', 'i', 'm', 'a', 's',
            ' read  0 512 ', '', '  ', '# foo', 'rv 0 512',
            'write -P 0x1ff 0 512', 'write -P -1 0 512', 'write -P 010 0 512',
            'read -v 010 512 5', 'write 2G 512', 'write 0 3G',
            'write -n -z 0 3G', 'write -z 0 3G', 'read 0 3G', 'read 9E 512',
            'read 8E 512', 'write -z 4M 512', 'nope', 'help nope')],
        program='io')),
    case('io sessions', 'img create -q -f raw r 4M', *each(
        '-f raw -c "read 0 512" -c nope -c length r',
        '-f raw -c quit -c length r', '-c length', 'gone -c l',
        '-f nope -c l r', '-t bad -f raw -c l r', '-d bad -f raw -c l r',
        '-i bad -f raw -c l r', '-k -i threads -f raw -c l r',
        '-r -n -f raw -c length r',
        '-U -f raw -c length r', '-U -r -f raw -c length r',
        '--image-opts driver=raw,file.filename=r -c length',
        '--image-opts -f raw r', '-r -f raw -c "write 0 1" -c "truncate 1" '
        '-c "discard 0 1" -c "aio_write 0 1" -c "writev 0 1" -c flush r',
        "-c 'open -o driver=raw r' -c 'open -r r' -c length",
        "-c 'open -o driver=raw,foo=1 r'",
        "-c 'open -t bad r'", "-c 'open -d bad r'",
        "-c 'open -o driver=raw,file.filename=r' -c length",
        "-c 'open -r -o driver=raw r' -c 'write 0 1'", "-c 'open gone'",
        "-f raw -c 'reopen -r' -c 'write 0 1' -c 'reopen -w' "
        "-c 'write -q 0 1' r",
        "-f raw -c 'aio_write -q 0 1M' -c aio_flush -c 'read -P 0xcd 0 1M' "
        "r", '-m -f raw -c "write -P 5 1 100" -c "read -P 5 1 100" r',
        '-t none -f raw -c "write -P 6 1 1000" -c "read -P 6 1 1000" r',
        program='io')),
    case('io of qcow2', *MAKE, *each(*[
        f'-f qcow2 {c} top.qcow2' for c in (
            '-c info -c length -c map -c "alloc 0 1M"',
            '-c "write -P 4 100 1000" -c "read -P 4 100 1000" -c map',
            '-c "write -c 1M 64k" -c "write -c 1 512" -c "write -c 0 1"',
            '-c "discard 64k 64k" -c map',
            '-c "write -z -n 1536k 64k" -c map', '-c "truncate 3M" -c length',
            '-c "write -z 100 20" -c "write -zu 200k 300k"',
            '-c "reopen -o foo=3"',
            '-r -c "read 0 3M" -c "read 3M 1"')], program='io'), *each(
        'map --output=json top.qcow2', 'check top.qcow2')),
]
