/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Limits of throughput that several disks share, on whatever loops they live.
 *
 * A group has six buckets (bytes and operations; reads, writes and both). What
 * is done fills them, time empties them at the allowed rate; a request waits
 * while one of its buckets is over its brim. Members of a group take turns, one
 * request each; within a member requests keep their order.
 */
#ifndef UTIL_THROTTLE_H
#define UTIL_THROTTLE_H

#include "util/co.h"
#include "util/error.h"

typedef enum ThrottleKind {
    THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_BPS_WRITE,
    THROTTLE_OPS_TOTAL, THROTTLE_OPS_READ, THROTTLE_OPS_WRITE,
    THROTTLE_KINDS,
} ThrottleKind;

/* Bytes or operations a second; bursts of @max for @length seconds. */
typedef struct ThrottleLimit {
    int64_t avg;                /* 0: no limit */
    int64_t max;                /* 0: no bursts */
    int64_t length;             /* at least 1 */
} ThrottleLimit;

typedef struct ThrottleConfig {
    ThrottleLimit limit[THROTTLE_KINDS];
    int64_t op_size;            /* bytes that count as one operation; 0: any */
} ThrottleConfig;

/* No limits. */
void throttle_config_init(ThrottleConfig *cfg);
/* QEMU's texts. */
bool throttle_config_check(const ThrottleConfig *cfg, Error **errp);

typedef struct ThrottleGroup ThrottleGroup;
typedef struct ThrottleMember ThrottleMember;

/* From any loop. The group of a name that is not taken; one reference. */
ThrottleGroup *throttle_group_new(const char *name);
/* A new reference, or NULL. */
ThrottleGroup *throttle_group_find(const char *name);
void throttle_group_unref(ThrottleGroup *g);        /* NULL ok */
const char *throttle_group_name(const ThrottleGroup *g);
/* Whether anybody but its maker uses it. */
bool throttle_group_in_use(ThrottleGroup *g);
/* Who waits is looked at anew. */
void throttle_group_configure(ThrottleGroup *g, const ThrottleConfig *cfg);

/* Takes a reference of its own. */
ThrottleMember *throttle_member_new(ThrottleGroup *g);
/* Nobody waits any more. NULL ok. */
void throttle_member_free(ThrottleMember *m);
/* Suspends until the group lets a request of @bytes pass. */
void throttle_member_wait(Co *co, ThrottleMember *m, int64_t bytes,
                          bool is_write);
/* While it is released nobody of it waits, but what passes counts. Nests. */
void throttle_member_release(ThrottleMember *m);
void throttle_member_hold(ThrottleMember *m);

#endif
