/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What chardev-options.c tells chardev.c. */
#ifndef MONITOR_CHARDEV_INTERNAL_H
#define MONITOR_CHARDEV_INTERNAL_H

#include "monitor/chardev.h"

/* Strings belong to the parsed JSON. */
typedef struct ChardevOptions {
    const char *id;
    const char *backend;        /* one of chardev_backends */
    bool server, wait;
    int64_t reconnect;          /* seconds; 0: connect once */
    SockAddr addr;
} ChardevOptions;

/* Checks all of it; QEMU's texts. */
bool chardev_options_parse(ChardevOptions *opts, const json_t *json,
                           Error **errp);

#endif
