/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img convert: convert.c reads the arguments, opens and creates;
 * convert-copy.c copies all, convert-incremental.c what is dirty;
 * convert-bitmaps.c carries bitmaps over.
 */
#ifndef TOOLS_IMG_CONVERT_H
#define TOOLS_IMG_CONVERT_H

#include "tools/img/img.h"
#include "util/ratelimit.h"

#define CONVERT_MAX_WORKERS 16
/* The most that a worker reads at once. */
#define CONVERT_BUFFER (2 * MiB)
/* What is read and written in turn where nobody else is at it. */
#define CONVERT_PIECE (256 * KiB)

/* Compressed ranges that the target has at once. */
#define CONVERT_WRITING 2

typedef struct ConvertSource {
    Root *root;
    int64_t start;              /* in the joined disk */
    int64_t len;                /* what there is to read */
    int64_t span;               /* with the padding to whole sectors */
} ConvertSource;

typedef struct ConvertCopy {
    /* Set by convert.c. */
    ConvertSource *sources;
    int n_sources;
    Root *target;
    int64_t total;              /* length of the joined disk */
    int64_t min_sparse;         /* 0: everything is written */
    int64_t cluster_size;       /* of the target; 1 if it has none */
    int64_t backing_len;        /* of the target's backing file; -1: none */
    bool target_is_zero;        /* it reads as zeroes where it has no backing */
    bool compressed, in_order, copy_range, salvage, quiet;
    int n_workers;
    RateLimit limit;
    ImgProgress *progress;

    /* Private to convert-copy.c. */
    CoMutex lock;               /* of next and the question for its status */
    int64_t next;               /* nobody has taken what begins here */
    int64_t handed;             /* in order: up to here to the target */
    int64_t written;            /* in order: up to here; else: bytes */
    int writing;                /* ranges between the two */
    CoQueue turn;               /* who waits for one of these */
    bool quick;                 /* data come and go without waiting */
    bool by_pieces;             /* one copies so */
    int ret;                    /* the first error; it has been reported */
} ConvertCopy;

/* Copies all; 0, or -errno after a complaint. Suspends. */
int convert_copy(Co *co, ConvertCopy *c);

/* ---- convert-incremental.c ---- */

/* The ranges that are dirty in a bitmap at the server of @src, which must be an
 * NBD export; NULL after a complaint. Control lock; suspends. */
GArray *convert_find_dirty(Co *co, const ImgSource *src, const char *bitmap);
/* Copies just these from the first source; as convert_copy. */
int convert_incremental(Co *co, ConvertCopy *c, const GArray *dirty);

/* ---- convert-bitmaps.c ---- */

/* Whether all persistent bitmaps of @src can be copied; complains. */
bool convert_check_bitmaps(Node *src, bool skip_broken);
/* Copies them (the target must be writable and open for nothing else); false
 * after a complaint. Control lock; suspends. */
bool convert_copy_bitmaps(Co *co, Node *src, Node *target, bool skip_broken);

#endif
