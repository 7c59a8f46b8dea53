/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io open, close, reopen: which file the session has, and how.
 *
 * A session has one file at a time. Closing waits for asynchronous requests.
 */
#include "util/osdep.h"

#include "block/open.h"
#include "block/reopen.h"
#include "tools/io/io.h"
#include "util/json.h"
#include "util/keyval.h"

/* ---- open ---- */

static Node *io_open_node(Co *co, const IoOpen *what, Error **errp)
{
    g_autoptr(json_t) tree = NULL;

    if (what->image_opts) {
        return open_image_opts(co, what->name, what->flags, errp);
    }
    if (what->options) {
        tree = keyval_nest(what->options, errp);
        if (!tree) {
            return NULL;
        }
    }
    return open_filename(co, what->name, NULL, tree, what->flags, errp);
}

bool io_open(Co *co, Io *io, IoOpen *what)
{
    g_autoptr(json_t) options = what->options;
    Error *err = NULL;
    Node *node;

    if (io->root) {
        error_report("file open already, try 'help close'");
        return false;
    }
    node = io_open_node(co, what, &err);
    if (node) {
        io->root = tool_root_new(co, node, what->flags, what->write_through,
                                 &err);
    }
    if (!io->root) {
        error_reportf_err(err, "can't open%s%s: ",
                          what->name ? " device " : "",
                          what->name ? what->name : "");
        return false;
    }
    return true;
}

void io_close(Co *co, Io *io)
{
    io_drain(co, io);
    root_free(co, io->root);
    io->root = NULL;
}

static int io_open_option(IoOpen *what, const char **optstr, int c)
{
    switch (c) {
    case 'n':
        what->flags |= OPEN_NOCACHE;
        what->write_through = false;
        return 0;
    case 'r':
        what->flags &= ~OPEN_RDWR;
        return 0;
    case 't':
        if (!tool_cache_mode(optarg, &what->flags, &what->write_through)) {
            error_report("Invalid cache option: %s", optarg);
            return -EINVAL;
        }
        return 0;
    case 'd':
        if (!tool_discard_mode(optarg, &what->flags)) {
            error_report("Invalid discard option: %s", optarg);
            return -EINVAL;
        }
        return 0;
    case 'k':
        return 0;
    case 'i':
        if (!tool_aio_mode(optarg)) {
            error_report("Invalid aio option: %s", optarg);
            return -EINVAL;
        }
        return 0;
    case 'o':
        *optstr = optarg;
        return 0;
    case 'U':
        what->flags |= OPEN_FORCE_SHARE;
        return 0;
    default:
        return io_command_usage("open");
    }
}

static int io_open_command(Co *co, Io *io, int argc, char **argv)
{
    IoOpen what = { .flags = OPEN_RDWR | OPEN_UNMAP };
    const char *optstr = NULL;
    Error *err = NULL;
    int c;

    while ((c = getopt(argc, argv, "nro:ki:t:d:U")) != -1) {
        int ret = io_open_option(&what, &optstr, c);

        if (ret < 0) {
            return ret;
        }
    }
    if (optind < argc - 1 || (optind == argc && !optstr)) {
        return io_command_usage("open");
    }
    if (optind == argc) {
        what.name = optstr;
        what.image_opts = true;
    } else {
        what.name = argv[optind];
        what.options = optstr ? keyval_parse_flat(optstr, NULL, NULL, &err)
                              : NULL;
        if (err) {
            error_report_err(err);
            return -EINVAL;
        }
    }
    return io_open(co, io, &what) ? 0 : -EINVAL;
}

static int io_close_command(Co *co, Io *io, int argc, char **argv)
{
    io_close(co, io);
    return 0;
}

/* ---- reopen ---- */

typedef struct IoReopen {
    int read_only;              /* -1: as it is */
    const char *cache;
    json_t *options;            /* flat; or NULL */
} IoReopen;

static int io_reopen_parse(IoReopen *r, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "c:o:rw")) != -1) {
        switch (c) {
        case 'c':
            r->cache = optarg;
            break;
        case 'o':
            if (r->options) {
                return io_command_usage("reopen");
            }
            r->options = keyval_parse_flat(optarg, NULL, NULL, NULL);
            break;
        case 'r':
        case 'w':
            if (r->read_only >= 0) {
                error_report("Only one -r/-w option may be given");
                return -EINVAL;
            }
            r->read_only = c == 'r';
            break;
        default:
            return io_command_usage("reopen");
        }
    }
    if (optind != argc) {
        return io_command_usage("reopen");
    }
    if (r->read_only >= 0 && r->options &&
        json_object_get(r->options, "read-only")) {
        error_report("Cannot set both -r/-w and 'read-only'");
        return -EINVAL;
    }
    return 0;
}

static bool io_reopen_allowed(const Node *node, const char *key)
{
    static const char *const common[] = {
        "read-only", "auto-read-only", "force-share", "discard",
        "detect-zeroes", "cache.direct", "cache.no-flush", NULL,
    };

    return g_strv_contains(common, key) ||
           (node->drv->reopen && node->drv->reopen->options &&
            g_strv_contains(node->drv->reopen->options, key));
}

/* What the node was opened with, its children by name. */
static json_t *io_reopen_tree(const Node *node)
{
    json_t *tree = BlockdevOptions_to_json(node->options);

    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        json_object_set_new(tree, e->name, json_string(e->child->name));
    }
    json_object_set_new(tree, "node-name", json_string(node->name));
    return tree;
}

/* @tree with the keys of @flat, all made nested strings. */
static json_t *io_reopen_join(const Node *node, json_t *tree,
                              const json_t *flat, Error **errp)
{
    g_autoptr(json_t) all = keyval_flatten(tree);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)flat, key, value) {
        const char *dot = strrchr(key, '.');

        if (!io_reopen_allowed(node, key)) {
            error_setg(errp, "Cannot change the option '%s'",
                       dot ? dot + 1 : key);
            return NULL;
        }
        json_object_set(all, key, value);
    }
    return keyval_nest(all, errp);
}

static bool io_reopen_options(Co *co, Node *node, const json_t *flat,
                              Error **errp)
{
    g_autoptr(json_t) old = io_reopen_tree(node);
    g_autoptr(json_t) tree = io_reopen_join(node, old, flat, errp);
    g_autoptr(BlockdevOptions) opts = NULL;
    BlockdevOptionsList list = { 0 };

    if (!tree) {
        return false;
    }
    opts = BlockdevOptions_from_json(tree, QAPI_KEYVAL, errp);
    if (!opts) {
        return false;
    }
    list.value = opts;
    return reopen_nodes(co, &list, errp);
}

/* -c: of its parts, writing through is the root's, the rest are options. */
static bool io_reopen_cache(Io *io, IoReopen *r, bool *write_through)
{
    OpenFlags flags = 0;

    if (!r->cache) {
        return true;
    }
    if (!tool_cache_mode(r->cache, &flags, write_through)) {
        error_report("Invalid cache option: %s", r->cache);
        return false;
    }
    if (!r->options) {
        r->options = json_object();
    }
    json_object_set_new(r->options, "cache.direct",
                        json_string(flags & OPEN_NOCACHE ? "on" : "off"));
    json_object_set_new(r->options, "cache.no-flush",
                        json_string(flags & OPEN_NO_FLUSH ? "on" : "off"));
    return true;
}

static bool io_reopen_run(Co *co, Io *io, const IoReopen *r, Error **errp)
{
    const uint64_t write_perms = PERM_WRITE | PERM_RESIZE;
    Root *root = io->root;
    uint64_t need = root->need;
    bool ok = true;

    if (r->read_only == 1 && (need & write_perms) &&
        !root_set_perms(co, root, need & ~write_perms, root->share, errp)) {
        return false;
    }
    if (r->read_only >= 0) {
        ok = reopen_set_read_only(co, root_node(root), r->read_only, errp);
    }
    if (ok && r->options) {
        ok = io_reopen_options(co, root_node(root), r->options, errp);
    }
    if (!ok && root->need != need) {
        root_set_perms(co, root, need, root->share, NULL);
    }
    return ok;
}

static int io_reopen_command(Co *co, Io *io, int argc, char **argv)
{
    IoReopen r = { .read_only = -1 };
    bool write_through = io->root->write_through;
    int ret = io_reopen_parse(&r, argc, argv);
    Error *err = NULL;

    if (ret == 0 && !io_reopen_cache(io, &r, &write_through)) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        io_drain(co, io);
        if (io_reopen_run(co, io, &r, &err)) {
            io->root->write_through = write_through;
        } else {
            error_report_err(err);
            ret = -EINVAL;
        }
    }
    json_decref(r.options);
    return ret;
}

const IoCommand io_file_commands[] = {
    {
        .name = "open", .altname = "o", .fn = io_open_command,
        .min_args = 1, .max_args = -1, .no_file = true,
        .args = "[-rnkU] [-t cache] [-d discard] [-o options] [path]",
        .oneline = "open the file specified by path",
        .help =
"\n"
" 'open -n -o driver=raw /tmp/data' opens a raw image past the host's cache.\n"
"\n"
" -d  discards: ignore or unmap\n"
" -i  taken and not used: the engine is chosen by itself\n"
" -k  likewise\n"
" -n  the same as -t none\n"
" -o  options of the driver; without a path, all of them\n"
" -r  only for reading\n"
" -t  cache mode: none, writeback, writethrough, directsync, unsafe\n"
" -U  share the file with those who write it\n"
"\n",
    }, {
        .name = "close", .altname = "c", .fn = io_close_command,
        .oneline = "close the current open file",
    }, {
        .name = "reopen", .fn = io_reopen_command, .max_args = -1,
        .args = "[(-r|-w)] [-c cache] [-o options]",
        .oneline = "reopens an image with new options",
        .help =
"\n"
" 'reopen -o lazy-refcounts=on' changes an option of a qcow2 image.\n"
"\n"
" -c  another cache mode\n"
" -o  other options of the driver\n"
" -r  only for reading from now on\n"
" -w  for writing, too\n"
"\n",
    },
    { 0 }
};
