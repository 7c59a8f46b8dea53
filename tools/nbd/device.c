/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-nbd -c and -d: a device of the kernel's NBD client (Linux's <linux/nbd.h>, whose
 * names are the protocol's, too, hence the numbers). The server gets one end of a
 * pair of sockets as a client; on the other end the handshake is done here, as
 * the kernel wants it: compact requests, simple replies. Then the kernel has that
 * end, and a thread that serves the device until it is disconnected.
 */

#include "tools/nbd/nbd.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "nbd/proto.h"
#include "nbd/server.h"
#include "util/bytes.h"

#define DEV_SET_SOCK _IO(0xab, 0)
#define DEV_SET_BLKSIZE _IO(0xab, 1)
#define DEV_DO_IT _IO(0xab, 3)
#define DEV_CLEAR_SOCK _IO(0xab, 4)
#define DEV_SET_SIZE_BLOCKS _IO(0xab, 7)
#define DEV_DISCONNECT _IO(0xab, 8)
#define DEV_SET_FLAGS _IO(0xab, 10)

#define SECTOR 512

struct NbdDevice {
    const char *path, *export;
    int fd;                     /* of the device */
    int sock;                   /* the kernel's end */
    uint64_t size;
    uint16_t flags;
    const char *failed;         /* the step that did */
    bool serving;               /* a worker is in DEV_DO_IT */
    CoQueue idle;
};

/* ---- the handshake (a worker) ---- */

static bool device_recv(NbdDevice *d, void *buf, size_t len)
{
    return recv(d->sock, buf, len, MSG_WAITALL) == (ssize_t)len;
}

/* One reply to the option GO; false at its end, or if it is none. */
static bool device_take_reply(NbdDevice *d, bool *ok)
{
    uint8_t head[20], data[2 + NBD_MAX_STRING_SIZE];    /* a description */
    uint32_t type, len;

    if (!device_recv(d, head, sizeof(head)) ||
        ldq_be_p(head) != NBD_REP_MAGIC) {
        return false;
    }
    type = ldl_be_p(head + 12);
    len = ldl_be_p(head + 16);
    if (len > sizeof(data) || (len && !device_recv(d, data, len))) {
        return false;
    }
    if (type == NBD_REP_INFO && len == 12 && lduw_be_p(data) == 0) {
        d->size = ldq_be_p(data + 2);
        d->flags = lduw_be_p(data + 10);
    }
    *ok = type == NBD_REP_ACK;
    return type == NBD_REP_INFO;
}

static bool device_handshake(NbdDevice *d)
{
    uint32_t len = strlen(d->export);
    g_autofree uint8_t *out = g_malloc(4 + 16 + 4 + len + 2);
    uint8_t hello[18];
    bool ok = false;

    if (!device_recv(d, hello, sizeof(hello))) {
        return false;
    }
    stl_be_p(out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    stq_be_p(out + 4, NBD_OPTS_MAGIC);
    stl_be_p(out + 12, NBD_OPT_GO);
    stl_be_p(out + 16, 4 + len + 2);
    stl_be_p(out + 20, len);
    memcpy(out + 24, d->export, len);
    stw_be_p(out + 24 + len, 0);
    if (send(d->sock, out, 26 + len, MSG_NOSIGNAL) != (ssize_t)(26 + len)) {
        return false;
    }
    while (device_take_reply(d, &ok)) {
    }
    return ok;
}

/* ---- the device (a worker) ---- */

/* Notes what failed. */
static bool device_step(NbdDevice *d, const char *what, unsigned long request,
                        unsigned long arg)
{
    if (ioctl(d->fd, request, arg) < 0) {
        d->failed = what;
        return false;
    }
    return true;
}

static int64_t device_set_up(void *opaque)
{
    NbdDevice *d = opaque;
    int read_only;

    if (!device_handshake(d)) {
        d->failed = "Failed to shake hands for the device";
        return -1;
    }
    read_only = !!(d->flags & NBD_FLAG_READ_ONLY);
    if (!device_step(d, "Failed to set NBD socket", DEV_SET_SOCK, d->sock) ||
        !device_step(d, "Failed to set the block size", DEV_SET_BLKSIZE,
                     SECTOR) ||
        !device_step(d, "Failed to set the size", DEV_SET_SIZE_BLOCKS,
                     d->size / SECTOR)) {
        return -1;
    }
    return device_step(d, "Failed to set flags", DEV_SET_FLAGS, d->flags) &&
           /* It may have been another's before. */
           device_step(d, "Failed to set or clear read-only", BLKROSET,
                       (unsigned long)&read_only) ? 0 : -1;
}

/* Until it is disconnected. */
static int64_t device_do_it(void *opaque)
{
    NbdDevice *d = opaque;
    int ret = ioctl(d->fd, DEV_DO_IT);

    ioctl(d->fd, DEV_CLEAR_SOCK);
    return ret;
}

/* Whoever opens the device first has the kernel look for partitions. */
static int64_t device_look(void *opaque)
{
    NbdDevice *d = opaque;
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        close(fd);
    }
    return 0;
}

static int64_t device_disconnect(void *opaque)
{
    NbdDevice *d = opaque;

    fsync(d->fd);
    return ioctl(d->fd, DEV_DISCONNECT);
}

/* ---- main loop ---- */

static void device_serve(Co *co, void *opaque)
{
    NbdDevice *d = opaque;

    worker_run(co, device_do_it, d);
    d->serving = false;
    /* Our copy of the kernel's end: the server sees that it is gone. */
    shutdown(d->sock, SHUT_RDWR);
    co_queue_wake_all(&d->idle);
}

static void device_free(NbdDevice *d)
{
    if (d->fd >= 0) {
        close(d->fd);
    }
    if (d->sock >= 0) {
        close(d->sock);
    }
    g_free(d);
}

NbdDevice *nbd_device_connect(Co *co, const NbdArgs *args, NbdServer *server,
                              Error **errp)
{
    NbdDevice *d = g_new0(NbdDevice, 1);
    int pair[2];

    d->path = args->connect;
    d->export = args->export_name ? args->export_name : "";
    d->sock = -1;
    d->fd = open(d->path, O_RDWR | O_CLOEXEC);
    if (d->fd < 0) {
        error_setg_errno(errp, errno, "Failed to open %s", d->path);
        device_free(d);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_setg_errno(errp, errno, "Failed to create sockets");
        device_free(d);
        return NULL;
    }
    d->sock = pair[1];
    nbd_server_add_client(server, pair[0]);
    if (worker_run(co, device_set_up, d) < 0) {
        error_setg(errp, "%s", d->failed);
        ioctl(d->fd, DEV_CLEAR_SOCK);
        device_free(d);
        return NULL;
    }
    d->serving = true;
    co_spawn(loop_main(), device_serve, d);
    worker_run(co, device_look, d);
    if (args->verbose) {
        fprintf(stderr, "NBD device %s is now connected to %s\n", d->path,
                args->file);
    }
    return d;
}

void nbd_device_end(Co *co, NbdDevice *d)
{
    if (!d) {
        return;
    }
    if (d->serving) {
        worker_run(co, device_disconnect, d);
    }
    while (d->serving) {
        co_queue_wait(co, &d->idle);
    }
    device_free(d);
}

int nbd_device_disconnect(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        error_report("Cannot open %s: %s", path, strerror(errno));
        return EXIT_FAILURE;
    }
    fsync(fd);
    ioctl(fd, DEV_DISCONNECT);
    ioctl(fd, DEV_CLEAR_SOCK);
    printf("%s disconnected\n", path);
    close(fd);
    return EXIT_SUCCESS;
}
