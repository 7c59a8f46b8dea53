/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Clusters in few bytes: raw deflate with a window of 4 KiB, as the format
 * says, or one zstd frame.
 *
 * Deflate has several makers, all compatible: ISA-L compresses and libdeflate
 * decompresses much faster than zlib, which stands in where they were missing
 * when this was built. One that is missing when it is needed is -ELIBACC.
 */
#include "block/qcow2-codec.h"

#include <zlib.h>

#include "block/codec-lib.h"
#include "block/qcow2-format.h"

#define DEFLATE_WINDOW_BITS 12

#ifdef CONFIG_ISAL
static ssize_t deflate_compress(void *dst, size_t dst_len, const void *src,
                                size_t src_len)
{
    struct isal_zstream stream;
    g_autofree uint8_t *level_buf = NULL;
    int r;

    if (!isal_lib_load()) {
        return -ELIBACC;
    }
    level_buf = g_try_malloc(ISAL_DEF_LVL3_DEFAULT);
    if (!level_buf) {
        return -ENOMEM;
    }
    isal_deflate_init(&stream);
    stream.next_in = (uint8_t *)src;
    stream.avail_in = src_len;
    stream.next_out = dst;
    stream.avail_out = dst_len;
    stream.end_of_stream = 1;
    stream.flush = NO_FLUSH;
    stream.gzip_flag = IGZIP_DEFLATE;
    stream.hist_bits = DEFLATE_WINDOW_BITS;
    stream.level = 3;
    stream.level_buf = level_buf;
    stream.level_buf_size = ISAL_DEF_LVL3_DEFAULT;
    r = isal_deflate(&stream);
    if (r != COMP_OK) {
        return -EIO;
    }
    if (stream.internal_state.state != ZSTATE_END) {
        return -ENOSPC;
    }
    return dst_len - stream.avail_out;
}
#else
static ssize_t deflate_compress(void *dst, size_t dst_len, const void *src,
                                size_t src_len)
{
    z_stream stream = { 0 };
    ssize_t ret;
    int r = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                         -DEFLATE_WINDOW_BITS, 9, Z_DEFAULT_STRATEGY);

    if (r != Z_OK) {
        return r == Z_MEM_ERROR ? -ENOMEM : -EIO;
    }
    stream.next_in = (void *)src;
    stream.avail_in = src_len;
    stream.next_out = dst;
    stream.avail_out = dst_len;
    r = deflate(&stream, Z_FINISH);
    if (r == Z_STREAM_END) {
        ret = dst_len - stream.avail_out;
    } else {
        ret = r == Z_OK ? -ENOSPC : -EIO;
    }
    deflateEnd(&stream);
    return ret;
}
#endif

#ifdef CONFIG_LIBDEFLATE
static int deflate_decompress(void *dst, size_t dst_len, const void *src,
                              size_t src_len)
{
    struct libdeflate_decompressor *d;
    enum libdeflate_result r;
    size_t in, out;

    if (!deflate_lib_load()) {
        return -ELIBACC;
    }
    d = libdeflate_alloc_decompressor();
    if (!d) {
        return -ENOMEM;
    }
    r = libdeflate_deflate_decompress_ex(d, src, src_len, dst, dst_len, &in,
                                         &out);
    libdeflate_free_decompressor(d);
    return r == LIBDEFLATE_SUCCESS && out == dst_len ? 0 : -EIO;
}
#else
static int deflate_decompress(void *dst, size_t dst_len, const void *src,
                              size_t src_len)
{
    z_stream stream = { 0 };
    int r = inflateInit2(&stream, -DEFLATE_WINDOW_BITS);

    if (r != Z_OK) {
        return r == Z_MEM_ERROR ? -ENOMEM : -EIO;
    }
    stream.next_in = (void *)src;
    stream.avail_in = src_len;
    stream.next_out = dst;
    stream.avail_out = dst_len;
    r = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    /* With trailing bytes in the last sector there may be no stream end. */
    return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !stream.avail_out ?
           0 : -EIO;
}
#endif

#ifdef CONFIG_ZSTD
static void zstd_free(void *ctx)
{
    ZSTD_freeCCtx(ctx);
}

/* A context a thread: it has tables that take longer to make than to use. */
static ZSTD_CCtx *zstd_context(void)
{
    static GPrivate mine = G_PRIVATE_INIT(zstd_free);
    ZSTD_CCtx *ctx = g_private_get(&mine);

    if (!ctx) {
        ctx = ZSTD_createCCtx();
        g_private_set(&mine, ctx);
    } else {
        ZSTD_CCtx_reset(ctx, ZSTD_reset_session_only);
    }
    return ctx;
}

/* In one call with both buffers: a stream would copy through its own. */
static ssize_t zstd_compress(void *dst, size_t dst_len, const void *src,
                             size_t src_len)
{
    ZSTD_CCtx *ctx;
    size_t r;

    if (!zstd_lib_load()) {
        return -ELIBACC;
    }
    ctx = zstd_context();
    if (!ctx) {
        return -ENOMEM;
    }
    r = ZSTD_compress2(ctx, dst, dst_len, src, src_len);
    if (ZSTD_isError(r)) {
        return ZSTD_getErrorCode(r) == ZSTD_error_dstSize_tooSmall ? -ENOSPC
                                                                   : -EIO;
    }
    return r;
}

static int zstd_decompress(void *dst, size_t dst_len, const void *src,
                           size_t src_len)
{
    ZSTD_inBuffer in = { src, src_len, 0 };
    ZSTD_outBuffer out = { dst, dst_len, 0 };
    ZSTD_DCtx *ctx;
    int ret = 0;

    if (!zstd_lib_load()) {
        return -ELIBACC;
    }
    ctx = ZSTD_createDCtx();
    if (!ctx) {
        return -ENOMEM;
    }
    while (out.pos < out.size && ret == 0) {
        size_t in_pos = in.pos, out_pos = out.pos;
        size_t r = ZSTD_decompressStream(ctx, &out, &in);

        if (ZSTD_isError(r) || (in.pos == in_pos && out.pos == out_pos)) {
            ret = -EIO;
        } else if (r == 0 && out.pos < out.size) {
            /* The frame has ended early. */
            ret = -EIO;
        }
    }
    ZSTD_freeDCtx(ctx);
    return ret;
}
#endif

/* By QCOW2_COMPRESSION_*. */
static const struct {
    ssize_t (*compress)(void *dst, size_t dst_len, const void *src,
                        size_t src_len);
    int (*decompress)(void *dst, size_t dst_len, const void *src,
                      size_t src_len);
} codecs[] = {
    [QCOW2_COMPRESSION_ZLIB] = { deflate_compress, deflate_decompress },
#ifdef CONFIG_ZSTD
    [QCOW2_COMPRESSION_ZSTD] = { zstd_compress, zstd_decompress },
#endif
};

bool qcow2_codec_known(int type)
{
    return type >= 0 && type < (int)ARRAY_SIZE(codecs) && codecs[type].compress;
}

ssize_t qcow2_codec_compress(int type, void *dst, size_t dst_len,
                             const void *src, size_t src_len)
{
    return codecs[type].compress(dst, dst_len, src, src_len);
}

int qcow2_codec_decompress(int type, void *dst, size_t dst_len,
                           const void *src, size_t src_len)
{
    return codecs[type].decompress(dst, dst_len, src, src_len);
}
