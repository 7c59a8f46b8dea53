/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Compressing and decompressing clusters: pure functions over bytes, called
 * from workers.
 */
#ifndef BLOCK_QCOW2_CODEC_H
#define BLOCK_QCOW2_CODEC_H

#include "util/osdep.h"

/* @type is QCOW2_COMPRESSION_*. Whether this build knows it, which it has to for
 * the other functions. */
bool qcow2_codec_known(int type);
/* Bytes of @dst used; -ENOSPC if the data don't get smaller than @dst_len;
 * -EIO or -ENOMEM. */
ssize_t qcow2_codec_compress(int type, void *dst, size_t dst_len,
                             const void *src, size_t src_len);
/* Fills all of @dst; @src may have bytes behind the data. 0, -EIO or
 * -ENOMEM. */
int qcow2_codec_decompress(int type, void *dst, size_t dst_len,
                           const void *src, size_t src_len);

#endif
