/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Names that people type and image headers hold, to trees of options.
 *
 *     /a/b.qcow2         {"file": {"driver": "file", "filename": "/a/b.qcow2"}}
 *     nbd://host/x        {"file": {"driver": "nbd", "server": ...}}
 *     json:{...}          the object itself, dotted keys nested
 *     driver=raw,file.k=v the tree that keyval_parse makes
 *
 * A name has a protocol if a colon stands before its first slash. What the tree
 * leaves out (the format, drivers below) is found in open-tree.c.
 *
 * Also here: which file a relative backing string means.
 */
#include "util/osdep.h"

#include "block/open-internal.h"
#include "util/json.h"
#include "util/keyval.h"

/* ---- parts of names ---- */

static bool name_has_protocol(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

char *open_protocol_prefix(const char *filename)
{
    if (!name_has_protocol(filename)) {
        return NULL;
    }
    return g_strndup(filename, strcspn(filename, ":"));
}

static bool name_is_json(const char *name)
{
    return g_str_has_prefix(name, "json:");
}

/* How many bytes of @base come before the last component. */
static size_t name_dir_len(const char *base)
{
    const char *start = base;
    const char *slash;

    if (name_has_protocol(base)) {
        start = strchr(base, ':') + 1;
    }
    slash = strrchr(start, '/');
    return slash ? slash + 1 - base : start - base;
}

char *open_combine_paths(const char *base, const char *filename, Error **errp)
{
    if (filename[0] == '/' || name_has_protocol(filename)) {
        return g_strdup(filename);
    }
    if (name_is_json(base)) {
        error_setg(errp, "Cannot use relative backing file names for '%s'",
                   base);
        return NULL;
    }
    return g_strdup_printf("%.*s%s", (int)name_dir_len(base), base, filename);
}

/* The plain name of @node or of the file that it is stored in. */
static const char *name_of_storage(const Node *node)
{
    while (node && !node->exact_filename) {
        node = node->file ? node->file->child : NULL;
    }
    return node ? node->exact_filename : NULL;
}

char *open_full_backing(Node *node, const char *backing_file, Error **errp)
{
    const char *base;

    if (!backing_file || !backing_file[0]) {
        return NULL;
    }
    base = name_of_storage(node);
    return open_combine_paths(base ? base : node->filename, backing_file,
                              errp);
}

/* ---- names to trees ---- */

void open_tree_join(json_t *dst, const json_t *src)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)src, key, value) {
        json_t *old = json_object_get(dst, key);

        if (!old) {
            json_object_set_new(dst, key, json_deep_copy(value));
        } else if (json_is_object(old) && json_is_object(value)) {
            open_tree_join(old, value);
        }
    }
}

/* What the protocol's driver makes of a name, or of a path (no prefix). */
static json_t *name_parse(const BlockDriver *drv, const char *filename,
                          const char *prefix, Error **errp)
{
    g_autoptr(BlockdevOptions) opts = NULL;

    if (!drv->parse_filename) {
        filename += prefix ? strlen(prefix) + 1 : 0;
        return json_pack("{s:s, s:s}", "driver", drv->name, "filename",
                         filename);
    }
    opts = drv->parse_filename(filename, errp);
    return opts ? BlockdevOptions_to_json(opts) : NULL;
}

const BlockDriver *open_protocol_driver(const char *filename, Error **errp)
{
    g_autofree char *prefix = open_protocol_prefix(filename);
    const BlockDriver *drv = driver_by_protocol(prefix ? prefix : "file");
    g_autoptr(json_t) tree = NULL;

    if (prefix || !drv) {
        if (!drv) {
            error_setg(errp, "Unknown protocol '%s'", prefix);
        }
        return drv;
    }
    tree = name_parse(drv, filename, NULL, errp);
    return tree ? driver_find(json_string_value(json_object_get(tree,
                                                                "driver")))
                : NULL;
}

json_t *open_name_to_protocol(const char *filename, Error **errp)
{
    g_autofree char *prefix = open_protocol_prefix(filename);
    const BlockDriver *drv = driver_by_protocol(prefix ? prefix : "file");

    if (!drv) {
        error_setg(errp, "Unknown protocol '%s'", prefix);
        return NULL;
    }
    return name_parse(drv, filename, prefix, errp);
}

/* "json:{...}"; dotted keys become nested objects. */
static json_t *name_parse_json(const char *filename, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(json_t) value = json_parse_str(filename + strlen("json:"),
                                              errp);
    g_autoptr(json_t) flat = NULL;

    if (!value) {
        error_prepend(errp, "Could not parse the JSON options: ");
        return NULL;
    }
    if (!json_is_object(value)) {
        error_setg(errp, "Invalid JSON object given");
        return NULL;
    }
    flat = keyval_flatten(value);
    return keyval_nest(flat, errp);
}

/* Adds what a file name says to @tree, which may name its driver already. */
static bool name_add(json_t *tree, const char *filename, Error **errp)
{
    const char *name = json_string_value(json_object_get(tree, "driver"));
    const BlockDriver *drv = name ? driver_find(name) : NULL;
    g_autoptr(json_t) add = NULL;

    if (name_is_json(filename)) {
        add = name_parse_json(filename, errp);
    } else {
        add = open_name_to_protocol(filename, errp);
        if (add && !(drv && drv->kind == DRIVER_PROTOCOL)) {
            add = json_pack("{s:o}", "file", g_steal_pointer(&add));
        }
    }
    if (!add) {
        return false;
    }
    open_tree_join(tree, add);
    return true;
}

Node *open_filename(Co *co, const char *filename, const char *format,
                    const json_t *extra, OpenFlags flags, Error **errp)
{
    g_autoptr(json_t) tree = extra ? json_deep_copy(extra) : json_object();

    if (format) {
        if (json_object_get(tree, "driver")) {
            error_setg(errp, "Driver specified twice");
            return NULL;
        }
        json_object_set_new(tree, "driver", json_string(format));
    }
    if (!name_add(tree, filename, errp)) {
        return NULL;
    }
    return open_tree(co, tree, flags, filename, errp);
}

Node *open_image_opts(Co *co, const char *optstr, OpenFlags flags,
                      Error **errp)
{
    g_autoptr(json_t) tree = keyval_parse(optstr, "file", NULL, errp);

    return tree ? open_tree(co, tree, flags, NULL, errp) : NULL;
}

Node *open_protocol(Co *co, const char *filename, OpenFlags flags,
                    Error **errp)
{
    g_autoptr(json_t) tree = NULL;

    if (name_is_json(filename)) {
        tree = name_parse_json(filename, errp);
    } else {
        tree = open_name_to_protocol(filename, errp);
    }
    return tree ? open_tree(co, tree, flags, NULL, errp) : NULL;
}
