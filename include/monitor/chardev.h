/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Character devices: where monitors find their clients. A socket, listening or
 * connected, or the standard streams. Main loop.
 */
#ifndef MONITOR_CHARDEV_H
#define MONITOR_CHARDEV_H

#include "util/channel.h"
#include "util/json.h"

typedef struct Chardev Chardev;

/* A client; the callee owns the channel and calls chardev_client_gone(). */
typedef void ChardevClientFn(Channel *ch, void *opaque);

/*
 * --chardev BACKEND,id=ID,...: the options are strings, as
 * keyval_parse_flat_warn() makes them with the implied key "backend". A server
 * with wait=on waits for its first client here. Suspends. QEMU's texts.
 */
bool chardev_add(Co *co, const json_t *opts, Error **errp);
/* What --chardev help lists; ended by NULL. */
extern const char *const chardev_backends[];

Chardev *chardev_find(const char *id);
/* "socket" or "stdio". */
const char *chardev_backend(const Chardev *chr);
const char *chardev_id(const Chardev *chr);
bool chardev_is_connected(const Chardev *chr);  /* has a client */
Chardev *chardev_next(Chardev *chr);            /* NULL: the first */

/* From now on clients are given to @fn, one after the other. One user only:
 * "Device 'm' is in use". */
bool chardev_use(Chardev *chr, ChardevClientFn *fn, void *opaque,
                 Error **errp);
/* The client has hung up: the next one, please. */
void chardev_client_gone(Chardev *chr);

/* Takes no more clients. Suspends. */
void chardev_stop_all(Co *co);
/* After that, and without clients: removes devices and sockets' paths. */
void chardev_remove_all(void);

#endif
