/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The functions of the compressors, found when they are first needed. */
#include "block/codec-lib.h"

/* Defines NAME_lib, of struct TABLE, and NAME_lib_load(). */
#define CODEC_LIB(NAME, TABLE, FILE, LIST)                  \
    struct TABLE NAME##_lib;                                \
    LAZY_LIB(NAME##_file, FILE, NAME##_lib, LIST);          \
                                                            \
    bool NAME##_lib_load(void)                              \
    {                                                       \
        return lazy_lib_load(&NAME##_file, NULL);           \
    }

#ifdef CONFIG_ISAL
CODEC_LIB(isal, IsalLib, "libisal.so.2", ISAL_LIB)
#endif

#ifdef CONFIG_LIBDEFLATE
CODEC_LIB(deflate, DeflateLib, "libdeflate.so.0", DEFLATE_LIB)
#endif

#ifdef CONFIG_ZSTD
CODEC_LIB(zstd, ZstdLib, "libzstd.so.1", ZSTD_LIB)
#endif
