/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The drivers of the build, for block_init() alone. */
#ifndef BLOCK_DRIVERS_H
#define BLOCK_DRIVERS_H

#include "block/driver.h"

extern const BlockDriver driver_file;
extern const BlockDriver driver_host_device;
extern const BlockDriver driver_null_co;
extern const BlockDriver driver_null_aio;
extern const BlockDriver driver_raw;

#endif
