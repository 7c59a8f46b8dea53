/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Fields of disk formats and wires, sizes as people write them, and aligned
 * memory. ld*_p and st*_p access unaligned memory, big-endian (be) or
 * little-endian (le).
 */
#ifndef UTIL_BYTES_H
#define UTIL_BYTES_H

#include "util/error.h"

static inline uint16_t lduw_be_p(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT16_FROM_BE(v);
}

static inline uint32_t ldl_be_p(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static inline uint64_t ldq_be_p(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

static inline void stw_be_p(void *p, uint16_t v)
{
    v = GUINT16_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stl_be_p(void *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stq_be_p(void *p, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint32_t ldl_le_p(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_LE(v);
}

static inline uint64_t ldq_le_p(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_LE(v);
}

static inline void stl_le_p(void *p, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stq_le_p(void *p, uint64_t v)
{
    v = GUINT64_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

/*
 * "4096", "64k", "1.5G", "0x10000": bytes. Suffixes b k M G T P E in either
 * case, powers of 1024; @default_suffix (such as 'B' or 'M') where none is
 * given. Returns 0 and sets *@ret, -EINVAL if it is no size, -ERANGE if it
 * does not fit. *@end (may be NULL) as in strtol; without @end trailing
 * characters are -EINVAL.
 */
int size_parse(const char *str, char default_suffix, const char **end,
               uint64_t *ret);

/* "512 B", "64 KiB", "1.5 GiB", as the tools of QEMU print; caller frees. */
char *size_to_str(uint64_t bytes);

/* Aligned memory for I/O; ended by aligned_free. The try form gives NULL. */
void *aligned_alloc_io(size_t align, size_t len);
void *aligned_try_alloc_io(size_t align, size_t len);
void aligned_free(void *p);
/* What is free within the allocator's heaps goes back to the system; a
 * millisecond or so. */
void memory_give_back(void);
typedef void AlignedBuf;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AlignedBuf, aligned_free)

#endif
