/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A scattered buffer. A request carries `const IoVec *iov, int64_t iov_off`
 * down the whole path: its data are the @len bytes of iov from iov_off on, so
 * that splitting a request copies nothing. Only the driver that talks to the
 * kernel cuts the array out (iov_cut).
 */
#ifndef UTIL_IOV_H
#define UTIL_IOV_H

#include "util/osdep.h"

typedef struct IoVec {
    struct iovec *iov;      /* == &one where one buffer is enough */
    int niov;
    int64_t len;            /* bytes in all */
    int capacity;           /* 0: the array is not ours */
    struct iovec one;
} IoVec;

/* A view of one buffer; needs no destruction. @v must not be moved. */
void iov_init_buf(IoVec *v, void *buf, int64_t len);
/* A view of a foreign array; needs no destruction. */
void iov_init_external(IoVec *v, struct iovec *iov, int niov);
/* An array of its own, to be filled by iov_add and ended by iov_destroy. */
void iov_init(IoVec *v, int capacity_hint);
void iov_add(IoVec *v, void *buf, int64_t len);
/* Appends what @src holds in [off, off + len). */
void iov_concat(IoVec *v, const IoVec *src, int64_t off, int64_t len);
void iov_reset(IoVec *v);
void iov_destroy(IoVec *v);

/* How many entries the cut [off, off + len) takes. */
int iov_cut_count(const IoVec *v, int64_t off, int64_t len);
/* Writes that cut into @out (of at least that many entries); returns count. */
int iov_cut(const IoVec *v, int64_t off, int64_t len, struct iovec *out);

/* Copies; [off, off + len) must lie inside @v. */
void iov_from_buf(const IoVec *v, int64_t off, const void *buf, int64_t len);
void iov_to_buf(const IoVec *v, int64_t off, void *buf, int64_t len);
void iov_memset(const IoVec *v, int64_t off, int byte, int64_t len);
bool iov_is_zero(const IoVec *v, int64_t off, int64_t len);
/* All buffers of the cut lie at multiples of @align and are as long. */
bool iov_is_aligned(const IoVec *v, int64_t off, int64_t len, int64_t align);

/* Drops the first @n bytes of a plain array; returns its new count. */
int iov_advance(struct iovec **iov, int niov, size_t n);

/* Whether @len bytes are all zero; wide instructions where the CPU has them. */
bool buffer_is_zero(const void *buf, size_t len);
/* Gives whole pages of zeroes in private memory back to the system until they are
 * written to; they read as zeroes all the same. */
void buffer_release_zeroes(void *buf, size_t len);

#endif
