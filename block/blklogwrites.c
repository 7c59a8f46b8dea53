/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blklogwrites: a filter that writes down what is written, in the format of
 * Linux' dm-log-writes, so that its tools can replay it up to any entry.
 *
 *     sector 0      super block: magic, version, number of entries, sector size
 *     then, each    an entry of one sector: where, how long, flags;
 *                   and the data, unless it is a discard
 *
 * Fields are little-endian, positions and lengths in sectors of the log. A
 * request goes to the file first and is logged when it has succeeded, one after
 * the other. A write that is not done when a flush begins stands after it: what
 * is logged before a flush is what that flush has made durable. The super
 * block's count follows at every flush, after so many entries, and at the end:
 * it never counts what is not there. A file that is made longer is logged as
 * discarded there, which a replay may take for what it is: zeroes.
 */

#include "block/drivers.h"
#include "block/io.h"
#include "block/open.h"
#include "util/bytes.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)
#define LOG_VERSION 1
#define LOG_SUPER_BYTES 28
#define LOG_ENTRY_BYTES 32
#define LOG_MAX_SECTOR (INT64_C(1) << 23)

typedef enum LogFlags {
    LOG_FLUSH = 1 << 0,
    LOG_DISCARD = 1 << 2,
} LogFlags;

typedef struct LogState {
    Edge *log;
    int64_t sector;             /* bytes */
    uint64_t interval;
    uint64_t entries;
    uint64_t told;              /* entries that the super block counts */
    int64_t end;                /* where the next entry goes, in bytes */
    uint8_t *buf;               /* of a sector */
    CoMutex lock;
} LogState;

/* ---- writing it down; with the lock ---- */

static int log_super(Co *co, LogState *s)
{
    int ret;

    memset(s->buf, 0, s->sector);
    stq_le_p(s->buf, LOG_MAGIC);
    stq_le_p(s->buf + 8, LOG_VERSION);
    stq_le_p(s->buf + 16, s->entries);
    stl_le_p(s->buf + 24, s->sector);
    ret = io_pwrite(co, s->log, 0, s->sector, s->buf, 0);
    if (ret == 0) {
        s->told = s->entries;
        ret = io_flush(co, s->log->child);
    }
    return ret;
}

static int log_entry(Co *co, LogState *s, int64_t off, int64_t len,
                     LogFlags flags)
{
    memset(s->buf, 0, s->sector);
    stq_le_p(s->buf, off / s->sector);
    stq_le_p(s->buf + 8, len / s->sector);
    stq_le_p(s->buf + 16, flags);
    return io_pwrite(co, s->log, s->end, s->sector, s->buf, 0);
}

/* @iov NULL: zeroes, or no data with LOG_DISCARD. */
static int log_append(Co *co, LogState *s, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, LogFlags flags)
{
    bool data = len && !(flags & LOG_DISCARD);
    int ret = log_entry(co, s, off, len, flags);

    if (ret == 0 && data) {
        ret = iov ? io_write(co, s->log, s->end + s->sector, len, iov,
                             iov_off, 0)
                  : io_zero(co, s->log, s->end + s->sector, len, 0);
    }
    if (ret < 0) {
        return ret;
    }
    s->end += s->sector + (data ? len : 0);
    s->entries++;
    if ((flags & LOG_FLUSH) || s->entries - s->told >= s->interval) {
        ret = log_super(co, s);
    }
    return ret;
}

static int log_request(Co *co, Node *node, int64_t off, int64_t len,
                       const IoVec *iov, int64_t iov_off, LogFlags flags)
{
    LogState *s = node->state;
    int ret;

    co_mutex_lock(co, &s->lock);
    ret = log_append(co, s, off, len, iov, iov_off, flags);
    co_mutex_unlock(&s->lock);
    return ret;
}

/* ---- requests ---- */

static int log_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int ret = io_write(co, node->file, off, len, iov, iov_off, flags);

    return ret < 0 ? ret : log_request(co, node, off, len, iov, iov_off, 0);
}

static int log_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    int ret = io_zero(co, node->file, off, len, flags);

    return ret < 0 ? ret : log_request(co, node, off, len, NULL, 0, 0);
}

static int log_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    int ret = io_discard(co, node->file, off, len);

    return ret < 0 ? ret : log_request(co, node, off, len, NULL, 0,
                                       LOG_DISCARD);
}

static int log_flush(Co *co, Node *node)
{
    LogState *s = node->state;
    int ret;

    co_mutex_lock(co, &s->lock);
    ret = io_flush(co, node->file->child);
    if (ret == 0) {
        ret = log_append(co, s, 0, 0, NULL, 0, LOG_FLUSH);
    }
    co_mutex_unlock(&s->lock);
    return ret;
}

static bool log_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    LogState *s = node->state;
    int64_t old = ROUND_UP(node->file->child->length, s->sector);
    int64_t new = ROUND_UP(length, s->sector);
    int ret;

    if (!io_resize(co, node->file, length, exact, prealloc, flags, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    ret = new > old ? log_request(co, node, old, new - old, NULL, 0,
                                  LOG_DISCARD) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not log the new length");
    }
    return ret == 0;
}

/* ---- opening ---- */

static bool check_sector(int64_t sector, Error **errp)
{
    if (!is_power_of_2(sector) || sector < LOG_ENTRY_BYTES ||
        sector > LOG_MAX_SECTOR) {
        error_setg(errp, "Invalid log sector size %" PRId64, sector);
        return false;
    }
    return true;
}

/* Past the last of @left entries. */
static bool find_end(Co *co, LogState *s, uint64_t left, Error **errp)
{
    uint8_t entry[LOG_ENTRY_BYTES];

    for (; left; left--) {
        uint64_t sectors;
        int ret = s->end > s->log->child->length ? -EINVAL :
                  io_pread(co, s->log, s->end, sizeof(entry), entry, 0);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read log entry");
            return false;
        }
        sectors = ldq_le_p(entry + 8);
        s->end += s->sector;
        if (!(ldq_le_p(entry + 16) & LOG_DISCARD)) {
            if (sectors > (uint64_t)(BLOCK_MAX_LENGTH - s->end) / s->sector) {
                error_setg(errp, "Invalid log entry");
                return false;
            }
            s->end += sectors * s->sector;
        }
    }
    return true;
}

static bool go_on(Co *co, LogState *s, Error **errp)
{
    uint8_t super[LOG_SUPER_BYTES];
    int ret = io_pread(co, s->log, 0, sizeof(super), super, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read log superblock");
        return false;
    }
    if (ldq_le_p(super) != LOG_MAGIC) {
        error_setg(errp, "Invalid log superblock magic");
        return false;
    }
    if (ldq_le_p(super + 8) != LOG_VERSION) {
        error_setg(errp, "Unsupported log version %" PRIu64,
                   ldq_le_p(super + 8));
        return false;
    }
    s->sector = ldl_le_p(super + 24);
    if (!check_sector(s->sector, errp)) {
        return false;
    }
    s->entries = s->told = ldq_le_p(super + 16);
    s->end = s->sector;
    return find_end(co, s, s->entries, errp);
}

static bool check_options(const BlockdevOptionsBlklogwrites *o, LogState *s,
                          Error **errp)
{
    s->sector = o->has_log_sector_size ? o->log_sector_size : 512;
    s->interval = o->has_log_super_update_interval
                  ? o->log_super_update_interval : 4096;
    if (o->has_log_append && o->log_append && o->has_log_sector_size) {
        error_setg(errp, "log-append and log-sector-size are mutually "
                   "exclusive");
        return false;
    }
    if (!s->interval) {
        error_setg(errp, "Invalid log superblock update interval %" PRIu64,
                   s->interval);
        return false;
    }
    return check_sector(s->sector, errp);
}

static bool log_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsBlklogwrites *o = &node->options->u.blklogwrites;
    LogState *s = node->state;

    if (!open_child(co, node, "file", ROLE_PRIMARY, o->file, errp)) {
        return false;
    }
    s->log = open_child(co, node, "log", ROLE_TARGET, o->log, errp);
    if (!s->log || !check_options(o, s, errp)) {
        return false;
    }
    s->end = s->sector;
    if (o->has_log_append && o->log_append && s->log->child->length &&
        !go_on(co, s, errp)) {
        return false;
    }
    s->buf = g_malloc0(s->sector);
    node->length = node->file->child->length;
    return true;
}

static void log_close(Co *co, Node *node)
{
    LogState *s = node->state;

    if (s->told != s->entries) {
        log_super(co, s);
    }
    g_free(s->buf);
}

static void log_limits(Node *node)
{
    LogState *s = node->state;

    node->limits.request_alignment = MAX(node->limits.request_alignment,
                                         s->sector);
}

static void log_child_perms(Node *node, const Edge *e, uint64_t perm,
                            uint64_t shared, uint64_t *need, uint64_t *share)
{
    if (e->role == ROLE_TARGET) {
        *need = PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE;
        *share = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
        return;
    }
    perm_default_filter(node, e, perm, shared, need, share);
}

static const char *const log_content_options[] = { "log-sector-size", NULL };

const BlockDriver blklogwrites_driver = {
    .name = "blklogwrites",
    .id = BLOCKDEV_DRIVER_BLKLOGWRITES,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(LogState),
    .content_options = log_content_options,
    .open = log_open,
    .close = log_close,
    .write = log_write,
    .zero = log_zero,
    .discard = log_discard,
    .flush = log_flush,
    .resize = log_resize,
    .limits = log_limits,
    .child_perms = log_child_perms,
};
