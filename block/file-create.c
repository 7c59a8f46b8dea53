/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Making files for images, and changing their length.
 *
 * Preallocation: "off" only sets the length; "falloc" reserves the space, which
 * reads as zeroes; "full" writes the zeroes. A growth that fails is taken back.
 * A file that is there is emptied only after its locks say that nobody uses it.
 *
 * All of it blocks and runs in a worker.
 */

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "block/file.h"
#include "block/graph.h"
#include "util/worker.h"

#define FULL_CHUNK (64 * KiB)
#define FIRST_BLOCK 4096

/* ---- length ---- */

static bool file_prealloc_falloc(int fd, int64_t from, int64_t to,
                                 Error **errp)
{
    int ret;

    if (to <= from) {
        return true;
    }
    do {
        ret = -posix_fallocate(fd, from, to - from);
    } while (ret == -EINTR);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not preallocate new data");
    }
    return ret == 0;
}

static bool file_prealloc_full(int fd, int64_t from, int64_t to, Error **errp)
{
    g_autofree uint8_t *zeroes = g_malloc0(FULL_CHUNK);

    while (from < to) {
        ssize_t n = pwrite(fd, zeroes, MIN(to - from, FULL_CHUNK), from);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_setg_errno(errp, errno,
                             "Could not write zeros for preallocation");
            return false;
        }
        from += n;
    }
    if (fsync(fd) < 0) {
        error_setg_errno(errp, errno, "Could not flush file to disk");
        return false;
    }
    return true;
}

/* QEMU's files have their first block, so that reads with O_DIRECT can tell
 * which alignment they need; people see it in `info` and `map`. A full disk is
 * told by who writes data. */
static void file_write_first_block(int fd, int64_t length)
{
    static const uint8_t zeroes[FIRST_BLOCK];
    ssize_t n;

    do {
        n = pwrite(fd, zeroes, MIN(length, FIRST_BLOCK), 0);
    } while (n < 0 && errno == EINTR);
}

static bool file_set_length(int fd, int64_t old, int64_t length,
                            PreallocMode prealloc, Error **errp)
{
    if (prealloc != PREALLOC_MODE_OFF && length < old) {
        error_setg(errp, "Preallocation can't be used for shrinking files");
        return false;
    }
    switch (prealloc) {
    case PREALLOC_MODE_FALLOC:
        return file_prealloc_falloc(fd, old, length, errp);
    case PREALLOC_MODE_FULL:
        return file_prealloc_full(fd, old, length, errp);
    case PREALLOC_MODE_OFF:
        if (ftruncate(fd, length) < 0) {
            error_setg_errno(errp, errno, "Could not resize file");
            return false;
        }
        if (old == 0 && length > 0) {
            file_write_first_block(fd, length);
        }
        return true;
    default:
        error_setg(errp, "Unsupported preallocation mode: %s",
                   PreallocMode_str(prealloc));
        return false;
    }
}

/* After a failed growth. If this fails, too, the file is longer than it was,
 * which the caller sees when it asks for the length. */
static void file_take_back(int fd, int64_t length)
{
    int ret = ftruncate(fd, length);

    (void)ret;
}

typedef struct FileResize {
    int fd;
    int64_t length;
    bool exact;
    PreallocMode prealloc;
    Error *err;
} FileResize;

static int64_t file_resize_regular(FileResize *r, int64_t old)
{
    if (file_set_length(r->fd, old, r->length, r->prealloc, &r->err)) {
        return 0;
    }
    if (r->length > old) {
        file_take_back(r->fd, old);
    }
    return -1;
}

static int64_t file_resize_work(void *opaque)
{
    FileResize *r = opaque;
    int64_t old = file_caps_length(r->fd);
    struct stat st;

    if (old < 0 || fstat(r->fd, &st) < 0) {
        error_setg_errno(&r->err, old < 0 ? -old : errno,
                         "Failed to inquire current file length");
        return -1;
    }
    if (S_ISREG(st.st_mode)) {
        return file_resize_regular(r, old);
    }
    if (r->prealloc != PREALLOC_MODE_OFF) {
        error_setg(&r->err, "Preallocation mode '%s' unsupported for this "
                   "non-regular file", PreallocMode_str(r->prealloc));
    } else if (r->exact && r->length != old) {
        error_setg(&r->err, "Cannot resize device files");
    } else if (r->length > old) {
        error_setg(&r->err, "Cannot grow device files");
    }
    return r->err ? -1 : 0;
}

bool file_resize(Co *co, Node *node, int64_t length, bool exact,
                 PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    FileState *s = node->state;
    FileResize r = { .fd = s->fd, .length = length, .exact = exact,
                     .prealloc = prealloc };
    int64_t now;

    file_ahead_stop(co, s);
    worker_run_brief(co, file_resize_work, &r);
    file_forget_all(s);
    now = file_caps_length(s->fd);
    if (now >= 0) {
        node->length = ROUND_UP(now, 512);
    }
    file_ahead_resume(s);
    if (r.err) {
        error_propagate(errp, r.err);
        return false;
    }
    return true;
}

/* ---- creation ---- */

/* Turns copy-on-write off, where the file system has it: a wish. */
static void file_set_nocow(int fd)
{
    int attr;

    if (ioctl(fd, FS_IOC_GETFLAGS, &attr) == 0) {
        attr |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &attr);
    }
}

static bool file_set_extent_size(int fd, uint64_t bytes, Error **errp)
{
    struct fsxattr attr;

    if (bytes > UINT32_MAX) {
        error_setg(errp, "Extent size hint is too large");
        return false;
    }
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0) {
        return true;            /* only XFS knows it */
    }
    attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attr.fsx_extsize = bytes;
    if (ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0 && errno != ENOTTY &&
        errno != EOPNOTSUPP && errno != EINVAL) {
        error_setg_errno(errp, errno, "Failed to set extent size hint");
        return false;
    }
    return true;
}

static bool file_create_regular(int fd, const BlockdevCreateOptionsFile *o,
                                Error **errp)
{
    if (ftruncate(fd, 0) < 0) {
        error_setg_errno(errp, errno, "Could not clear file");
        return false;
    }
    if (o->has_nocow && o->nocow) {
        file_set_nocow(fd);
    }
    if (o->has_extent_size_hint && o->extent_size_hint &&
        !file_set_extent_size(fd, o->extent_size_hint, errp)) {
        return false;
    }
    if (o->size > INT64_MAX) {
        error_setg_errno(errp, EINVAL, "Could not resize file");
        return false;
    }
    if (!file_set_length(fd, 0, o->size,
                         o->has_preallocation ? o->preallocation
                                              : PREALLOC_MODE_OFF, errp)) {
        file_take_back(fd, 0);
        return false;
    }
    return true;
}

/* What is there already: it must be large enough, and no header of what it was
 * before may be left. */
static bool file_create_device(int fd, const BlockdevCreateOptionsFile *o,
                               Error **errp)
{
    int64_t len = file_caps_length(fd);
    uint8_t zeroes[512] = { 0 };

    if (o->has_preallocation && o->preallocation != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'",
                   PreallocMode_str(o->preallocation));
        return false;
    }
    if (len < 0 || (uint64_t)len < o->size) {
        error_setg(errp, "Cannot grow device files");
        return false;
    }
    if (len > 0 && pwrite(fd, zeroes, MIN(len, 512), 0) < 0) {
        error_setg_errno(errp, errno, "Failed to clear the new image's first "
                         "sector");
        return false;
    }
    return true;
}

typedef struct FileCreate {
    const BlockdevCreateOptionsFile *opts;
    Error *err;
} FileCreate;

static int64_t file_create_work(void *opaque)
{
    FileCreate *c = opaque;
    const char *filename = c->opts->filename;
    FileLock lock = { .fd = -1 };
    autofd int fd = -1;
    struct stat st;

    fd = open(filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        error_setg_errno(&c->err, errno, "Could not create '%s'", filename);
        return -1;
    }
    if (!file_lock_open(&lock, fd, filename, false, &c->err)) {
        return -1;
    }
    if (file_lock_stage(&lock, PERM_WRITE | PERM_RESIZE,
                        PERM_ALL & ~PERM_RESIZE, filename, &c->err)) {
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
            file_create_regular(fd, c->opts, &c->err);
        } else {
            file_create_device(fd, c->opts, &c->err);
        }
    }
    file_lock_close(&lock);
    return 0;
}

static bool file_create(Co *co, BlockdevCreateOptions *opts, Error **errp)
{
    FileCreate c = { .opts = &opts->u.file };
    bool lent = control_lend(co);

    worker_run_brief(co, file_create_work, &c);
    control_take_back(co, lent);
    if (c.err) {
        error_propagate(errp, c.err);
        return false;
    }
    return true;
}

/* In the order of the "Formatting" line. */
static const CreateOption file_create_options[] = {
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { "nocow", "nocow", CREATE_BOOL, NULL,
      "Turn off copy-on-write (valid only on btrfs)" },
    { "preallocation", "preallocation", CREATE_STRING, NULL,
      "Preallocation mode (allowed values: off, falloc, full)" },
    { "extent_size_hint", "extent-size-hint", CREATE_SIZE, NULL,
      "Extent size hint for the image file, 0 to disable" },
    { NULL },
};

static int64_t file_remove_work(void *arg)
{
    return unlink(arg) < 0 ? -errno : 0;
}

static int file_remove(Co *co, Node *node)
{
    return worker_run_brief(co, file_remove_work,
                            file_options(node->options)->filename);
}

/* ---- other names ---- */

typedef struct FileRename {
    ImageRename how;
    const char *old, *new;
} FileRename;

/* What the directory says is on disk. */
static int file_sync_directory(const char *filename)
{
    g_autofree char *dir = g_path_get_dirname(filename);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    fd_cleanup(&fd);
    return ret == -EINVAL ? 0 : ret;
}

/* What is not known to be on disk has failed as a whole: nobody would undo it. */
static void file_rename_undo(const FileRename *r)
{
    int ret = 0;

    if (r->how == IMAGE_NAME_ADD) {
        ret = unlink(r->new);
    } else if (r->how == IMAGE_NAME_EXCHANGE) {
        ret = renameat2(AT_FDCWD, r->old, AT_FDCWD, r->new, RENAME_EXCHANGE);
    }
    (void)ret;
}

static int64_t file_rename_work(void *arg)
{
    FileRename *r = arg;
    int ret;

    switch (r->how) {
    case IMAGE_NAME_ADD:
        ret = link(r->old, r->new);
        break;
    case IMAGE_NAME_REMOVE:
        ret = unlink(r->new);
        break;
    default:
        ret = renameat2(AT_FDCWD, r->old, AT_FDCWD, r->new, RENAME_EXCHANGE);
        break;
    }
    if (ret < 0) {
        return -errno;
    }
    ret = file_sync_directory(r->new);
    if (ret < 0) {
        file_rename_undo(r);
    }
    return ret;
}

static int file_rename(Co *co, Node *node, ImageRename how, const char *name)
{
    FileRename r = { how, node->options->u.file.filename, name };

    if (how == IMAGE_NAME_KNOW) {
        char *old = node->options->u.file.filename;

        node->options->u.file.filename = g_strdup(name);
        g_free(old);
        return 0;
    }
    return worker_run_brief(co, file_rename_work, &r);
}

const ImageOps file_image_ops = {
    .create_options = file_create_options,
    .create = file_create,
    .remove = file_remove,
    .rename = file_rename,
};

/* Devices are there already and stay: create.c opens and clears them. */
static const CreateOption host_device_create_options[] = {
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { "preallocation", "preallocation", CREATE_STRING, NULL,
      "Preallocation mode (allowed values: off)" },
    { NULL },
};

const ImageOps host_device_image_ops = {
    .create_options = host_device_create_options,
};
