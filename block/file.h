/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of the drivers "file" and "host_device" share.
 *
 *     file.c         the drivers: open, close, permissions, reopen, info
 *     file-io.c      requests
 *     file-create.c  creating and resizing
 *     file-caps.c    what the system below can do, found out at open
 *     file-ahead.c   files that grow get longer in steps
 *     file-lock.c    locks on bytes of the image, between processes
 */
#ifndef BLOCK_FILE_H
#define BLOCK_FILE_H

#include "block/io.h"
#include "block/reopen.h"

typedef struct FileCaps {
    bool blockdev;              /* a block device, not a regular file */
    bool chardev;
    bool memory;                /* the file system keeps all in memory */
    int64_t request_alignment;  /* of offsets and lengths: 1 if buffered */
    int64_t mem_alignment;
    int64_t discard_alignment;  /* block devices; 0: unknown */
    int64_t max_transfer;       /* 0: no limit */
    /* Whether it is worth a try; cleared when the system says no. */
    bool punch_hole, zero_range, fallocate, seek_data, dsync;
    bool blkdiscard, blkzeroout;
    /* Without waiting for the device; false with O_DIRECT, which waits. */
    bool read_now, write_now;
    bool ahead;                 /* see file-ahead.c; direct, regular files */
} FileCaps;

/* The locks that one open image holds. */
typedef struct FileLock {
    int fd;                     /* -1: no locks are taken */
    uint64_t perm, shared;      /* BlockPerm, as locked */
} FileLock;

/* See file-ahead.c. Bytes. */
typedef struct FileAhead {
    int64_t length, next, end, grown;
    bool busy;                  /* the file's length is just being changed */
    CoQueue waiters;
} FileAhead;

typedef struct FileState {
    int fd;
    int open_flags;             /* of fd */
    FileCaps caps;
    FileLock lock;
    /* Staged by a change of permissions or a reopen; -1: none. */
    int next_fd;
    int next_flags;
    bool next_caps_valid;
    FileCaps next_caps;
    /* A write may be lost behind a failed fsync: no flush succeeds again. */
    bool sync_failed;
    /* Reads that were not in the page cache: so many in a row, and how many
     * more are not tried there. */
    unsigned cache_misses, cache_skip;
    /* The extent that was looked up last. A hole is remembered only while
     * nobody else may write the file; `writes` counts what has been written,
     * so that nothing is remembered that was true before. */
    int64_t known_start, known_end;
    bool known_data;
    unsigned writes;
    FileAhead ahead;
} FileState;

/* ---- file.c ---- */

/* Of either driver. */
const BlockdevOptionsFile *file_options(const BlockdevOptions *opts);

/* ---- file-caps.c ---- */

/* Blocks: for a worker. @direct: fd was opened with O_DIRECT. */
void file_caps_probe(FileCaps *caps, int fd, bool direct);
/* Bytes, at most BLOCK_MAX_LENGTH, or -errno. Blocks shortly. */
int64_t file_caps_length(int fd);

/* ---- file-lock.c ---- */

/* Opens a descriptor for the locks of @fd; the same file. false with @errp if
 * locks are demanded (@must) and the system has none. */
bool file_lock_open(FileLock *lock, int fd, const char *filename, bool must,
                    Error **errp);
void file_lock_close(FileLock *lock);
/*
 * Goes over to what @perm and @shared need: takes new locks, tests whether
 * other processes are in the way, and leaves the old ones in place, too. Then
 * file_lock_commit() lets go of the old ones or file_lock_abort() of the new.
 */
bool file_lock_stage(FileLock *lock, uint64_t perm, uint64_t shared,
                     const char *filename, Error **errp);
void file_lock_commit(FileLock *lock, uint64_t perm, uint64_t shared);
void file_lock_abort(FileLock *lock, uint64_t perm, uint64_t shared);

/* ---- file-ahead.c ---- */

/* Whether who has these permissions may have a tail. */
bool file_ahead_may(uint64_t perm, uint64_t shared);
/* Something is about to be written up to @end, past the node's length. May
 * suspend. */
void file_ahead_reach(Co *co, Node *node, int64_t end);
/* Of a file that is @length long, what was asked for. */
int64_t file_ahead_true_length(const FileState *s, int64_t length);
/* Cuts the tail off, and lets nobody make the file longer before
 * file_ahead_resume(). */
void file_ahead_stop(Co *co, FileState *s);
void file_ahead_resume(FileState *s);
/* Cuts the tail off. Blocks shortly. */
void file_ahead_end(FileState *s);

/* ---- file-io.c ---- */

int file_read(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
              int64_t iov_off, ReqFlags flags);
int file_write(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags);
int file_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags);
int file_discard(Co *co, Node *node, int64_t off, int64_t len);
int file_flush(Co *co, Node *node);
int file_status(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                Extent *ret);
int file_copy_range(Co *co, Node *src, int64_t src_off, Node *dst,
                    int64_t dst_off, int64_t len, ReqFlags flags);

/* The file may hold something else from now on: for the status of holes. */
void file_forget_all(FileState *s);

/* ---- file-create.c ---- */

extern const ImageOps file_image_ops, host_device_image_ops;
bool file_resize(Co *co, Node *node, int64_t length, bool exact,
                 PreallocMode prealloc, ReqFlags flags, Error **errp);

#endif
