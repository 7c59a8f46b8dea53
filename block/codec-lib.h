/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * ISA-L, libdeflate and libzstd, loaded when they are first needed
 * (util/lazy-lib.h): three of the libraries that a start would map, for clusters
 * that most images don't have. Included in place of their headers; a function that
 * is used must stand in both lists.
 */
#ifndef BLOCK_CODEC_LIB_H
#define BLOCK_CODEC_LIB_H

#include "util/lazy-lib.h"

/* Before the first function of a library is called. Any thread. */

#ifdef CONFIG_ISAL
#include <isa-l/igzip_lib.h>

#define ISAL_LIB(X) X(isal_deflate_init) X(isal_deflate)
extern struct IsalLib {
    ISAL_LIB(LAZY_SLOT)
} isal_lib;
bool isal_lib_load(void);

#define isal_deflate_init isal_lib.isal_deflate_init
#define isal_deflate isal_lib.isal_deflate
#endif

#ifdef CONFIG_LIBDEFLATE
#include <libdeflate.h>

#define DEFLATE_LIB(X) \
    X(libdeflate_alloc_decompressor) X(libdeflate_deflate_decompress_ex) \
    X(libdeflate_free_decompressor)
extern struct DeflateLib {
    DEFLATE_LIB(LAZY_SLOT)
} deflate_lib;
bool deflate_lib_load(void);

#define libdeflate_alloc_decompressor deflate_lib.libdeflate_alloc_decompressor
#define libdeflate_deflate_decompress_ex \
    deflate_lib.libdeflate_deflate_decompress_ex
#define libdeflate_free_decompressor deflate_lib.libdeflate_free_decompressor
#endif

#ifdef CONFIG_ZSTD
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_LIB(X) \
    X(ZSTD_CCtx_reset) X(ZSTD_compress2) X(ZSTD_createCCtx) \
    X(ZSTD_createDCtx) X(ZSTD_decompressStream) X(ZSTD_freeCCtx) \
    X(ZSTD_freeDCtx) X(ZSTD_getErrorCode) X(ZSTD_isError)
extern struct ZstdLib {
    ZSTD_LIB(LAZY_SLOT)
} zstd_lib;
bool zstd_lib_load(void);

#define ZSTD_CCtx_reset zstd_lib.ZSTD_CCtx_reset
#define ZSTD_compress2 zstd_lib.ZSTD_compress2
#define ZSTD_createCCtx zstd_lib.ZSTD_createCCtx
#define ZSTD_createDCtx zstd_lib.ZSTD_createDCtx
#define ZSTD_decompressStream zstd_lib.ZSTD_decompressStream
#define ZSTD_freeCCtx zstd_lib.ZSTD_freeCCtx
#define ZSTD_freeDCtx zstd_lib.ZSTD_freeDCtx
#define ZSTD_getErrorCode zstd_lib.ZSTD_getErrorCode
#define ZSTD_isError zstd_lib.ZSTD_isError
#endif

#endif
