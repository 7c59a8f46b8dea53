/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The drivers of the build, one a line, for block/init.c alone. */
#ifndef BLOCK_DRIVERS_H
#define BLOCK_DRIVERS_H

#include "block/driver.h"

extern const BlockDriver raw_driver;
extern const BlockDriver file_driver;
extern const BlockDriver host_device_driver;
#ifdef CONFIG_LIBNBD
extern const BlockDriver nbd_driver;
#endif
extern const BlockDriver null_co_driver;
extern const BlockDriver null_aio_driver;
extern const BlockDriver qcow2_driver;
extern const BlockDriver blkdebug_driver;
extern const BlockDriver blklogwrites_driver;
extern const BlockDriver preallocate_driver;
extern const BlockDriver compress_driver;
extern const BlockDriver copy_on_read_driver;
extern const BlockDriver copy_before_write_driver;
extern const BlockDriver snapshot_access_driver;
extern const BlockDriver throttle_driver;

#endif
