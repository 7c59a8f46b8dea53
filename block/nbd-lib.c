/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* libnbd's functions, found when they are first needed. */
#include "block/nbd-lib.h"

struct NbdLib nbd_lib;

LAZY_LIB(nbd_file, "libnbd.so.0", nbd_lib, NBD_LIB);

bool nbd_lib_load(Error **errp)
{
    return lazy_lib_load(&nbd_file, errp);
}
