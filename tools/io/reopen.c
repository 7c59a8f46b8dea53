/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io reopen: other options for the file of the session. What is not named
 * stays as it is, so the options in force are written down in full and the new
 * ones put in their place.
 */
#include "util/osdep.h"

#include "block/reopen.h"
#include "tools/io/io.h"
#include "util/json.h"
#include "util/keyval.h"

typedef struct IoReopen {
    int read_only;              /* -1: as it is */
    bool has_cache;             /* -c */
    OpenFlags cache;            /* what it stands for, with: */
    bool write_through;
    char *optstr;               /* of all -o; or NULL */
    json_t *options;            /* the same, flat, and what -c stands for */
} IoReopen;

static int io_reopen_parse(IoReopen *r, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "c:o:rw")) != -1) {
        switch (c) {
        case 'c':
            r->has_cache = true;
            if (!tool_cache_mode(optarg, &r->cache, &r->write_through)) {
                error_report("Invalid cache option: %s", optarg);
                return -EINVAL;
            }
            break;
        case 'o':
            io_add_options(&r->optstr, optarg);
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
    return 0;
}

/* What is told twice. */
static bool io_reopen_check(const IoReopen *r)
{
    if (r->read_only >= 0 && json_object_get(r->options, "read-only")) {
        error_report("Cannot set both -r/-w and 'read-only'");
        return false;
    }
    if (r->has_cache && (json_object_get(r->options, "cache.direct") ||
                     json_object_get(r->options, "cache.no-flush") ||
                     json_object_get(r->options, "cache.writeback"))) {
        error_report("Cannot set both -c and the cache options");
        return false;
    }
    return true;
}

static bool io_reopen_allowed(const Node *node, const char *key)
{
    static const char *const common[] = {
        "read-only", "auto-read-only", "force-share", "discard",
        "detect-zeroes", "cache.direct", "cache.no-flush", NULL,
    };

    return g_strv_contains(common, key) || node_child(node, key) ||
           (node->drv->supports_backing && !strcmp(key, "backing")) ||
           (node->drv->reopen && node->drv->reopen->options &&
            g_strv_contains(node->drv->reopen->options, key));
}

/* What the node was opened with, flags of the open among it, and its children
 * by name. */
static json_t *io_reopen_tree(const Node *node)
{
    json_t *tree = BlockdevOptions_to_json(node->options);
    int direct = !!(node->flags & OPEN_NOCACHE);
    int no_flush = !!(node->flags & OPEN_NO_FLUSH);
    bool unmap = node->flags & OPEN_UNMAP;

    json_object_set_new(tree, "read-only", json_boolean(node->read_only));
    json_object_set_new(tree, "force-share",
                        json_boolean(node->flags & OPEN_FORCE_SHARE));
    json_object_set_new(tree, "discard",
                        json_string(unmap ? "unmap" : "ignore"));
    json_object_set_new(tree, "cache",
                        json_pack("{s:b, s:b}", "direct", direct, "no-flush",
                                  no_flush));

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
static void io_reopen_cache(IoReopen *r)
{
    if (r->has_cache) {
        json_object_set_new(r->options, "cache.direct", json_string(
            r->cache & OPEN_NOCACHE ? "on" : "off"));
        json_object_set_new(r->options, "cache.no-flush", json_string(
            r->cache & OPEN_NO_FLUSH ? "on" : "off"));
    }
}

static bool io_reopen_run(Co *co, Io *io, const IoReopen *r, Error **errp)
{
    const uint64_t write_perms = PERM_WRITE | PERM_RESIZE;
    Root *root = io->root;
    uint64_t need = root->need;
    bool ok = true;

    if (r->read_only == 1 && io->copy_on_read) {
        error_setg(errp, "Can't set node '%s' to r/o with copy-on-read "
                   "enabled", io->image->name);
        return false;
    }
    if (r->read_only == 1 && (need & write_perms) &&
        !root_set_perms(co, root, need & ~write_perms, root->share, errp)) {
        return false;
    }
    if (r->read_only >= 0) {
        ok = reopen_set_read_only(co, io->image, r->read_only, errp);
    }
    if (ok && json_object_size(r->options)) {
        ok = io_reopen_options(co, io->image, r->options, errp);
    }
    if (!ok && root->need != need) {
        root_set_perms(co, root, need, root->share, NULL);
    }
    return ok;
}

static int io_reopen_apply(Co *co, Io *io, IoReopen *r)
{
    Error *err = NULL;

    r->options = r->optstr ?
        keyval_parse_flat_warn(r->optstr, NULL, NULL, &err) : json_object();
    if (!err) {
        if (!io_reopen_check(r)) {
            return -EINVAL;
        }
        io_reopen_cache(r);
    }
    io_drain(co, io);
    if (err || !io_reopen_run(co, io, r, &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    if (r->has_cache) {
        io->root->write_through = r->write_through;
    }
    io->root->disable_flush = io->image->flags & OPEN_NO_FLUSH;
    return 0;
}

static int io_reopen_command(Co *co, Io *io, int argc, char **argv)
{
    IoReopen r = { .read_only = -1 };
    int ret = io_reopen_parse(&r, argc, argv);

    if (ret == 0) {
        ret = io_reopen_apply(co, io, &r);
    }
    g_free(r.optstr);
    json_decref(r.options);
    return ret;
}

const IoCommand io_reopen_commands[] = {
    {
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
