/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The drivers "file" and "host_device": an image in a file or on a device.
 *
 * The descriptor's number never changes while the node is open. A change of
 * access mode or of O_DIRECT opens a second descriptor (next_fd), which takes
 * the first one's place by dup3() when the transaction commits: requests that
 * are on their way keep what they started with.
 *
 * With auto-read-only the descriptor is writable only while a parent needs to
 * write. Locks are taken and let go as permissions change (file-lock.c).
 */

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "block/drivers.h"
#include "block/file.h"
#include "util/worker.h"

#define SECTOR 512

const BlockdevOptionsFile *file_options(const BlockdevOptions *opts)
{
    return opts->driver == BLOCKDEV_DRIVER_HOST_DEVICE ? &opts->u.host_device
                                                       : &opts->u.file;
}

static const char *file_name(const Node *node)
{
    return file_options(node->options)->filename;
}

static const char *const file_content_options[] = { "filename", NULL };

static char *file_exact_name(const Node *node)
{
    return g_strdup(file_name(node));
}

/* "file:x", or a path of any kind: devices are host_device's. */
static BlockdevOptions *file_parse_filename(const char *filename, Error **errp)
{
    BlockdevOptions *opts = g_new0(BlockdevOptions, 1);
    struct stat st;

    if (g_str_has_prefix(filename, "file:")) {
        filename += strlen("file:");
    }
    if (stat(filename, &st) == 0 &&
        (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))) {
        opts->driver = BLOCKDEV_DRIVER_HOST_DEVICE;
        opts->u.host_device.filename = g_strdup(filename);
    } else {
        opts->driver = BLOCKDEV_DRIVER_FILE;
        opts->u.file.filename = g_strdup(filename);
    }
    return opts;
}

static BlockdevOptions *host_device_parse_filename(const char *filename,
                                                   Error **errp)
{
    BlockdevOptions *opts = g_new0(BlockdevOptions, 1);

    if (g_str_has_prefix(filename, "host_device:")) {
        filename += strlen("host_device:");
    }
    opts->driver = BLOCKDEV_DRIVER_HOST_DEVICE;
    opts->u.host_device.filename = g_strdup(filename);
    return opts;
}

/* ---- opening ---- */

static int file_open_flags(OpenFlags flags, bool writable)
{
    return O_CLOEXEC | (flags & OPEN_NOCACHE ? O_DIRECT : 0) |
           (writable ? O_RDWR : O_RDONLY);
}

typedef struct FileOpen {
    const char *filename;
    int flags;
    int fd;                     /* out, or -errno */
    FileCaps caps;              /* out */
    int64_t length;             /* out, or -errno */
    mode_t mode;                /* out */
} FileOpen;

static int64_t file_open_work(void *opaque)
{
    FileOpen *o = opaque;
    struct stat st;

    do {
        o->fd = open(o->filename, o->flags);
    } while (o->fd < 0 && errno == EINTR);
    if (o->fd < 0) {
        o->fd = -errno;
        return 0;
    }
    o->mode = fstat(o->fd, &st) == 0 ? st.st_mode : 0;
    file_caps_probe(&o->caps, o->fd, o->flags & O_DIRECT);
    o->length = file_caps_length(o->fd);
    return 0;
}

static void file_open_error(const char *filename, int flags, int err,
                            Error **errp)
{
    if (err == EINVAL && (flags & O_DIRECT)) {
        error_setg(errp, "Could not open '%s': filesystem does not support "
                   "O_DIRECT", filename);
    } else {
        error_setg_errno(errp, err, "Could not open '%s'", filename);
    }
}

static bool file_check_mode(const Node *node, mode_t mode, Error **errp)
{
    if (node->options->driver == BLOCKDEV_DRIVER_HOST_DEVICE) {
        if (!S_ISBLK(mode) && !S_ISCHR(mode)) {
            error_setg(errp, "'host_device' driver requires '%s' to be either "
                       "a character or block device", file_name(node));
            return false;
        }
    } else if (!S_ISREG(mode)) {
        error_setg(errp, "'file' driver requires '%s' to be a regular file",
                   file_name(node));
        return false;
    }
    return true;
}

static bool file_check_options(const BlockdevOptions *opts, OpenFlags flags,
                               Error **errp)
{
    const BlockdevOptionsFile *o = file_options(opts);

    if (!o->filename[0]) {
        error_setg(errp, "The '%s' block driver requires a file name",
                   BlockdevDriver_str(opts->driver));
        return false;
    }
    if (o->has_aio && o->aio == BLOCKDEV_AIO_OPTIONS_NATIVE &&
        !(flags & OPEN_NOCACHE)) {
        error_setg(errp, "aio=native was specified, but it requires "
                   "cache.direct=on, which was not specified.");
        return false;
    }
    if (o->pr_manager) {
        error_setg(errp, "No persistent reservation manager with id '%s'",
                   o->pr_manager);
        return false;
    }
    return true;
}

static bool file_open_locks(FileState *s, const BlockdevOptionsFile *o,
                            Error **errp)
{
    OnOffAuto locking = o->has_locking ? o->locking : ON_OFF_AUTO_AUTO;

    if (locking == ON_OFF_AUTO_OFF) {
        s->lock = (FileLock) { .fd = -1, .shared = PERM_ALL };
        return true;
    }
    return file_lock_open(&s->lock, s->fd, o->filename,
                          locking == ON_OFF_AUTO_ON, errp);
}

static bool file_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    FileState *s = node->state;
    bool writable = (flags & OPEN_RDWR) && !(flags & OPEN_AUTO_RDONLY);
    FileOpen o = { .filename = file_name(node),
                   .flags = file_open_flags(flags, writable) };

    s->fd = s->next_fd = s->lock.fd = -1;
    if (!file_check_options(node->options, flags, errp)) {
        return false;
    }
    worker_run_brief(co, file_open_work, &o);
    if (o.fd < 0) {
        file_open_error(o.filename, o.flags, -o.fd, errp);
        return false;
    }
    s->fd = o.fd;
    s->open_flags = o.flags;
    s->caps = o.caps;
    if (!file_check_mode(node, o.mode, errp)) {
        fd_cleanup(&s->fd);
        return false;
    }
    if (o.length < 0) {
        error_setg_errno(errp, -o.length,
                         "Could not refresh total sector count");
        fd_cleanup(&s->fd);
        return false;
    }
    if (!file_open_locks(s, file_options(node->options), errp)) {
        fd_cleanup(&s->fd);
        return false;
    }
    node->length = ROUND_UP(o.length, SECTOR);
    return true;
}

static int64_t file_close_work(void *opaque)
{
    FileState *s = opaque;

    file_ahead_end(s);
    fd_cleanup(&s->fd);
    file_lock_close(&s->lock);
    return 0;
}

static void file_close(Co *co, Node *node)
{
    FileState *s = node->state;

    g_assert(s->next_fd < 0);
    worker_run_brief(co, file_close_work, s);
}

/* ---- staged descriptors ---- */

static void file_drop_next(FileState *s)
{
    fd_cleanup(&s->next_fd);
    s->next_fd = -1;
    s->next_caps_valid = false;
}

static void file_take_next(FileState *s)
{
    int ret;

    if (s->next_fd < 0) {
        return;
    }
    do {
        ret = dup3(s->next_fd, s->fd, O_CLOEXEC);
    } while (ret < 0 && (errno == EINTR || errno == EBUSY));
    g_assert(ret == s->fd);
    s->open_flags = s->next_flags;
    if (s->next_caps_valid) {
        s->caps = s->next_caps;
    }
    file_drop_next(s);
}

/* Opens the same file again; -1 with errno. */
static int file_open_again(int fd, const char *filename, int flags)
{
    char path[64];
    struct stat a, b;
    int new_fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    new_fd = open(path, flags);
    if (new_fd >= 0 || errno != ENOENT) {
        return new_fd;
    }
    new_fd = open(filename, flags);
    if (new_fd >= 0 && (fstat(fd, &a) < 0 || fstat(new_fd, &b) < 0 ||
                        a.st_dev != b.st_dev || a.st_ino != b.st_ino)) {
        close(new_fd);
        errno = ESTALE;
        return -1;
    }
    return new_fd;
}

/* ---- permissions ---- */

typedef struct FilePerm {
    FileState *s;
    uint64_t perm, shared;
} FilePerm;

static void file_perm_commit(Co *co, void *opaque)
{
    FilePerm *p = opaque;

    if (!file_ahead_may(p->perm, p->shared)) {
        file_ahead_end(p->s);
    }
    file_take_next(p->s);
    file_lock_commit(&p->s->lock, p->perm, p->shared);
    file_forget_all(p->s);
}

static void file_perm_abort(Co *co, void *opaque)
{
    FilePerm *p = opaque;

    file_drop_next(p->s);
    file_lock_abort(&p->s->lock, p->perm, p->shared);
}

static const TransactionOps file_perm_ops = {
    .commit = file_perm_commit,
    .abort = file_perm_abort,
    .clean = g_free,
};

/* With auto-read-only: a descriptor that can just do what @perm needs. */
static bool file_perm_stage_fd(Node *node, uint64_t perm, Error **errp)
{
    FileState *s = node->state;
    bool write = perm & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE);
    int flags = s->next_fd >= 0 ? s->next_flags : s->open_flags;
    int want = (flags & ~O_ACCMODE) | (write ? O_RDWR : O_RDONLY);
    int fd;

    if (!(node->flags & OPEN_AUTO_RDONLY) || want == flags) {
        return true;
    }
    fd = file_open_again(s->fd, file_name(node), want);
    if (fd < 0) {
        if (!write) {
            return true;        /* more than needed does no harm */
        }
        error_setg_errno(errp, errno, "Could not open '%s'", file_name(node));
        return false;
    }
    fd_cleanup(&s->next_fd);
    s->next_fd = fd;
    s->next_flags = want;
    return true;
}

static bool file_perm_stage(Node *node, uint64_t perm, uint64_t shared,
                            Transaction *tran, Error **errp)
{
    FileState *s = node->state;
    FilePerm *p;

    if (!file_perm_stage_fd(node, perm, errp)) {
        return false;
    }
    if (!file_lock_stage(&s->lock, perm, shared, file_name(node), errp)) {
        file_drop_next(s);
        return false;
    }
    p = g_new(FilePerm, 1);
    *p = (FilePerm) { s, perm, shared };
    tran_add(tran, &file_perm_ops, p);
    return true;
}

/* ---- reopen ---- */

static bool file_reopen_prepare(Co *co, ReopenState *st, Transaction *tran,
                                Error **errp)
{
    Node *node = st->node;
    FileState *s = node->state;
    const BlockdevOptionsFile *new = file_options(st->options);
    bool writable = st->flags & OPEN_AUTO_RDONLY
                    ? (s->open_flags & O_ACCMODE) == O_RDWR && !st->read_only
                    : !st->read_only;
    FileOpen o = { .flags = file_open_flags(st->flags, writable) };
    char path[64];

    if (strcmp(new->filename, file_name(node)) != 0) {
        error_setg(errp, "Cannot change the option 'filename'");
        return false;
    }
    if (!file_check_options(st->options, st->flags, errp)) {
        return false;
    }
    if (o.flags == s->open_flags) {
        return true;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    o.filename = path;
    worker_run_brief(co, file_open_work, &o);
    if (o.fd < 0) {
        file_open_error(new->filename, o.flags, -o.fd, errp);
        return false;
    }
    s->next_fd = o.fd;
    s->next_flags = o.flags;
    s->next_caps = o.caps;
    s->next_caps_valid = true;
    return true;
}

static void file_reopen_commit(Co *co, ReopenState *st)
{
    file_ahead_end(st->node->state);
    file_take_next(st->node->state);
}

static void file_reopen_abort(Co *co, ReopenState *st)
{
    file_drop_next(st->node->state);
}

static const ReopenOps file_reopen_ops = {
    .prepare = file_reopen_prepare,
    .commit = file_reopen_commit,
    .abort = file_reopen_abort,
};

/* ---- limits and information ---- */

static void file_limits(Node *node)
{
    FileState *s = node->state;

    node->limits.request_alignment = s->caps.request_alignment;
    node->limits.mem_alignment = s->caps.mem_alignment;
    node->limits.max_transfer = s->caps.max_transfer;
    node->limits.max_iov = IOV_MAX;
    node->limits.zero_alignment = s->caps.discard_alignment;
    node->limits.discard_alignment = s->caps.discard_alignment;
}

static int64_t file_refresh_length(Co *co, Node *node)
{
    FileState *s = node->state;
    int64_t len = file_ahead_true_length(s, file_caps_length(s->fd));

    return len < 0 ? len : ROUND_UP(len, SECTOR);
}

static int file_info(Co *co, Node *node, BlockDriverInfo *ret)
{
    FileState *s = node->state;

    ret->zeroes_new = !s->caps.blockdev && !s->caps.chardev;
    return 0;
}

static int64_t file_allocated_size(Co *co, Node *node)
{
    FileState *s = node->state;
    struct stat st;

    return fstat(s->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * SECTOR;
}

static ImageInfoSpecific *file_specific_info(Co *co, Node *node, Error **errp)
{
    FileState *s = node->state;
    ImageInfoSpecific *info = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificFile *data = g_new0(ImageInfoSpecificFile, 1);
    struct fsxattr attr = { 0 };

    info->type = IMAGE_INFO_SPECIFIC_KIND_FILE;
    info->u.file.data = data;
    if (ioctl(s->fd, FS_IOC_FSGETXATTR, &attr) == 0 &&
        (attr.fsx_xflags & FS_XFLAG_EXTSIZE) && attr.fsx_extsize > 0) {
        data->has_extent_size_hint = true;
        data->extent_size_hint = attr.fsx_extsize;
    }
    return info;
}

#define FILE_DRIVER_COMMON                          \
    .kind = DRIVER_PROTOCOL,                        \
    .state_size = sizeof(FileState),                \
    .exact_filename = true,                         \
    .supports_fua = true,                           \
    .open = file_open,                              \
    .content_options = file_content_options,        \
    .exact_name = file_exact_name,                  \
    .close = file_close,                            \
    .read = file_read,                              \
    .write = file_write,                            \
    .zero = file_zero,                              \
    .discard = file_discard,                        \
    .flush = file_flush,                            \
    .status = file_status,                          \
    .resize = file_resize,                          \
    .refresh_length = file_refresh_length,          \
    .limits = file_limits,                          \
    .copy_range = file_copy_range,                  \
    .perm_stage = file_perm_stage,                  \
    .info = file_info,                              \
    .allocated_size = file_allocated_size,          \
    .reopen = &file_reopen_ops

const BlockDriver file_driver = {
    .name = "file",
    .id = BLOCKDEV_DRIVER_FILE,
    .protocol = "file",
    .parse_filename = file_parse_filename,
    .specific_info = file_specific_info,
    .image = &file_image_ops,
    FILE_DRIVER_COMMON,
};

const BlockDriver host_device_driver = {
    .name = "host_device",
    .id = BLOCKDEV_DRIVER_HOST_DEVICE,
    .protocol = "host_device",
    .parse_filename = host_device_parse_filename,
    .image = &host_device_image_ops,
    FILE_DRIVER_COMMON,
};
