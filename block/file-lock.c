/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Locks between processes on the bytes of an image file, the same as QEMU's so
 * that either keeps the other out.
 *
 *     byte 100 + i   somebody uses permission i
 *     byte 200 + i   somebody does not share permission i
 *
 * i is the number of the permission's bit (0 consistent read, 1 write, 2 write
 * unchanged, 3 resize). All locks are shared (read) locks of the open file
 * description, one byte each, taken at once and never waited for. A conflict
 * is found by asking whether an exclusive lock would be possible: whoever uses
 * permission i asks for byte 200 + i, whoever does not share it for 100 + i.
 * As both lock first and ask then, two that come at the same time can both be
 * refused, but never both get in.
 *
 * The locks are on a descriptor of their own, so that the one for data can be
 * reopened with other flags without a gap.
 *
 * The scheme was observed on QEMU 7.2 with /proc/locks and fcntl.
 */

#include <fcntl.h>
#include <sys/stat.h>

#include "block/file.h"

#define LOCK_PERM_BASE 100
#define LOCK_SHARED_BASE 200

static const char *const lock_perm_names[] = {
    "consistent read", "write", "write unchanged", "resize",
};

static int file_lock_byte(int fd, int64_t byte, bool lock)
{
    struct flock fl = {
        .l_type = lock ? F_RDLCK : F_UNLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };

    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* 1: somebody else has @byte locked; 0: nobody; -errno. */
static int file_lock_test(int fd, int64_t byte)
{
    struct flock fl = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0) {
        return -errno;
    }
    return fl.l_type != F_UNLCK;
}

/* The same file as @fd again, read-only; -1 with errno. */
static int file_lock_reopen(int fd, const char *filename)
{
    char path[64];
    struct stat a, b;
    int lock_fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    lock_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (lock_fd >= 0) {
        return lock_fd;
    }
    lock_fd = open(filename, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (lock_fd >= 0 && (fstat(fd, &a) < 0 || fstat(lock_fd, &b) < 0 ||
                         a.st_dev != b.st_dev || a.st_ino != b.st_ino)) {
        close(lock_fd);
        errno = ESTALE;
        return -1;
    }
    return lock_fd;
}

bool file_lock_open(FileLock *lock, int fd, const char *filename, bool must,
                    Error **errp)
{
    int ret;

    *lock = (FileLock) { .fd = -1, .shared = PERM_ALL };
    lock->fd = file_lock_reopen(fd, filename);
    if (lock->fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", filename);
        return false;
    }
    ret = file_lock_test(lock->fd, LOCK_PERM_BASE);
    if (ret == -EINVAL || ret == -ENOTSUP || ret == -ENOSYS) {
        file_lock_close(lock);
        if (must) {
            error_setg(errp, "File lock requested but OFD locking syscall is "
                       "unavailable");
            return false;
        }
    }
    return true;
}

void file_lock_close(FileLock *lock)
{
    fd_cleanup(&lock->fd);
    lock->fd = -1;
}

/* Unlocks what @from holds and @to does not. */
static void file_lock_shrink(FileLock *lock, uint64_t from, uint64_t to,
                             int64_t base)
{
    for (unsigned i = 0; i < ARRAY_SIZE(lock_perm_names); i++) {
        if ((from & ~to) & (1u << i)) {
            file_lock_byte(lock->fd, base + i, false);
        }
    }
}

/* Locks what @to holds and @from does not. All or nothing. */
static bool file_lock_grow(FileLock *lock, uint64_t from, uint64_t to,
                           int64_t base, Error **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(lock_perm_names); i++) {
        if ((to & ~from) & (1u << i)) {
            int ret = file_lock_byte(lock->fd, base + i, true);

            if (ret < 0) {
                error_setg(errp, "Failed to lock byte %" PRId64, base + i);
                file_lock_shrink(lock, to & ((1u << i) - 1), from, base);
                return false;
            }
        }
    }
    return true;
}

/* Whether other processes are in the way of these. */
static bool file_lock_check(FileLock *lock, uint64_t perm, uint64_t unshared,
                            const char *filename, Error **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(lock_perm_names); i++) {
        const char *shared = NULL;

        if ((perm & (1u << i)) &&
            file_lock_test(lock->fd, LOCK_SHARED_BASE + i)) {
            shared = "";
        } else if ((unshared & (1u << i)) &&
                   file_lock_test(lock->fd, LOCK_PERM_BASE + i)) {
            shared = "shared ";
        }
        if (shared) {
            error_setg(errp, "Failed to get %s\"%s\" lock", shared,
                       lock_perm_names[i]);
            error_append_hint(errp, "Is another process using the image "
                              "[%s]?\n", filename);
            return false;
        }
    }
    return true;
}

bool file_lock_stage(FileLock *lock, uint64_t perm, uint64_t shared,
                     const char *filename, Error **errp)
{
    uint64_t unshared = ~shared & PERM_ALL;
    uint64_t old_unshared = ~lock->shared & PERM_ALL;

    if (lock->fd < 0) {
        return true;
    }
    if (!file_lock_grow(lock, lock->perm, perm, LOCK_PERM_BASE, errp)) {
        return false;
    }
    if (!file_lock_grow(lock, old_unshared, unshared, LOCK_SHARED_BASE,
                        errp)) {
        file_lock_shrink(lock, perm, lock->perm, LOCK_PERM_BASE);
        return false;
    }
    if (!file_lock_check(lock, perm & ~lock->perm, unshared & ~old_unshared,
                         filename, errp)) {
        file_lock_abort(lock, perm, shared);
        return false;
    }
    return true;
}

void file_lock_commit(FileLock *lock, uint64_t perm, uint64_t shared)
{
    if (lock->fd >= 0) {
        file_lock_shrink(lock, lock->perm, perm, LOCK_PERM_BASE);
        file_lock_shrink(lock, ~lock->shared & PERM_ALL, ~shared & PERM_ALL,
                         LOCK_SHARED_BASE);
    }
    lock->perm = perm;
    lock->shared = shared;
}

void file_lock_abort(FileLock *lock, uint64_t perm, uint64_t shared)
{
    if (lock->fd >= 0) {
        file_lock_shrink(lock, perm, lock->perm, LOCK_PERM_BASE);
        file_lock_shrink(lock, ~shared & PERM_ALL, ~lock->shared & PERM_ALL,
                         LOCK_SHARED_BASE);
    }
}
