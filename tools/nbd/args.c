/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-nbd's command line. Each option has one handler line in a table; what
 * excludes each other is checked when all are known.
 */

#include "tools/nbd/nbd.h"

#include <getopt.h>

#include "nbd/server.h"
#include "util/bytes.h"
#include "util/trace-option.h"

enum {
    OPT_CACHE = 256, OPT_AIO, OPT_DISCARD, OPT_DETECT_ZEROES, OPT_OBJECT,
    OPT_TLS_CREDS, OPT_TLS_AUTHZ, OPT_TLS_HOSTNAME, OPT_IMAGE_OPTS, OPT_FORK, OPT_PID_FILE,
    OPT_SELINUX, OPT_MAX_REQUESTS,
};

static const char short_options[] = "hVb:o:p:k:e:f:tl:x:D:snrvLAB:c:dT:";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "port", required_argument, NULL, 'p' },
    { "bind", required_argument, NULL, 'b' },
    { "socket", required_argument, NULL, 'k' },
    { "shared", required_argument, NULL, 'e' },
    { "max-requests", required_argument, NULL, OPT_MAX_REQUESTS },
    { "persistent", no_argument, NULL, 't' },
    { "verbose", no_argument, NULL, 'v' },
    { "export-name", required_argument, NULL, 'x' },
    { "description", required_argument, NULL, 'D' },
    { "offset", required_argument, NULL, 'o' },
    { "allocation-depth", no_argument, NULL, 'A' },
    { "bitmap", required_argument, NULL, 'B' },
    { "list", no_argument, NULL, 'L' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "tls-creds", required_argument, NULL, OPT_TLS_CREDS },
    { "tls-authz", required_argument, NULL, OPT_TLS_AUTHZ },
    { "tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME },
    { "trace", required_argument, NULL, 'T' },
    { "fork", no_argument, NULL, OPT_FORK },
    { "pid-file", required_argument, NULL, OPT_PID_FILE },
    { "selinux-label", required_argument, NULL, OPT_SELINUX },
    { "connect", required_argument, NULL, 'c' },
    { "disconnect", no_argument, NULL, 'd' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "load-snapshot", required_argument, NULL, 'l' },
    { "nocache", no_argument, NULL, 'n' },
    { "cache", required_argument, NULL, OPT_CACHE },
    { "aio", required_argument, NULL, OPT_AIO },
    { "discard", required_argument, NULL, OPT_DISCARD },
    { "detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { NULL, 0, NULL, 0 }
};

static const char help_text[] =
"Usage: qemu-nbd [OPTIONS] FILE\n"
"  or:  qemu-nbd -L [OPTIONS]\n"
"Serve a disk image to NBD clients\n"
"\n"
"  -h, --help                this text\n"
"  -V, --version             the version\n"
"\n"
"Where clients connect:\n"
"  -p, --port=PORT           the port to listen on (10809)\n"
"  -b, --bind=IFACE          the address to bind to (0.0.0.0)\n"
"  -k, --socket=PATH         a Unix socket instead\n"
"  -e, --shared=NUM          clients at a time (1); 0 for any number\n"
"  --max-requests=NUM        requests of each at a time (16); up to 1024\n"
"  -t, --persistent          go on when the last client has left\n"
"  -v, --verbose             say more\n"
"  -x, --export-name=NAME    the name of the export (empty)\n"
"  -D, --description=TEXT    its description, for people\n"
"\n"
"What is served:\n"
"  -o, --offset=OFFSET       the image from this byte on\n"
"  -A, --allocation-depth    with the context qemu:allocation-depth\n"
"  -B, --bitmap=NAME         with the dirty bitmap NAME; may be repeated\n"
"\n"
"In general:\n"
"  -L, --list                list the exports of another server\n"
"  -T, --trace OPTIONS       accepted for compatibility\n"
"  --object TYPE,id=ID,...   make credentials, rules or secrets for the following\n"
"  --tls-creds=ID            TLS with these credentials\n"
"  --tls-authz=ID            which clients may come in, by their certificates\n"
"  --tls-hostname=NAME       the name in the certificate of a listed server\n"
"  -c, --connect=DEV         connect FILE to a device of the kernel (/dev/nbd0);\n"
"                            ends when that is disconnected\n"
"  -d, --disconnect          disconnect the device FILE\n"
"  --fork                    go into the background once the server listens\n"
"  --pid-file=PATH           write the process id there\n"
"  --selinux-label=LABEL     refused: not built with SELinux\n"
"\n"
"How the image is opened:\n"
"  -f, --format=FORMAT       its format (raw, qcow2, ...)\n"
"  -r, --read-only           nobody may write\n"
"  -s, --snapshot            writes go to a temporary overlay\n"
"  -l, --load-snapshot=NAME  serve an internal snapshot, read-only:\n"
"                            snapshot.id=ID,snapshot.name=NAME or ID_OR_NAME\n"
"  -n, --nocache             bypass the host's page cache\n"
"      --cache=MODE          none, writeback (default), writethrough,\n"
"                            directsync or unsafe\n"
"      --aio=MODE            native, io_uring or threads\n"
"      --discard=MODE        ignore or unmap\n"
"      --detect-zeroes=MODE  off, on or unmap\n"
"      --image-opts          FILE is a list of options\n";

static void G_GNUC_NORETURN G_GNUC_PRINTF(1, 2) die(const char *fmt, ...)
{
    char *msg;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("%s", msg);
    g_free(msg);
    exit(EXIT_FAILURE);
}

static void set_cache(NbdArgs *a, const char *mode, bool *seen)
{
    if (*seen) {
        die("-n and --cache can only be specified once");
    }
    *seen = true;
    if (strcmp(mode, "none") == 0 || strcmp(mode, "off") == 0) {
        a->flags |= OPEN_NOCACHE;
    } else if (strcmp(mode, "directsync") == 0) {
        a->flags |= OPEN_NOCACHE;
        a->writethrough = true;
    } else if (strcmp(mode, "writethrough") == 0) {
        a->writethrough = true;
    } else if (strcmp(mode, "unsafe") == 0) {
        a->flags |= OPEN_NO_FLUSH;
    } else if (strcmp(mode, "writeback") != 0) {
        die("Invalid cache mode `%s'", mode);
    }
}

static void set_discard(NbdArgs *a, const char *mode)
{
    if (strcmp(mode, "unmap") == 0 || strcmp(mode, "on") == 0) {
        a->flags |= OPEN_UNMAP;
    } else if (strcmp(mode, "ignore") != 0 && strcmp(mode, "off") != 0) {
        die("Invalid discard mode `%s'", mode);
    }
}

static void set_shared(NbdArgs *a, const char *text)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 0);
    if (errno || end == text || *end || n < 0 || n > INT_MAX) {
        die("Invalid shared device number '%s'", text);
    }
    a->shared = n;
}

static void set_max_requests(NbdArgs *a, const char *text)
{
    char *end;
    long n = strtol(text, &end, 0);

    if (end == text || *end || n < 1 || n > NBD_MOST_REQUESTS) {
        die("Invalid number of requests '%s'", text);
    }
    a->max_requests = n;
}

static void set_offset(NbdArgs *a, const char *text)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(text, &end, 0);
    if (errno || end == text || *end || n < 0) {
        die("Invalid offset '%s'", text);
    }
    a->offset = n;
}

static void set_image_option(NbdArgs *a, int opt, const char *value,
                             bool *cache_seen)
{
    switch (opt) {
    case 'n':
        set_cache(a, "none", cache_seen);
        break;
    case OPT_CACHE:
        set_cache(a, value, cache_seen);
        break;
    case OPT_AIO:
        if (strcmp(value, "native") != 0 && strcmp(value, "threads") != 0 &&
            strcmp(value, "io_uring") != 0) {
            die("Invalid aio mode '%s'", value);
        }
        a->aio = value;
        break;
    case OPT_DISCARD:
        set_discard(a, value);
        break;
    case OPT_DETECT_ZEROES:
        if (strcmp(value, "off") != 0 && strcmp(value, "on") != 0 &&
            strcmp(value, "unmap") != 0) {
            die("Failed to parse detect_zeroes mode: invalid parameter "
                "value: %s", value);
        }
        a->detect_zeroes = value;
        break;
    case OPT_IMAGE_OPTS:
        a->image_opts = true;
        break;
    case 'l':
        a->load_snapshot = value;
        a->read_only = true;
        break;
    }
}

/* What is set to an option's value as it is; NULL for other options. */
static const char **word_of(NbdArgs *a, int opt)
{
    switch (opt) {
    case 'p':
        return &a->port;
    case 'b':
        return &a->bind;
    case 'x':
        return &a->export_name;
    case 'D':
        return &a->description;
    case 'f':
        return &a->format;
    case 'c':
        return &a->connect;
    case OPT_PID_FILE:
        return &a->pid_file;
    case OPT_TLS_CREDS:
        return &a->tls_creds;
    case OPT_TLS_AUTHZ:
        return &a->tls_authz;
    case OPT_TLS_HOSTNAME:
        return &a->tls_hostname;
    default:
        return NULL;
    }
}

static void set_option(NbdArgs *a, int opt, char *value, bool *cache_seen)
{
    const char **word = word_of(a, opt);

    if (word) {
        *word = value;
        return;
    }
    switch (opt) {
    case 'h':
        fputs(help_text, stdout);
        exit(EXIT_SUCCESS);
    case 'V':
        printf("qemu-nbd %s\n", QEMU_VERSION);
        exit(EXIT_SUCCESS);
    case 'k':
        if (value[0] != '/') {
            die("socket path must be absolute");
        }
        a->socket = value;
        break;
    case 'e':
        set_shared(a, value);
        break;
    case OPT_MAX_REQUESTS:
        set_max_requests(a, value);
        break;
    case 'o':
        set_offset(a, value);
        break;
    case 'B':
        g_ptr_array_add(a->bitmaps, value);
        break;
    case OPT_OBJECT:
        g_ptr_array_add(a->objects, value);
        break;
    case OPT_SELINUX:
        die("SELinux support was not compiled in");
    default:
        set_image_option(a, opt, value, cache_seen);
        break;
    }
}

/* Options without a value; false if @opt is none of them. */
static bool set_flag(NbdArgs *a, int opt)
{
    bool *flag = opt == 't' ? &a->persistent : opt == 'v' ? &a->verbose :
                 opt == 'A' ? &a->allocation_depth : opt == 'L' ? &a->list :
                 opt == 'r' ? &a->read_only : opt == 's' ? &a->snapshot :
                 opt == OPT_FORK ? &a->fork : NULL;

    if (flag) {
        *flag = true;
    }
    return flag != NULL;
}

/* @image: the image's cache mode or a device has been spoken of. */
static void check_list_mode(const NbdArgs *a, int files, bool image)
{
    if (files) {
        die("List mode is incompatible with a file name");
    }
    if (a->export_name || a->description || a->offset ||
        a->allocation_depth || a->bitmaps->len || a->format || image ||
        a->load_snapshot || a->flags & OPEN_UNMAP || a->detect_zeroes) {
        die("List mode is incompatible with per-device settings");
    }
    if (a->fork) {
        die("List mode is incompatible with forking");
    }
    if (a->activated) {
        die("List mode is incompatible with socket activation");
    }
}

/* As sd_listen_fds() counts them. */
static int activated_sockets(void)
{
    const char *pid = g_getenv("LISTEN_PID");
    const char *fds = g_getenv("LISTEN_FDS");

    return pid && fds && strtol(pid, NULL, 10) == getpid()
           ? strtol(fds, NULL, 10) : 0;
}

/* Who is given a socket has no say in where it listens. */
static void check_activation(const NbdArgs *a)
{
    const char *wrong = a->connect ? "NBD device" : a->socket ? "Unix socket" :
                        a->bind ? "The interface" :
                        a->port ? "TCP port number" : NULL;

    if (a->activated && wrong) {
        die("%s can't be set when using socket activation", wrong);
    }
}

static void take_trace(const char *arg)
{
    int code = trace_option(arg);

    if (code >= 0) {
        exit(code);
    }
}

void nbd_args_parse(NbdArgs *a, int argc, char **argv)
{
    bool cache_seen = false;
    bool disconnect = false;
    int opt;

    *a = (NbdArgs) { .shared = 1, .bitmaps = g_ptr_array_new(),
                     .objects = g_ptr_array_new() };
    error_init(argv[0]);
    while ((opt = getopt_long(argc, argv, short_options, long_options,
                              NULL)) >= 0) {
        if (opt == '?') {
            die("Try `%s --help' for more information.", argv[0]);
        }
        if (opt == 'd') {
            disconnect = true;
        } else if (opt == 'T') {
            take_trace(optarg);
        } else if (!set_flag(a, opt)) {
            set_option(a, opt, optarg, &cache_seen);
        }
    }
    a->activated = activated_sockets();
    check_activation(a);
    if (!a->tls_creds && (a->tls_authz || a->tls_hostname)) {
        die("--tls-%s is not permitted without --tls-creds",
            a->tls_authz ? "authz" : "hostname");
    }
    if (a->list) {
        check_list_mode(a, argc - optind,
                        cache_seen || disconnect || a->connect);
        return;
    }
    if (argc - optind != 1) {
        error_report("Invalid number of arguments");
        fprintf(stderr, "Try `%s --help' for more information.\n", argv[0]);
        exit(EXIT_FAILURE);
    }
    if (a->activated > 1) {
        die("qemu-nbd does not support socket activation with LISTEN_FDS > 1");
    }
    a->file = argv[optind];
    if (disconnect) {
        exit(nbd_device_disconnect(a->file));
    }
    if (a->connect && a->tls_creds) {
        die("TLS is not supported with a host device");
    }
    if (a->connect && !a->socket) {
        g_autofree char *name = g_path_get_basename(a->connect);
        a->device_socket = g_strdup_printf(NBD_DEVICE_SOCKET, name);
        a->socket = a->device_socket;
    }
    if (a->image_opts && a->format) {
        die("--image-opts and -f are mutually exclusive");
    }
}

SockAddr nbd_args_address(const NbdArgs *a)
{
    if (a->socket) {
        return (SockAddr) { .kind = SOCK_UNIX, .path = a->socket };
    }
    return (SockAddr) {
        .kind = SOCK_INET,
        .host = a->bind ? a->bind : "0.0.0.0",
        .port = a->port ? a->port : "10809",
        .ipv4 = -1,
        .ipv6 = -1,
    };
}
