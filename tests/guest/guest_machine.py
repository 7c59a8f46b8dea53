# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""A small Linux in Debian's qemu-system-x86: Debian's cloud kernel with modules of
choice, busybox, programs with their libraries, and a script that is /init."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

__all__ = ['Tree', 'Guest', 'VIRTIO', 'kernel']

PACKAGES = ['busybox-static', 'linux-image-cloud-amd64']
# They need each other, so the guest tries several times.
VIRTIO = ['virtio', 'virtio_ring', 'virtio_pci_legacy_dev',
          'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk']
PROLOGUE = r'''#!/bin/sh
/bin/busybox --install -s /bin
mkdir -p /dev /proc /sys /mnt /tmp /run/lock /var
ln -s /run/lock /var/lock
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
for pass in 1 2 3; do
    for m in MODULES; do insmod /modules/$m.ko 2>/dev/null; done
done
'''


def skip(why):
    print(f'1..0 # SKIP {why}')
    sys.exit(0)


def download(packages):
    """The packages, unpacked, without being installed."""
    os.makedirs(packages, exist_ok=True)
    out = subprocess.run(['apt-cache', 'depends', PACKAGES[1]],
                         capture_output=True, text=True, check=False).stdout
    names = PACKAGES[:1] + re.findall(r'Depends: (linux-image-\S+)', out)
    for name in names:
        with tempfile.TemporaryDirectory(dir=packages) as folder:
            subprocess.run(['apt-get', 'download', '-qq', name], cwd=folder,
                           stderr=subprocess.DEVNULL, check=False)
            for deb in glob.glob(f'{folder}/*.deb'):
                subprocess.run(['dpkg', '-x', deb, packages], check=True)


def kernel(packages, may_download):
    """The file to boot; skips the test where there is none."""
    os.environ['PATH'] += ':/sbin:/usr/sbin'
    for tool in ('qemu-system-x86_64', 'mke2fs', 'e2fsck', 'debugfs'):
        if not shutil.which(tool):
            skip(f'{tool} is not installed')
    found = sorted(glob.glob(f'{packages}/boot/vmlinuz-*-cloud-*'))
    if not found and may_download:
        download(packages)
        found = sorted(glob.glob(f'{packages}/boot/vmlinuz-*-cloud-*'))
    if not found or not os.path.exists(f'{packages}/bin/busybox'):
        skip(f'no kernel and busybox in {packages} (--download)')
    return found[-1]


class Tree:
    """What the guest finds in its memory."""

    def __init__(self, packages, folder):
        self.packages, self.folder = packages, folder
        self.modules = []
        os.makedirs(f'{folder}/bin')
        os.makedirs(f'{folder}/modules')
        shutil.copy(f'{packages}/bin/busybox', f'{folder}/bin')
        os.symlink('busybox', f'{folder}/bin/sh')

    def add_file(self, name, place):
        target = self.folder + place
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(name, target)

    def add_program(self, name, *libraries):
        """Into /sbin, with the libraries that it needs, or opens by itself."""
        name = os.path.realpath(name)
        self.add_file(name, f'/sbin/{os.path.basename(name)}')
        for file in (name, *libraries):
            out = subprocess.run(['ldd', file], capture_output=True,
                                 text=True, check=True).stdout
            for found in re.findall(r'(/\S+) \(', out):
                self.add_file(found, found)
        for file in libraries:
            self.add_file(file, file)

    def add_mke2fs(self):
        self.add_program(shutil.which('mke2fs'))
        # By whichever of its names it was found.
        real = os.path.basename(os.path.realpath(shutil.which('mke2fs')))
        if real != 'mke2fs':
            os.rename(f'{self.folder}/sbin/{real}', f'{self.folder}/sbin/mke2fs')
        if os.path.exists('/etc/mke2fs.conf'):
            self.add_file('/etc/mke2fs.conf', '/etc/mke2fs.conf')

    def add_modules(self, names):
        self.modules += names
        for name in names:
            for found in glob.glob(
                    f'{self.packages}/lib/modules/*/kernel/**/{name}.ko',
                    recursive=True):
                shutil.copy(found, f'{self.folder}/modules')

    def pack(self, script, initrd):
        """The initial file system whose /init ends with @script."""
        with open(f'{self.folder}/init', 'w') as f:
            f.write(PROLOGUE.replace('MODULES', ' '.join(self.modules)) +
                    script)
        os.chmod(f'{self.folder}/init', 0o755)
        names = subprocess.run(['find', '.'], cwd=self.folder, check=True,
                               capture_output=True).stdout
        with open(initrd, 'wb') as f:
            subprocess.run([f'{self.packages}/bin/busybox', 'cpio', '-o', '-H',
                            'newc'], cwd=self.folder, input=names, stdout=f,
                           check=True, stderr=subprocess.DEVNULL)
        return initrd


class Guest:
    """The virtual machine, and what it says."""

    def __init__(self, accel, image, initrd, *more, memory=256):
        self.accel = accel
        self.said, self.over = [], False
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            ['qemu-system-x86_64', '-accel', accel, '-m', str(memory),
             '-nodefaults', '-display', 'none', '-no-reboot',
             '-serial', 'stdio', '-kernel', image, '-initrd', initrd,
             '-append', 'console=ttyS0 quiet panic=-1 no_timer_check', *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def hear(self, line):
        """For heirs; the condition is held."""

    def _listen(self):
        for line in self.process.stdout:
            line = line.decode(errors='replace').strip()
            with self.news:
                self.said.append(line)
                self.hear(line)
                self.news.notify_all()
        with self.news:
            self.over = True
            self.news.notify_all()

    def wait(self, what, fits, seconds=180):
        with self.news:
            self.news.wait_for(lambda: fits() or self.over, seconds)
            if not fits():
                raise AssertionError(f'{what}; the guest said '
                                     f'{self.said[-20:]}')

    def is_ready(self, seconds):
        with self.news:
            self.news.wait_for(lambda: 'READY' in self.said or self.over,
                               seconds)
            return 'READY' in self.said

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @classmethod
    def boot(cls, accel, *args, **more):
        """With KVM, unless it is not there or does not get anywhere."""
        if accel != 'tcg' and os.access('/dev/kvm', os.R_OK | os.W_OK):
            guest = cls('kvm', *args, **more)
            if guest.is_ready(20):
                return guest
            guest.kill()
        guest = cls('tcg', *args, **more)
        if not guest.is_ready(240):
            guest.kill()
            raise AssertionError(f'not ready; the guest said '
                                 f'{guest.said[-20:]}')
        return guest
