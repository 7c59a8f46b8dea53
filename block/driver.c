/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The registry of drivers: an array in order of registration, which is also
 * the order of probing. It is filled once, before anything is opened; drivers
 * are constant and never leave it.
 */
#include "util/osdep.h"

#include "block/driver.h"

static GPtrArray *driver_list;

void driver_register(const BlockDriver *drv)
{
    if (!driver_list) {
        driver_list = g_ptr_array_new();
    }
    g_assert(!driver_find(drv->name));
    g_ptr_array_add(driver_list, (gpointer)drv);
}

const BlockDriver *const *driver_all(size_t *n)
{
    *n = driver_list ? driver_list->len : 0;
    return driver_list ? (const BlockDriver *const *)driver_list->pdata : NULL;
}

const BlockDriver *driver_find(const char *name)
{
    size_t n;
    const BlockDriver *const *all = driver_all(&n);

    for (size_t i = 0; i < n; i++) {
        if (!strcmp(all[i]->name, name)) {
            return all[i];
        }
    }
    return NULL;
}

const BlockDriver *driver_by_id(BlockdevDriver id)
{
    size_t n;
    const BlockDriver *const *all = driver_all(&n);

    for (size_t i = 0; i < n; i++) {
        if (all[i]->id == id) {
            return all[i];
        }
    }
    return NULL;
}

static bool driver_has_protocol(const BlockDriver *drv, const char *protocol)
{
    const char *const *more = drv->more_protocols;

    return (drv->protocol && !strcmp(drv->protocol, protocol)) ||
           (more && g_strv_contains(more, protocol));
}

const BlockDriver *driver_by_protocol(const char *protocol)
{
    size_t n;
    const BlockDriver *const *all = driver_all(&n);

    for (size_t i = 0; i < n; i++) {
        if (driver_has_protocol(all[i], protocol)) {
            return all[i];
        }
    }
    return NULL;
}
