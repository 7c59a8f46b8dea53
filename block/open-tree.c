/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * From a tree of options that leaves things out to typed options.
 *
 *     {"file": {"filename": "a.img"}}                     what people give
 *     {"file": "#block012", "driver": "qcow2"}            completed
 *
 * At two kinds of place a driver may be missing. At a protocol's place (below a
 * format) the file name tells it. At a format's place the image is probed: its
 * file is opened first and goes into the tree as the name of a node, held until
 * its parent has taken it over. Whatever has a driver is checked against the
 * type tables of the schema, for QEMU's own words about unknown options.
 *
 * In a completed tree all scalars are strings, as keyval_parse makes them.
 */
#include "util/osdep.h"

#include "block/open-internal.h"
#include "util/bytes.h"
#include "util/json.h"

typedef enum TreePlace {
    TREE_FORMAT,
    TREE_PROTOCOL,
} TreePlace;

/* One open_tree(): what it holds and found out. */
typedef struct TreeRun {
    Co *co;
    GPtrArray *held;        /* Node: opened for probing */
    bool top_probed;        /* the outermost image was */
} TreeRun;

static bool tree_complete(TreeRun *run, json_t *tree, TreePlace place,
                          OpenFlags flags, bool top, Error **errp);

/* ---- scalars ---- */

static bool tree_bool(const json_t *value, bool *on)
{
    const char *s = json_string_value(value);

    if (json_is_boolean(value)) {
        *on = json_is_true(value);
        return true;
    }
    *on = s && (!strcmp(s, "on") || !strcmp(s, "yes") || !strcmp(s, "true"));
    return s;
}

static void tree_flag(const json_t *tree, const char *key, OpenFlags flag,
                      bool inverted, OpenFlags *flags)
{
    bool on;

    if (tree_bool(json_object_get(tree, key), &on)) {
        *flags = on != inverted ? *flags | flag : *flags & ~flag;
    }
}

/* As open_resolve_flags() will see it: for what is opened before. */
static OpenFlags tree_flags(const json_t *tree, OpenFlags flags)
{
    const json_t *cache = json_object_get(tree, "cache");

    tree_flag(tree, "read-only", OPEN_RDWR, true, &flags);
    tree_flag(tree, "auto-read-only", OPEN_AUTO_RDONLY, false, &flags);
    tree_flag(tree, "force-share", OPEN_FORCE_SHARE, false, &flags);
    tree_flag(cache, "direct", OPEN_NOCACHE, false, &flags);
    tree_flag(cache, "no-flush", OPEN_NO_FLUSH, false, &flags);
    return flags;
}

static json_t *tree_stringify(const json_t *value);

static json_t *tree_stringify_object(const json_t *value)
{
    json_t *out = json_object();
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)value, key, v) {
        json_object_set_new(out, key, tree_stringify(v));
    }
    return out;
}

/* Numbers and booleans become strings; a new reference. */
static json_t *tree_stringify(const json_t *value)
{
    g_autofree char *text = NULL;
    json_t *out;

    switch (json_qtype(value)) {
    case JSON_T_OBJECT:
        return tree_stringify_object(value);
    case JSON_T_ARRAY:
        out = json_array();
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_array_append_new(out,
                                  tree_stringify(json_array_get(value, i)));
        }
        return out;
    case JSON_T_NUMBER:
        text = json_format(value);
        return json_string(text);
    case JSON_T_BOOL:
        return json_string(json_is_true(value) ? "on" : "off");
    default:
        return json_incref((json_t *)value);
    }
}

/* ---- what a driver takes ---- */

static const QapiMember *tree_find_member(const QapiMember *m,
                                          const char *key)
{
    for (; m->name; m++) {
        if (!strcmp(m->name, key)) {
            return m;
        }
    }
    return NULL;
}

static const QapiMember *tree_members_of(const BlockDriver *drv)
{
    static const QapiMember none;

    for (const QapiVariant *v = qapi_type_BlockdevOptions.variants; v->type;
         v++) {
        if (v->value == (int)drv->id) {
            return v->type->members;
        }
    }
    return &none;
}

static const QapiMember *tree_member(const BlockDriver *drv, const char *key)
{
    const QapiMember *m = tree_find_member(qapi_type_BlockdevOptions.members,
                                           key);

    return m ? m : tree_find_member(tree_members_of(drv), key);
}

static bool tree_is_child(const QapiMember *m)
{
    return m->type == &qapi_type_BlockdevRef ||
           m->type == &qapi_type_BlockdevRefOrNull;
}

static void tree_report_unknown(const BlockDriver *drv, const char *key,
                                json_t *value, Error **errp)
{
    void *iter = json_object_iter(value);
    g_autofree char *full = iter ?
        g_strdup_printf("%s.%s", key, json_object_iter_key(iter)) :
        g_strdup(key);

    if (drv->kind == DRIVER_PROTOCOL) {
        error_setg(errp, "Block protocol '%s' doesn't support the option "
                   "'%s'", drv->name, full);
    } else {
        error_setg(errp, "Block format '%s' does not support the option "
                   "'%s'", drv->name, full);
    }
}

static bool tree_check_required(const BlockDriver *drv, const json_t *tree,
                                Error **errp)
{
    for (const QapiMember *m = tree_members_of(drv); m->name; m++) {
        if (m->optional || json_object_get(tree, m->name)) {
            continue;
        }
        if (tree_is_child(m)) {
            error_setg(errp, "A block device must be specified for \"%s\"",
                       m->name);
            return false;
        }
        if (!strcmp(m->name, "filename")) {
            error_setg(errp, "The '%s' block driver requires a file name",
                       drv->name);
            return false;
        }
    }
    return true;
}

/* ---- drivers that were left out ---- */

static Node *tree_open_file(TreeRun *run, json_t *file, OpenFlags flags,
                            Error **errp)
{
    g_autoptr(BlockdevOptions) opts = NULL;
    g_autoptr(json_t) strings = NULL;
    Node *node;

    if (json_is_string(file)) {
        node = node_lookup(json_string_value(file), errp);
        return node ? node_ref(node) : NULL;
    }
    flags = open_inherited_flags(flags, ROLE_STORAGE);
    if (!tree_complete(run, file, TREE_PROTOCOL, flags, false, errp)) {
        return NULL;
    }
    strings = tree_stringify(file);
    opts = BlockdevOptions_from_json(strings, QAPI_KEYVAL, errp);
    if (!opts) {
        return NULL;
    }
    return open_with_flags(run->co, g_steal_pointer(&opts), flags, errp);
}

/* Opens "file" and sets "driver" by its content. */
static bool tree_probe(TreeRun *run, json_t *tree, OpenFlags flags, bool top,
                       Error **errp)
{
    json_t *file = json_object_get(tree, "file");
    const BlockDriver *drv;
    Node *node;

    if (!file) {
        error_setg(errp, "Must specify either driver or file");
        return false;
    }
    node = tree_open_file(run, file, flags, errp);
    if (!node) {
        return false;
    }
    g_ptr_array_add(run->held, node);
    drv = open_probe(run->co, node, errp);
    if (!drv) {
        return false;
    }
    run->top_probed |= top;
    json_object_set_new(tree, "driver", json_string(drv->name));
    json_object_set_new(tree, "file", json_string(node->name));
    return true;
}

static bool tree_name_protocol(json_t *tree, Error **errp)
{
    const char *name = json_string_value(json_object_get(tree, "filename"));
    g_autofree char *prefix = name ? open_protocol_prefix(name) : NULL;
    g_autoptr(json_t) add = NULL;

    if (!name) {
        error_setg(errp, "Must specify either driver or file");
        return false;
    }
    /* A member of a tree is a path, whatever it looks like. */
    add = prefix ? json_pack("{s:s}", "driver", "file")
                 : open_name_to_protocol(name, errp);
    if (!add) {
        return false;
    }
    open_tree_join(tree, add);
    return true;
}

/* ---- completion ---- */

static bool tree_complete_child(TreeRun *run, const BlockDriver *drv,
                                const QapiMember *m, json_t *value,
                                OpenFlags flags, Error **errp)
{
    bool cow = m->type == &qapi_type_BlockdevRefOrNull;
    TreePlace place = !cow && drv->kind == DRIVER_FORMAT ? TREE_PROTOCOL
                                                         : TREE_FORMAT;

    flags = open_inherited_flags(flags, cow ? ROLE_COW : ROLE_STORAGE);
    return tree_complete(run, value, place, flags, false, errp);
}

/* "64k" where the schema has a plain number: these options take suffixes when
 * they are written in a name. */
static bool tree_read_size(json_t *tree, const QapiMember *m, json_t *value,
                           Error **errp)
{
    const char *text = json_string_value(value);
    g_autofree char *number = NULL;
    uint64_t bytes;

    if (!text ||
        (m->type->kind != QAPI_KIND_INT && m->type->kind != QAPI_KIND_SIZE)) {
        return true;
    }
    if (size_parse(text, 'B', NULL, &bytes) < 0) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", m->name);
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means "
                          "kilo-, mega-, giga-, tera-, peta-\n"
                          "and exabytes, respectively.\n");
        return false;
    }
    number = g_strdup_printf("%" PRIu64, bytes);
    json_object_set_new(tree, m->name, json_string(number));
    return true;
}

static bool tree_complete_member(TreeRun *run, const BlockDriver *drv,
                                 json_t *tree, const char *key, json_t *value,
                                 OpenFlags flags, Error **errp)
{
    ERRP_GUARD();
    const QapiMember *m = tree_member(drv, key);

    if (!m) {
        tree_report_unknown(drv, key, value, errp);
        return false;
    }
    if (!tree_is_child(m) || !json_is_object(value)) {
        return tree_read_size(tree, m, value, errp);
    }
    if (!tree_complete_child(run, drv, m, value, flags, errp)) {
        if (!strcmp(key, "backing")) {
            error_prepend(errp, "Could not open backing file: ");
        }
        return false;
    }
    return true;
}

static bool tree_complete_members(TreeRun *run, const BlockDriver *drv,
                                  json_t *tree, OpenFlags flags,
                                  Error **errp)
{
    const char *key;
    json_t *value;

    if ((drv->old_options && !drv->old_options(tree, errp)) ||
        !tree_check_required(drv, tree, errp)) {
        return false;
    }
    json_object_foreach(tree, key, value) {
        if (!tree_complete_member(run, drv, tree, key, value, flags, errp)) {
            return false;
        }
    }
    return true;
}

static bool tree_complete(TreeRun *run, json_t *tree, TreePlace place,
                          OpenFlags flags, bool top, Error **errp)
{
    const BlockDriver *drv;
    const char *name;

    flags = tree_flags(tree, flags);
    if (!json_object_get(tree, "driver")) {
        bool ok = place == TREE_PROTOCOL ?
            tree_name_protocol(tree, errp) :
            tree_probe(run, tree, flags, top, errp);

        if (!ok) {
            return false;
        }
    }
    name = json_string_value(json_object_get(tree, "driver"));
    drv = name ? driver_find(name) : NULL;
    if (!drv) {
        error_setg(errp, "Unknown driver '%s'", name ? name : "");
        return false;
    }
    return tree_complete_members(run, drv, tree, flags, errp);
}

static void tree_warn_raw(const char *name, const BlockDriver *drv)
{
    fprintf(stderr,
            "WARNING: Image format was not specified for '%s' and probing "
            "guessed %s.\n"
            "         Automatically detecting the format is dangerous for "
            "raw images, write operations on block 0 will be restricted.\n"
            "         Specify the '%s' format explicitly to remove the "
            "restrictions.\n", name, drv->name, drv->name);
}

static Node *tree_open(TreeRun *run, json_t *tree, OpenFlags flags,
                       Error **errp)
{
    g_autoptr(BlockdevOptions) opts = NULL;
    g_autoptr(json_t) strings = NULL;

    if (!tree_complete(run, tree, TREE_FORMAT, flags, true, errp)) {
        return NULL;
    }
    strings = tree_stringify(tree);
    opts = BlockdevOptions_from_json(strings, QAPI_KEYVAL, errp);
    if (!opts) {
        return NULL;
    }
    return open_with_flags(run->co, g_steal_pointer(&opts), flags, errp);
}

/* @file was opened for probing; its parent (if it came to be) holds it now, as
 * if it had been defined there. */
static void tree_let_go(Co *co, Node *file)
{
    if (file->parents->len == 1 && !file->named_by_user) {
        file->inherits_from =
            ((Edge *)g_ptr_array_index(file->parents, 0))->parent;
    }
    node_unref(co, file);
}

Node *open_tree(Co *co, json_t *tree, OpenFlags flags, const char *name,
                Error **errp)
{
    g_autoptr(GPtrArray) held = g_ptr_array_new();
    TreeRun run = { .co = co, .held = held };
    Node *node = tree_open(&run, tree, flags, errp);

    for (guint i = held->len; i-- > 0;) {
        tree_let_go(co, g_ptr_array_index(held, i));
    }
    if (node && run.top_probed && !strcmp(node->drv->name, "raw")) {
        node->probed = true;
        if (name && !node->read_only) {
            tree_warn_raw(name, node->drv);
        }
    }
    return node;
}
