/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What the files of qemu-nbd share. */
#ifndef TOOLS_NBD_H
#define TOOLS_NBD_H

#include "block/open.h"
#include "util/channel.h"

#define NBD_ACTIVATED_FD 3
/* Where the server of a device listens, unless told otherwise. */
#define NBD_DEVICE_SOCKET "/var/lock/qemu-nbd-%s"

typedef struct NbdServer NbdServer;

/* The command line, checked for contradictions. Strings are argv's. */
typedef struct NbdArgs {
    const char *file;
    /* connection */
    const char *port, *bind, *socket;
    int activated;              /* sockets that a service manager has opened
                                 * for us: none, or NBD_ACTIVATED_FD */
    int shared;                 /* clients at a time; 0: any number */
    int max_requests;           /* of each, at the same time; 0: default */
    bool persistent, verbose, fork, list;
    const char *connect;        /* the kernel's device */
    char *device_socket;        /* owned */
    const char *export_name, *description, *pid_file;
    /* what is exposed */
    int64_t offset;             /* bytes */
    bool allocation_depth;
    GPtrArray *bitmaps;         /* of const char * */
    GPtrArray *objects;         /* of const char *: --object */
    const char *tls_creds, *tls_authz, *tls_hostname;
    /* how the image is opened */
    const char *format;
    bool read_only, snapshot, image_opts, writethrough;
    OpenFlags flags;
    const char *aio, *detect_zeroes;
    const char *load_snapshot;
} NbdArgs;

/* Prints and exits where it is told to or must. */
void nbd_args_parse(NbdArgs *args, int argc, char **argv);
/* Of the server, or with -L of somebody else's. */
SockAddr nbd_args_address(const NbdArgs *args);

/* Serves the image until it is told to end. The exit code. */
int nbd_serve(Co *co, const NbdArgs *args);

/* tools/nbd/device.c: -c makes the kernel's device a client of @server. Ends with the
 * device's connection. Suspend. */
typedef struct NbdDevice NbdDevice;
NbdDevice *nbd_device_connect(Co *co, const NbdArgs *args, NbdServer *server,
                              Error **errp);
void nbd_device_end(Co *co, NbdDevice *d);          /* NULL ok */
/* -d. The exit code. */
int nbd_device_disconnect(const char *path);

/* -L: prints what another server exports. */
int nbd_list(Co *co, const NbdArgs *args);

#endif
