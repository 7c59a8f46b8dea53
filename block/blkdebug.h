/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Private to block/blkdebug*.c. */
#ifndef BLOCK_BLKDEBUG_H
#define BLOCK_BLKDEBUG_H

#include "block/types.h"

/*
 * The rules of a configuration file, in its order, added at the end of the two
 * lists. Pure. QEMU's texts; the lists may hold something then, too.
 *
 *     [inject-error]          [set-state]
 *     event = "read_aio"      event = "write_aio"
 *     errno = "28"            new_state = "2"
 */
bool blkdebug_config_parse(const char *text,
                           BlkdebugInjectErrorOptionsList **inject,
                           BlkdebugSetStateOptionsList **set,
                           Error **errp);

#endif
