/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The functions of the compressors, found when they are first needed. */
#include "block/codec-lib.h"

#ifdef CONFIG_ISAL
struct IsalLib isal_lib;
LAZY_LIB(isal_file, "libisal.so.2", isal_lib, ISAL_LIB);

bool isal_lib_load(void)
{
    return lazy_lib_load(&isal_file, NULL);
}
#endif

#ifdef CONFIG_LIBDEFLATE
struct DeflateLib deflate_lib;
LAZY_LIB(deflate_file, "libdeflate.so.0", deflate_lib, DEFLATE_LIB);

bool deflate_lib_load(void)
{
    return lazy_lib_load(&deflate_file, NULL);
}
#endif

#ifdef CONFIG_ZSTD
struct ZstdLib zstd_lib;
LAZY_LIB(zstd_file, "libzstd.so.1", zstd_lib, ZSTD_LIB);

bool zstd_lib_load(void)
{
    return lazy_lib_load(&zstd_file, NULL);
}
#endif
