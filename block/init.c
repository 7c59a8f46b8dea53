/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The one list of drivers. Its order is that of probing and of the lists that
 * the programs print.
 */

#include "block/drivers.h"

static const BlockDriver *const drivers[] = {
    &file_driver,
    &host_device_driver,
#ifdef CONFIG_LIBNBD
    &nbd_driver,
#endif
    &null_aio_driver,
    &null_co_driver,
    &raw_driver,
    &qcow2_driver,
    &blkdebug_driver,
    &blklogwrites_driver,
    &compress_driver,
    &copy_before_write_driver,
    &copy_on_read_driver,
    &preallocate_driver,
    &snapshot_access_driver,
    &throttle_driver,
};

void block_init(void)
{
    if (driver_find(drivers[0]->name)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        driver_register(drivers[i]);
    }
}
