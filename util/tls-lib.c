/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* GnuTLS's functions, found when they are first needed. */
#include "util/tls-lib.h"

struct TlsLib tls_lib;

LAZY_LIB(tls_file, "libgnutls.so.30", tls_lib, TLS_LIB);

bool tls_lib_load(Error **errp)
{
    return lazy_lib_load(&tls_file, errp);
}
