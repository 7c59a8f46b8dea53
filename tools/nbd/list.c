/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-nbd -L: asks another server for its exports, through libnbd. */

#include "tools/nbd/nbd.h"

#include "block/nbd-lib.h"
#include "block/nbd-tls.h"
#include "nbd/proto.h"

typedef struct Listing {
    GPtrArray *names, *descriptions, *contexts;
} Listing;

static int add_export(void *opaque, const char *name, const char *description)
{
    Listing *l = opaque;

    g_ptr_array_add(l->names, g_strdup(name));
    g_ptr_array_add(l->descriptions, g_strdup(description));
    return 0;
}

static int add_context(void *opaque, const char *name)
{
    Listing *l = opaque;

    g_ptr_array_add(l->contexts, g_strdup(name));
    return 0;
}

static void print_flags(struct nbd_handle *nbd)
{
    const struct {
        int value;
        unsigned bit;
        const char *name;
    } flags[] = {
        { nbd_is_read_only(nbd), NBD_FLAG_READ_ONLY, "readonly" },
        { nbd_can_flush(nbd), NBD_FLAG_SEND_FLUSH, "flush" },
        { nbd_can_fua(nbd), NBD_FLAG_SEND_FUA, "fua" },
        { nbd_is_rotational(nbd), NBD_FLAG_ROTATIONAL, "rotational" },
        { nbd_can_trim(nbd), NBD_FLAG_SEND_TRIM, "trim" },
        { nbd_can_zero(nbd), NBD_FLAG_SEND_WRITE_ZEROES, "zeroes" },
        { nbd_can_df(nbd), NBD_FLAG_SEND_DF, "df" },
        { nbd_can_multi_conn(nbd), NBD_FLAG_CAN_MULTI_CONN, "multi" },
        { nbd_can_cache(nbd), NBD_FLAG_SEND_CACHE, "cache" },
        { nbd_can_fast_zero(nbd), NBD_FLAG_SEND_FAST_ZERO, "fast-zero" },
    };
    unsigned bits = NBD_FLAG_HAS_FLAGS;

    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        bits |= flags[i].value > 0 ? flags[i].bit : 0;
    }
    printf("  flags: 0x%x (", bits);
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        if (flags[i].value > 0) {
            printf(" %s", flags[i].name);
        }
    }
    printf(" )\n");
}

static void print_block_sizes(struct nbd_handle *nbd)
{
    int64_t min = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);

    if (min > 0) {
        printf("  min block: %" PRIi64 "\n", min);
        printf("  opt block: %" PRIi64 "\n",
               nbd_get_block_size(nbd, LIBNBD_SIZE_PREFERRED));
        printf("  max block: %" PRIi64 "\n",
               nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM));
    }
}

static void print_contexts(struct nbd_handle *nbd, Listing *l)
{
    g_ptr_array_set_size(l->contexts, 0);
    if (nbd_opt_list_meta_context(nbd, (nbd_context_callback) {
            .callback = add_context, .user_data = l }) < 0 ||
        !l->contexts->len) {
        return;
    }
    printf("  available meta contexts: %u\n", l->contexts->len);
    for (guint i = 0; i < l->contexts->len; i++) {
        printf("   %s\n", (char *)g_ptr_array_index(l->contexts, i));
    }
}

static void print_export(struct nbd_handle *nbd, Listing *l, guint i)
{
    const char *description = g_ptr_array_index(l->descriptions, i);
    const char *name = g_ptr_array_index(l->names, i);

    printf(" export: '%s'\n", name);
    if (*description) {
        printf("  description: %s\n", description);
    }
    if (nbd_set_export_name(nbd, name) == 0 && nbd_opt_info(nbd) == 0) {
        printf("  size:  %" PRIi64 "\n", nbd_get_size(nbd));
        print_flags(nbd);
        print_block_sizes(nbd);
        print_contexts(nbd, l);
    }
}

/* In a worker: libnbd waits for its answers. */
static int64_t list_blocking(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    struct nbd_handle *nbd = nbd_create();
    Listing l = {
        .names = g_ptr_array_new_with_free_func(g_free),
        .descriptions = g_ptr_array_new_with_free_func(g_free),
        .contexts = g_ptr_array_new_with_free_func(g_free),
    };
    bool ok = nbd && nbd_set_opt_mode(nbd, true) == 0 &&
              nbd_set_full_info(nbd, true) == 0 &&
              nbd_add_meta_context(nbd, "base:") == 0 &&
              nbd_add_meta_context(nbd, "qemu:") == 0 &&
              nbd_connect_socket(nbd, fd) == 0 &&
              nbd_opt_list(nbd, (nbd_list_callback) {
                  .callback = add_export, .user_data = &l }) >= 0;

    if (ok) {
        printf("exports available: %u\n", l.names->len);
        for (guint i = 0; i < l.names->len; i++) {
            print_export(nbd, &l, i);
        }
        nbd_opt_abort(nbd);
    } else {
        error_report("%s", nbd_get_error());
    }
    nbd_close(nbd);
    g_ptr_array_free(l.names, true);
    g_ptr_array_free(l.descriptions, true);
    g_ptr_array_free(l.contexts, true);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* *@fd becomes the socket on which there is no TLS. */
static NbdTunnel *list_start_tls(Co *co, const NbdArgs *args, int *fd,
                                 Error **errp)
{
    ERRP_GUARD();
    g_autoptr(TlsCreds) tls = tls_creds_get(args->tls_creds, false, errp);
    const char *hostname = args->tls_hostname ? args->tls_hostname
                                              : args->bind;

    if (!tls) {
        error_prepend(errp, "Failed to get TLS creds: ");
        close(*fd);
        return NULL;
    }
    return nbd_tls_start(co, *fd, tls, hostname, fd, errp);
}

int nbd_list(Co *co, const NbdArgs *args)
{
    SockAddr addr = nbd_args_address(args);
    Error *err = NULL;
    NbdTunnel *tunnel = NULL;
    int fd = nbd_lib_load(&err) ? sock_connect(co, &addr, &err) : -1;
    int code;

    if (fd >= 0 && args->tls_creds) {
        tunnel = list_start_tls(co, args, &fd, &err);
    }
    if (err) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    code = worker_run(co, list_blocking, GINT_TO_POINTER(fd));
    nbd_tls_end(tunnel);
    return code;
}
