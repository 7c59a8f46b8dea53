/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Typed options to a driver: the one road on which nodes come to life.
 *
 *     options + inherited flags -> flags -> node_new -> drv->open -> settle
 *                                                         |
 *                          open_child: the same for a child, then attach
 *
 * What the user leaves unsaid is inherited from the parent by role: a format's
 * file is opened as its parent is; a backing file is read-only. node->flags
 * keeps what was asked for, node->read_only what came of it.
 *
 * All begins on the main loop. If a child lives elsewhere already, the new
 * parent (nobody uses it yet) joins it there; from then on its driver's open runs
 * on that loop. A node that fails to open is taken apart by its last reference.
 *
 * Names of people's making are parsed in open-name.c and come here as options.
 */
#include "util/osdep.h"

#include <sys/stat.h>

#include "block/graph.h"
#include "block/limits.h"
#include "block/open-internal.h"

/* Each open image of a chain takes of the stack when it is read. */
#define MAX_BACKING_DEPTH 200
/* What goes wrong far below is not told once an image of the chain. */
#define MAX_PREFIXES 10

/* ---- flags ---- */

static void open_put_flag(OpenFlags *flags, OpenFlags flag, bool on)
{
    *flags = on ? *flags | flag : *flags & ~flag;
}

bool open_resolve_flags(const BlockdevOptions *opts, OpenFlags *flags,
                        Error **errp)
{
    if (opts->has_read_only) {
        open_put_flag(flags, OPEN_RDWR, !opts->read_only);
    }
    if (opts->has_auto_read_only) {
        open_put_flag(flags, OPEN_AUTO_RDONLY, opts->auto_read_only);
    }
    if (opts->has_force_share) {
        open_put_flag(flags, OPEN_FORCE_SHARE, opts->force_share);
    }
    if (opts->has_discard) {
        open_put_flag(flags, OPEN_UNMAP,
                      opts->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP);
    }
    if (opts->cache && opts->cache->has_direct) {
        open_put_flag(flags, OPEN_NOCACHE, opts->cache->direct);
    }
    if (opts->cache && opts->cache->has_no_flush) {
        open_put_flag(flags, OPEN_NO_FLUSH, opts->cache->no_flush);
    }
    if ((*flags & OPEN_FORCE_SHARE) && (*flags & OPEN_RDWR)) {
        error_setg(errp, "force-share=on can only be used with read-only "
                   "images");
        return false;
    }
    if (opts->has_detect_zeroes && !(*flags & OPEN_UNMAP) &&
        opts->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP) {
        error_setg(errp, "setting detect-zeroes to unmap is not allowed "
                   "without setting discard operation to unmap");
        return false;
    }
    return true;
}

OpenFlags open_inherited_flags(OpenFlags parent, EdgeRole role)
{
    OpenFlags flags = parent & ~(OPEN_NO_BACKING | OPEN_CHECK | OPEN_RESIZE);

    if (role == ROLE_COW) {
        return flags & ~(OPEN_RDWR | OPEN_AUTO_RDONLY);
    }
    /* The parent decides which discards it passes on. */
    return flags | OPEN_UNMAP;
}

bool open_apply_auto_read_only(Node *node, const char *message, Error **errp)
{
    if (node->read_only) {
        return true;
    }
    if (!(node->flags & OPEN_AUTO_RDONLY)) {
        error_setg(errp, "%s", message ? message : "Image is read-only");
        return false;
    }
    node->read_only = true;
    return true;
}

/* ---- one node ---- */

/* Consumes @opts. */
static bool open_set_up(Node *node, BlockdevOptions *opts, OpenFlags flags,
                        Error **errp)
{
    node->options = opts;
    if (!open_resolve_flags(opts, &flags, errp)) {
        return false;
    }
    node->flags = flags;
    node->read_only = !(flags & OPEN_RDWR);
    node->inactive = opts->has_active && !opts->active;
    if (opts->has_detect_zeroes) {
        node->detect_zeroes = opts->detect_zeroes;
    }
    return true;
}

/* The permissions that the node needs of its children now that its driver
 * knows what it is. */
static bool open_settle(Co *co, Node *node, Error **errp)
{
    Transaction *tran;

    limits_refresh(node);
    open_refresh_filename(node);
    if (node->length > BLOCK_MAX_LENGTH) {
        error_setg_errno(errp, EFBIG, "Could not refresh total sector count");
        return false;
    }
    tran = tran_new();
    return tran_finalize(co, tran, graph_check_one(tran, node, errp));
}

Node *open_with_flags(Co *co, BlockdevOptions *opts, OpenFlags flags,
                      Error **errp)
{
    g_autoptr(BlockdevOptions) own = opts;
    const BlockDriver *drv = driver_by_id(own->driver);
    Loop *home = co_loop(co);
    Node *node;
    bool ok;

    control_assert();
    if (!drv) {
        error_setg(errp, "Unknown driver '%s'",
                   BlockdevDriver_str(own->driver));
        return NULL;
    }
    co_move(co, loop_main());
    node = node_new(drv, own->node_name, errp);
    if (!node) {
        co_move(co, home);
        return NULL;
    }
    ok = open_set_up(node, g_steal_pointer(&own), flags, errp) &&
         drv->open(co, node, node->flags, errp);
    if (ok) {
        node->opened = true;
        ok = open_settle(co, node, errp);
    }
    co_move(co, home);
    if (!ok) {
        node_unref(co, node);
        return NULL;
    }
    return node;
}

Node *open_options(Co *co, BlockdevOptions *opts, Error **errp)
{
    return open_with_flags(co, opts, OPEN_RDWR, errp);
}

static Node *open_reference(const char *name, Error **errp)
{
    Node *node = node_lookup(name, errp);

    return node ? node_ref(node) : NULL;
}

static Node *open_ref_with_flags(Co *co, const BlockdevRef *ref,
                                 OpenFlags flags, Error **errp)
{
    if (ref->type == QTYPE_QSTRING) {
        return open_reference(ref->u.reference, errp);
    }
    return open_with_flags(co, BlockdevOptions_clone(&ref->u.definition),
                           flags, errp);
}

Node *open_ref(Co *co, const BlockdevRef *ref, Error **errp)
{
    return open_ref_with_flags(co, ref, OPEN_RDWR, errp);
}

/* ---- children ---- */

/* Consumes the reference @child. Comes out on the parent's loop. */
static Edge *open_attach(Co *co, Node *parent, const char *name,
                         EdgeRole role, Node *child, Error **errp)
{
    Transaction *tran = tran_new();
    Edge *edge = graph_attach(co, tran, parent, name, role, child, errp);
    Node *both[] = { parent, child };
    bool ok = edge && graph_check(tran, both, 2, errp);

    tran_finalize(co, tran, ok);
    node_unref(co, child);
    co_move(co, parent->loop);
    return ok ? edge : NULL;
}

Edge *open_child(Co *co, Node *parent, const char *name, EdgeRole role,
                 const BlockdevRef *ref, Error **errp)
{
    OpenFlags flags = open_inherited_flags(parent->flags, role);
    Node *child;

    if (!ref) {
        error_setg(errp, "A block device must be specified for \"%s\"", name);
        return NULL;
    }
    child = open_ref_with_flags(co, ref, flags, errp);
    if (!child) {
        return NULL;
    }
    if (ref->type != QTYPE_QSTRING) {
        child->inherits_from = parent;
    }
    return open_attach(co, parent, name, role, child, errp);
}

/* What the user said about the backing file: *@child stays NULL for none. */
static bool open_backing_option(Co *co, Node *node,
                                const BlockdevRefOrNull *ref, Node **child,
                                Error **errp)
{
    OpenFlags flags = open_inherited_flags(node->flags, ROLE_COW);

    switch (ref->type) {
    case QTYPE_QNULL:
        return true;
    case QTYPE_QSTRING:
        if (!*ref->u.reference) {
            warn_report("Use of \"backing\": \"\" is deprecated; use "
                        "\"backing\": null instead");
            return true;
        }
        *child = open_reference(ref->u.reference, errp);
        break;
    default:
        *child = open_with_flags(co,
                                 BlockdevOptions_clone(&ref->u.definition),
                                 flags, errp);
        break;
    }
    return *child;
}

/* The images whose backing files are being opened, each the next one's. Opening
 * is one coroutine's at a time: who holds the control lock. */
typedef struct OpenAbove {
    const Node *node;
    const struct OpenAbove *up;
} OpenAbove;

static const OpenAbove *open_above;

static int open_depth(void)
{
    int depth = 0;

    for (const OpenAbove *a = open_above; a; a = a->up) {
        depth++;
    }
    return depth;
}

/* Whether @name may be opened below all these: it is none of them, and a
 * request can go down to it on a coroutine's stack. */
static bool open_can_go_below(const char *name, Error **errp)
{
    struct stat st, other;
    bool real = stat(name, &st) == 0;

    if (open_depth() > MAX_BACKING_DEPTH) {
        error_setg(errp, "More than %d backing files on top of each other",
                   MAX_BACKING_DEPTH);
        return false;
    }
    for (const OpenAbove *a = open_above; a; a = a->up) {
        const char *file = a->node->file->child->filename;

        if (real ? stat(file, &other) == 0 && other.st_ino == st.st_ino &&
                   other.st_dev == st.st_dev : !strcmp(name, file)) {
            error_setg(errp, "Backing file '%s' creates an infinite loop.",
                       name);
            return false;
        }
    }
    return true;
}

/* What the image header says. */
static Node *open_backing_string(Co *co, Node *node, Error **errp)
{
    OpenFlags flags = open_inherited_flags(node->flags, ROLE_COW);
    g_autofree char *name = open_full_backing(node, node->backing_file, errp);
    OpenAbove above = { node, open_above };
    Node *child;

    if (!name) {
        return NULL;
    }
    open_above = &above;
    child = open_can_go_below(name, errp) ?
            open_filename(co, name, node->backing_format, NULL, flags, errp) :
            NULL;
    open_above = above.up;
    return child;
}

static bool open_backing_node(Co *co, Node *node,
                              const BlockdevRefOrNull *ref, Node **child,
                              Error **errp)
{
    if (ref) {
        return open_backing_option(co, node, ref, child, errp);
    }
    *child = open_backing_string(co, node, errp);
    return *child;
}

bool open_backing(Co *co, Node *node, const BlockdevRefOrNull *ref,
                  Error **errp)
{
    ERRP_GUARD();
    Loop *home = co_loop(co);
    Node *child = NULL;
    bool ok;

    open_refresh_filename(node);
    g_free(node->full_backing);
    node->full_backing = open_full_backing(node, node->backing_file, NULL);
    if ((node->flags & OPEN_NO_BACKING) || (!ref && !node->backing_file)) {
        return true;
    }
    co_move(co, loop_main());
    ok = open_backing_node(co, node, ref, &child, errp);
    co_move(co, home);
    if (ok && child) {
        if (!ref || ref->type != QTYPE_QSTRING) {
            child->inherits_from = node;
        }
        ok = open_attach(co, node, "backing", ROLE_COW, child, errp);
    } else if (!ok && open_depth() < MAX_PREFIXES) {
        error_prepend(errp, "Could not open backing file: ");
    }
    return ok;
}
