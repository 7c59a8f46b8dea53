/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the file system or device below an image can do.
 *
 * Alignment for O_DIRECT comes from the kernel where it says it (statx with
 * STATX_DIOALIGN since Linux 6.1, BLKSSZGET for devices), else from reads that
 * are tried with growing alignments: the first that the system does not refuse
 * with EINVAL is the one. If it takes single bytes it does not tell the truth
 * (some file systems fall back to the page cache): 4096 is safe then.
 *
 * The rest of the capabilities are assumed and forgotten at the first refusal
 * (file-io.c).
 */

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include "block/file.h"
#include "util/bytes.h"

#define PROBE_MAX_ALIGN (64 * KiB)
#define SAFE_ALIGN 4096

static bool file_caps_can_read(int fd, void *buf, int64_t len)
{
    ssize_t ret;

    do {
        ret = pread(fd, buf, len, 0);
    } while (ret < 0 && errno == EINTR);
    /* Other errors (a bad block) are not the alignment's fault. */
    return ret >= 0 || errno != EINVAL;
}

static void file_caps_probe_reads(FileCaps *caps, int fd)
{
    g_autoptr(AlignedBuf) buf = aligned_try_alloc_io(PROBE_MAX_ALIGN,
                                                     2 * PROBE_MAX_ALIGN);
    uint8_t *p = buf;

    caps->request_alignment = caps->mem_alignment = SAFE_ALIGN;
    if (!buf || file_caps_can_read(fd, buf, 1)) {
        return;
    }
    for (int64_t a = 512; a <= PROBE_MAX_ALIGN; a *= 2) {
        if (file_caps_can_read(fd, buf, a)) {
            caps->request_alignment = a;
            break;
        }
    }
    if (file_caps_can_read(fd, p + 1, caps->request_alignment)) {
        return;
    }
    for (int64_t a = 4; a <= PROBE_MAX_ALIGN; a *= 2) {
        if (file_caps_can_read(fd, p + a, caps->request_alignment)) {
            caps->mem_alignment = MAX(a, 512);
            break;
        }
    }
}

/* True if the kernel said it. */
static bool file_caps_statx(FileCaps *caps, int fd)
{
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align > 0) {
        caps->request_alignment = stx.stx_dio_offset_align;
        caps->mem_alignment = MAX(stx.stx_dio_mem_align, 1);
        return is_power_of_2(caps->request_alignment) &&
               is_power_of_2(caps->mem_alignment);
    }
#endif
    return false;
}

static void file_caps_alignment(FileCaps *caps, int fd, bool direct)
{
    int sector;

    caps->request_alignment = caps->mem_alignment = 1;
    if (!direct || caps->chardev) {
        return;
    }
    if (file_caps_statx(caps, fd)) {
        return;
    }
    if (caps->blockdev && ioctl(fd, BLKSSZGET, &sector) == 0 &&
        is_power_of_2(sector)) {
        caps->request_alignment = sector;
        caps->mem_alignment = SAFE_ALIGN;
        return;
    }
    file_caps_probe_reads(caps, fd);
}

static bool file_caps_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

void file_caps_probe(FileCaps *caps, int fd, bool direct)
{
    struct stat st = { 0 };

    *caps = (FileCaps) { 0 };
    if (fstat(fd, &st) == 0) {
        caps->blockdev = S_ISBLK(st.st_mode);
        caps->chardev = S_ISCHR(st.st_mode);
    }
    caps->memory = S_ISREG(st.st_mode) && file_caps_memory(fd);
    caps->read_now = caps->write_now =
        caps->memory || (S_ISREG(st.st_mode) && !direct);
    caps->ahead = S_ISREG(st.st_mode) && direct && !caps->memory;
    file_caps_alignment(caps, fd, direct);
    caps->punch_hole = caps->zero_range = !caps->chardev;
    caps->fallocate = !caps->blockdev && !caps->chardev;
    caps->seek_data = caps->fallocate;
    caps->dsync = true;
    caps->blkdiscard = caps->blkzeroout = caps->blockdev;
    if (caps->blockdev) {
        int sector;

        if (ioctl(fd, BLKSSZGET, &sector) == 0) {
            caps->discard_alignment = sector;
        }
    }
}

static int64_t file_caps_any_length(int fd)
{
    struct stat st;
    uint64_t bytes;
    int64_t end;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (S_ISREG(st.st_mode)) {
        return st.st_size;
    }
    if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &bytes) == 0) {
        return bytes;
    }
    end = lseek(fd, 0, SEEK_END);
    return end < 0 ? -errno : end;
}

int64_t file_caps_length(int fd)
{
    int64_t len = file_caps_any_length(fd);

    return len > BLOCK_MAX_LENGTH ? -EFBIG : len;
}
