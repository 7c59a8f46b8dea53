/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Requests on a file: the end of the road, where buffers meet the kernel.
 *
 * Reads past the end of the file give zeroes (its length is counted in whole
 * sectors above, and the last one may be half there). What the file system
 * refuses as unsupported is remembered and not tried again; the core falls back
 * then.
 *
 * After a failed fsync the kernel forgets which pages it could not write: the
 * next one would succeed and the data would be lost in silence. So no flush
 * succeeds any more, until the image is opened anew. With O_DIRECT there are no
 * such pages.
 */

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "block/file.h"
#include "util/worker.h"

/* What RWF_DSYNC is, for C libraries that don't know it. */
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

#define STACK_IOVS 32

static bool file_unsupported(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY ||
           ret == -ENODEV || ret == -ENOTSUP;
}

/* ---- at once or through the loop ---- */

#define CACHE_SKIP_MAX 64

/* After a read that had to go to the device more will: those that follow a row
 * of such are not tried in the page cache. */
static void file_note_cached(FileState *s, bool cached)
{
    if (cached) {
        s->cache_misses = 0;
        return;
    }
    s->cache_misses = MIN(s->cache_misses + 1, CACHE_SKIP_MAX);
    s->cache_skip = s->cache_misses - 1;
}

static ssize_t file_preadv(Co *co, FileState *s, const struct iovec *iov,
                           int niov, int64_t off, int64_t len)
{
    ssize_t n;

    if (s->caps.read_now && s->cache_skip) {
        s->cache_skip--;
    } else if (s->caps.read_now) {
        n = co_preadv_now(co, s->fd, iov, niov, off, len, s->caps.memory);
        if (G_LIKELY(n >= 0)) {
            file_note_cached(s, true);
            return n;
        }
        if (n == -EOPNOTSUPP) {
            s->caps.read_now = false;
        } else if (!s->caps.memory) {
            file_note_cached(s, false);
        }
    }
    return co_preadv(co, s->fd, iov, niov, off);
}

static ssize_t file_pwritev(Co *co, FileState *s, const struct iovec *iov,
                            int niov, int64_t off, int64_t len, int rwf)
{
    ssize_t n;

    if (s->caps.write_now && (s->caps.memory || !rwf)) {
        n = co_pwritev_now(co, s->fd, iov, niov, off, len, rwf,
                           s->caps.memory);
        if (G_LIKELY(n >= 0)) {
            return n;
        }
        if (n == -EOPNOTSUPP) {
            s->caps.write_now = false;
        }
    }
    return co_pwritev(co, s->fd, iov, niov, off, rwf);
}

/* ---- what is known of holes ---- */

/* [off, off + len) is not what it was. Data stay true when they are written,
 * a hole does when it is made again. */
static void file_forget(FileState *s, int64_t off, int64_t len, bool written)
{
    s->writes += written;
    if (G_UNLIKELY(s->known_data != written) && off < s->known_end &&
        s->known_start < off + len) {
        s->known_start = s->known_end = 0;
    }
}

void file_forget_all(FileState *s)
{
    s->writes++;
    s->known_start = s->known_end = 0;
}

/* ---- reading and writing ---- */

/* Goes on where a short read stopped; @iov is consumed. */
static int file_read_rest(Co *co, FileState *s, int64_t off, int64_t len,
                          struct iovec *iov, int niov, ssize_t done)
{
    while (true) {
        if (done < 0) {
            return done;
        }
        niov = iov_advance(&iov, niov, done);
        off += done;
        len -= done;
        if (len == 0) {
            return 0;
        }
        if (done == 0 || off % s->caps.request_alignment) {
            break;              /* the end of the file */
        }
        done = co_preadv(co, s->fd, iov, niov, off);
    }
    for (int i = 0; i < niov; i++) {
        memset(iov[i].iov_base, 0, iov[i].iov_len);
    }
    return 0;
}

int file_read(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
              int64_t iov_off, ReqFlags flags)
{
    FileState *s = node->state;
    struct iovec stack[STACK_IOVS];
    g_autofree struct iovec *heap = NULL;
    struct iovec *vec = stack;
    int niov = iov_cut_count(iov, iov_off, len);
    ssize_t n;

    if (G_UNLIKELY(niov > STACK_IOVS)) {
        vec = heap = g_new(struct iovec, niov);
    }
    iov_cut(iov, iov_off, len, vec);
    n = file_preadv(co, s, vec, niov, off, len);
    if (G_LIKELY(n == len)) {
        return 0;
    }
    return file_read_rest(co, s, off, len, vec, niov, n);
}

/*
 * Did a synchronous write fail before it came to its sync? Want of space may be
 * noticed by either; if it was the write, the same one without a sync fails, too.
 */
static bool file_write_refused(Co *co, FileState *s, int64_t off,
                               struct iovec *iov, int niov, ssize_t error)
{
    return (error == -ENOSPC || error == -EDQUOT || error == -EFBIG) &&
           co_pwritev(co, s->fd, iov, niov, off, 0) == error;
}

static int file_write_rest(Co *co, FileState *s, int64_t off, int64_t len,
                           struct iovec *iov, int niov, int rwf)
{
    while (len > 0) {
        ssize_t n = file_pwritev(co, s, iov, niov, off, len, rwf);

        if (n < 0 && rwf && !(s->open_flags & O_DIRECT) &&
            !file_unsupported(n) &&
            !file_write_refused(co, s, off, iov, niov, n)) {
            s->sync_failed = true;
        }
        if (n <= 0) {
            return n < 0 ? n : -ENOSPC;
        }
        niov = iov_advance(&iov, niov, n);
        off += n;
        len -= n;
    }
    return 0;
}

int file_write(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags)
{
    FileState *s = node->state;
    struct iovec stack[STACK_IOVS];
    g_autofree struct iovec *heap = NULL;
    struct iovec *vec = stack;
    int niov = iov_cut_count(iov, iov_off, len);
    bool fua = flags & REQ_FUA;
    int ret;

    if (G_UNLIKELY(niov > STACK_IOVS)) {
        vec = heap = g_new(struct iovec, niov);
    }
    if (G_UNLIKELY(off + len > node->length)) {
        file_ahead_reach(co, node, off + len);
    }
    iov_cut(iov, iov_off, len, vec);
    ret = file_write_rest(co, s, off, len, vec, niov,
                          fua && s->caps.dsync ? RWF_DSYNC : 0);
    if (G_UNLIKELY(fua)) {
        if (s->caps.dsync && file_unsupported(ret)) {
            s->caps.dsync = false;
            return file_write(co, node, off, len, iov, iov_off, flags);
        }
        if (s->sync_failed && ret == 0) {
            ret = -EIO;
        }
        if (ret == 0 && !s->caps.dsync) {
            ret = file_flush(co, node);
        }
    }
    file_forget(s, off, len, true);
    return ret;
}

int file_flush(Co *co, Node *node)
{
    FileState *s = node->state;
    int ret;

    if (s->sync_failed) {
        return -EIO;
    }
    do {
        ret = co_fdatasync(co, s->fd);
    } while (ret == -EINTR);
    /* Pipes and the like have nothing to sync. */
    if (ret == -EINVAL || ret == -EROFS) {
        return 0;
    }
    if (ret < 0 && !(s->open_flags & O_DIRECT)) {
        s->sync_failed = true;
    }
    return ret;
}

/* ---- zero and discard ---- */

/* fallocate, with -ENOTSUP for all that means it; then *@cap is forgotten. */
static int file_fallocate(Co *co, FileState *s, int mode, int64_t off,
                          int64_t len, bool *cap)
{
    int ret;

    if (!*cap) {
        return -ENOTSUP;
    }
    do {
        ret = co_fallocate(co, s->fd, mode, off, len);
    } while (ret == -EINTR);
    if (file_unsupported(ret)) {
        *cap = false;
        return -ENOTSUP;
    }
    /* Some file systems and devices refuse single ranges so. */
    return ret == -EINVAL || ret == -EPERM ? -ENOTSUP : ret;
}

typedef struct FileRangeIoctl {
    int fd;
    unsigned long cmd;
    uint64_t range[2];
} FileRangeIoctl;

static int64_t file_range_ioctl_work(void *opaque)
{
    FileRangeIoctl *r = opaque;
    int ret;

    do {
        ret = ioctl(r->fd, r->cmd, r->range);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static int file_range_ioctl(Co *co, FileState *s, unsigned long cmd,
                            int64_t off, int64_t len, bool *cap)
{
    FileRangeIoctl r = { s->fd, cmd, { off, len } };
    int ret;

    if (!*cap) {
        return -ENOTSUP;
    }
    ret = worker_run_brief(co, file_range_ioctl_work, &r);
    if (file_unsupported(ret)) {
        *cap = false;
        return -ENOTSUP;
    }
    return ret;
}

/* Only inside of the file: a hole does not make it longer. */
static int file_punch(Co *co, FileState *s, int64_t off, int64_t len)
{
    return file_fallocate(co, s, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          off, len, &s->caps.punch_hole);
}

int file_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags)
{
    FileState *s = node->state;
    bool inside = off + len <= node->length;
    int mode = FALLOC_FL_ZERO_RANGE;
    int ret = -ENOTSUP;

    if (!inside) {
        file_ahead_reach(co, node, off + len);
    }
    file_forget(s, off, len, false);
    if ((flags & REQ_MAY_UNMAP) && inside) {
        ret = file_punch(co, s, off, len);
    }
    if (ret == -ENOTSUP) {
        mode |= s->caps.blockdev ? FALLOC_FL_KEEP_SIZE : 0;
        ret = file_fallocate(co, s, mode, off, len, &s->caps.zero_range);
    }
    if (ret == -ENOTSUP) {
        ret = file_range_ioctl(co, s, BLKZEROOUT, off, len,
                               &s->caps.blkzeroout);
        ret = ret == -EINVAL ? -ENOTSUP : ret;      /* parts of a sector */
    }
    if (ret == -ENOTSUP && inside && s->caps.fallocate) {
        /* A hole, filled again so that it can't run out of space later. */
        ret = file_punch(co, s, off, len);
        if (ret == 0) {
            ret = file_fallocate(co, s, 0, off, len, &s->caps.fallocate);
        }
    }
    file_forget(s, off, len, false);
    return ret;
}

int file_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    FileState *s = node->state;
    int ret;

    if (s->caps.blockdev) {
        ret = file_range_ioctl(co, s, BLKDISCARD, off, len,
                               &s->caps.blkdiscard);
    } else {
        file_forget(s, off, len, false);
        ret = file_punch(co, s, off, len);
        file_forget(s, off, len, false);
    }
    if (ret == 0) {
        node->discard_ok++;
        node->discard_bytes += len;
    } else {
        node->discard_failed++;
    }
    return ret;
}

/* ---- status ---- */

typedef struct FileSeek {
    int fd;
    int64_t off;
    bool is_data;               /* out */
    int64_t end;                /* out: of the extent; -1: of the file */
} FileSeek;

/* What lies at @off. -ENOTSUP: the file system doesn't say. */
static int64_t file_seek_work(void *opaque)
{
    FileSeek *k = opaque;
    off_t data = lseek(k->fd, k->off, SEEK_DATA);
    off_t hole;

    if (data < 0) {
        k->is_data = false;
        k->end = -1;            /* a hole up to the end, or past it */
        return errno == ENXIO ? 0 : -ENOTSUP;
    }
    if (data < k->off) {
        return -ENOTSUP;
    }
    if (data > k->off) {
        k->is_data = false;
        k->end = data;
        return 0;
    }
    hole = lseek(k->fd, k->off, SEEK_HOLE);
    if (hole <= k->off) {
        return -ENOTSUP;        /* truncated meanwhile, or nonsense */
    }
    k->is_data = true;
    k->end = hole;
    return 0;
}

/* A worker waits for the disk; where there is none it is not worth the way. */
static int file_seek_extent(Co *co, Node *node, FileSeek *k)
{
    FileState *s = node->state;
    unsigned writes = s->writes;
    int ret = s->caps.memory ? file_seek_work(k)
                             : worker_run_brief(co, file_seek_work, k);
    bool alone = s->lock.fd >= 0 && !(s->lock.shared & PERM_WRITE);

    if (ret == 0 && (k->is_data || (alone && writes == s->writes))) {
        s->known_start = k->off;
        s->known_end = k->end < 0 ? node->length : k->end;
        s->known_data = k->is_data;
    }
    return ret;
}

/* The extent at @off as far as the file system knows. */
static void file_seek(Co *co, Node *node, int64_t off, int64_t len,
                      Extent *ret)
{
    FileState *s = node->state;
    FileSeek k = { .fd = s->fd, .off = off };
    int64_t align = s->caps.request_alignment;

    if (off >= s->known_start && off < s->known_end) {
        k.is_data = s->known_data;
        k.end = s->known_end;
    } else if (file_seek_extent(co, node, &k) < 0) {
        return;
    }
    if (k.is_data) {
        ret->len = MIN(len, ROUND_UP(k.end, align) - off);
    } else if (k.end < 0) {
        ret->flags = EXTENT_ZERO | EXTENT_OFFSET_VALID;
    } else if (ROUND_DOWN(k.end, align) > off) {
        ret->flags = EXTENT_ZERO | EXTENT_OFFSET_VALID;
        ret->len = MIN(len, ROUND_DOWN(k.end, align) - off);
    }
}

int file_status(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                Extent *ret)
{
    FileState *s = node->state;

    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_DATA | EXTENT_OFFSET_VALID,
        .map = off,
        .file = node,
    };
    if (precise && s->caps.seek_data) {
        file_seek(co, node, off, len, ret);
    }
    return 0;
}

/* ---- copying inside of the kernel ---- */

typedef struct FileCopy {
    int src_fd, dst_fd;
    int64_t src_off, dst_off, len;
} FileCopy;

static int64_t file_copy_work(void *opaque)
{
    FileCopy *c = opaque;

    while (c->len > 0) {
        off_t src = c->src_off, dst = c->dst_off;
        ssize_t n = copy_file_range(c->src_fd, &src, c->dst_fd, &dst, c->len,
                                    0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EBADF)) {
            return -ENOTSUP;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -ENOTSUP;   /* 0: a short source */
        }
        c->src_off += n;
        c->dst_off += n;
        c->len -= n;
    }
    return 0;
}

int file_copy_range(Co *co, Node *src, int64_t src_off, Node *dst,
                    int64_t dst_off, int64_t len, ReqFlags flags)
{
    FileState *from = src->state;
    FileState *to = dst->state;
    FileCopy c = { from->fd, to->fd, src_off, dst_off, len };
    int ret;

    if (from->caps.blockdev || to->caps.blockdev || from->caps.chardev ||
        to->caps.chardev || to->sync_failed) {
        return -ENOTSUP;
    }
    if (dst_off + len > dst->length) {
        file_ahead_reach(co, dst, dst_off + len);
    }
    ret = worker_run_brief(co, file_copy_work, &c);
    file_forget(to, dst_off, len, true);
    return file_unsupported(ret) ? -ENOTSUP : ret;
}
