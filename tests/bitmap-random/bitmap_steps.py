# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Steps of a random sequence that take more than one command: bitmaps that are
filled from the disk, and overlays whose bitmaps follow the data."""

import copy
import os

from bitmap_model import Bitmap, Disk, span
from iolib import equal, img, path, true


def granules(content, shift):
    """The bits of the pieces that are not all zeroes."""
    bits = 0
    for at in range(0, len(content), 1 << shift):
        piece = content[at:at + (1 << shift)]
        if piece.count(0) != len(piece):
            bits |= 1 << (at >> shift)
    return bits


class Steps:
    """Added to a sequence; they use its rng, qsd, model, look and write."""

    def job(self):
        self.jobs += 1
        return f'j{self.jobs}'

    # -- block-dirty-bitmap-populate

    def populate(self, d):
        usable = [b for b in d.bitmaps.values() if not b.inconsistent]
        if d.ro or not usable:
            return
        b, job = self.rng.choice(usable), self.job()
        content = b''.join(part for _, part in self.client(d).read_all())
        found = granules(content, b.shift)
        data = {'job-id': job, 'node': d.name, 'name': b.name,
                'pattern': 'non-zero'}
        if self.rng.random() < 0.5:
            size = self.some_size()
            self.qsd.add('null-co', 'base', size=size, read_zeroes=True)
            data.update({'pattern': 'difference', 'base-node': 'base'})
            found |= span(size, d.size - size, b.shift)
        action = ('block-dirty-bitmap-populate', data)
        if self.rng.random() < 0.3:     # it leaves no trace
            try:
                self.qsd.transaction(action, ('abort', {}))
            except self.Error:
                pass
        elif self.rng.random() < 0.5:
            self.qsd.transaction(action)
            self.qsd.qmp.job_end(job)
            b.bits |= found
        else:
            self.qsd.qmp.execute(*action)
            self.qsd.qmp.job_end(job)
            b.bits |= found
        if 'base-node' in data:
            self.qsd.cmd('blockdev-del', node_name='base')
        self.look(d)

    # -- snapshots

    def snapshot_inside(self, d):
        """Bitmaps don't care."""
        if not d.ro:
            for end in ('', '-delete'):
                self.qsd.cmd(f'blockdev-snapshot{end}-internal-sync',
                             device=d.name, name='s')
            self.look(d)

    def overlay(self, d):
        """An overlay takes the writes for a while; then it goes down into the
        disk, or is thrown away, and the disk stays read-only."""
        if d.ro or 'over' in self.model.disks or \
                any(b.inconsistent for b in d.bitmaps.values()):
            return
        self.unexport(d)
        top = self.overlay_begin(d)
        for _ in range(self.rng.randint(1, 8)):
            self.rng.choice((self.write, self.write, self.overlay_command,
                             self.look, self.populate))(top)
        self.look(top)
        self.overlay_chain(d, top)
        self.unexport(top)
        if self.rng.random() < 0.7:
            self.overlay_commit(d, top)
        self.qsd.undisk('over')
        del self.model.disks['over']
        self.open.discard('over')
        self.look(d)

    def overlay_begin(self, d):
        image = path('over.qcow2')
        if os.path.exists(image):
            os.unlink(image)
        cluster = 1 << self.rng.choice((9, 16))
        img('create', '-q', '-f', 'qcow2', '-o', f'cluster_size={cluster}',
            image, str(d.size))
        self.qsd.disk('over', image, backing=None, discard='unmap')
        self.qsd.cmd('blockdev-snapshot', node=d.name, overlay='over',
                     bitmaps='carry')
        d.reopen()                      # read-only below it
        top = Disk('over', d.size, cluster, True)
        top.bitmaps = {b.name: Bitmap(b.name, b.shift, True, b.persistent)
                       for b in d.bitmaps.values() if b.recording}
        self.model.disks['over'] = top
        self.open.add('over')
        self.look(top)
        return top

    def overlay_command(self, top):
        kind, data = self.sane_action(top)
        if not kind.endswith('remove'):
            self.expect([(kind, data)],
                        lambda: self.qsd.qmp.execute(kind, data))

    def overlay_chain(self, d, top):
        """Healthy: the top has it, and whoever has it records."""
        chains = {c['name']: c['healthy']
                  for c in self.qsd.cmd('query-bitmap-chain', node='over')}
        want = {name: name in top.bitmaps and all(
            x.bitmaps[name].recording for x in (top, d) if name in x.bitmaps)
            for name in {*top.bitmaps, *d.bitmaps}}
        equal(chains, want, 'health of the chain')

    def overlay_commit(self, d, top):
        """What the job writes down is recorded there, in whole clusters.  One
        that had stopped to record and goes on has missed what was between."""
        job, before = self.job(), copy.deepcopy(d.bitmaps)
        self.qsd.cmd('block-commit', job_id=job, device='over',
                     bitmaps='carry')
        self.qsd.event('BLOCK_JOB_READY', device=job)
        self.qsd.cmd('job-complete', id=job)
        self.qsd.qmp.job_end(job)
        self.qsd.event('JOB_STATUS_CHANGE', id=job, status='null')
        d.reopen()
        for name, b in top.bitmaps.items():
            mine = d.bitmaps.setdefault(name, Bitmap(
                name, b.shift, b.recording, b.persistent))
            mine.bits |= d.all_bits(mine.shift) & \
                (b.scaled(mine.shift, d.size)
                 if mine.recording or not b.recording else -1)
            mine.recording |= b.recording
            mine.cut_end = max(mine.cut_end, b.cut_end)
        for name, b in d.bitmaps.items():
            got = 0
            for off, length in self.qsd.dirty(d.name, name):
                got |= span(off, length, b.shift)
            equal(b.bits & ~got, 0, f'lost from {name}')
            if name in before and not before[name].recording:
                equal(got, b.bits, f'{name}, which does not record')
            true(got <= d.all_bits(b.shift), 'no longer than the disk')
            b.bits = got
