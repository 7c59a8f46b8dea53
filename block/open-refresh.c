/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What a node is called: a plain name if that name alone, opened again with the
 * node's format, would show the same content; else all that decides the
 * content, as json:{...}.
 *
 *     exact_filename   "/a/b.qcow2", "nbd://host/x", or NULL
 *     filename         exact_filename, or "json:" + open_content_json()
 *
 * A format takes the plain name of a protocol below it, unless one of its own
 * options changes what is seen (driver->content_options), a further child was
 * given, or its backing file is not the one that its header names. A filter that
 * a job put in bears its file's name. Others that do say so by exact_name: to
 * open that name would not bring back the filter.
 *
 * Names are made anew, bottom up, whenever somebody is going to look at them:
 * the graph may have changed since.
 */
#include "util/osdep.h"

#include "block/open-internal.h"
#include "util/json.h"

static bool refresh_backing_differs(const Node *node)
{
    if (!node->drv->supports_backing) {
        return false;
    }
    if (!node->backing) {
        return node->backing_file && !(node->flags & OPEN_NO_BACKING);
    }
    return !node->full_backing ||
           strcmp(node->backing->child->filename, node->full_backing) != 0;
}

/* Children beside file and backing that the options asked for. */
static bool refresh_child_is_given(const Node *node, const Edge *e,
                                   const json_t *options)
{
    return e != node->file && e != node->backing &&
           json_object_get(options, e->name);
}

static bool refresh_is_plain(const Node *node, const json_t *options)
{
    const char *const *name = node->drv->content_options;

    for (; name && *name; name++) {
        if (json_object_get(options, *name)) {
            return false;
        }
    }
    for (guint i = 0; i < node->children->len; i++) {
        if (refresh_child_is_given(node,
                                   g_ptr_array_index(node->children, i),
                                   options)) {
            return false;
        }
    }
    return !node->backing_overridden;
}

char *open_file_name(const Node *node)
{
    return g_strdup(node->file->child->exact_filename);
}

static char *refresh_exact_name(const Node *node, const json_t *options)
{
    if (node->drv->exact_name) {
        return node->drv->exact_name(node);
    }
    if ((node->implicit || node->drv->job_filter) && node->file) {
        return open_file_name(node);
    }
    if (node->drv->kind == DRIVER_FILTER || !node->file ||
        !node->file->child->drv->protocol ||
        !refresh_is_plain(node, options)) {
        return NULL;
    }
    return open_file_name(node);
}

/* The members of the driver's own options; NULL: it has none. */
static const QapiMember *refresh_members(const BlockDriver *drv)
{
    for (const QapiVariant *v = qapi_type_BlockdevOptions.variants; v->type;
         v++) {
        if (v->value == (int)drv->id) {
            return v->type->members;
        }
    }
    return NULL;
}

static void refresh_add(json_t *out, const json_t *options, const char *name)
{
    json_t *value = json_object_get(options, name);

    if (value) {
        json_object_set(out, name, value);
    }
}

static void refresh_add_options(const Node *node, const json_t *options,
                                json_t *out)
{
    const char *const *name = node->drv->content_options;
    const QapiMember *m;

    for (; name && *name; name++) {
        refresh_add(out, options, *name);
    }
    if (node->drv->kind != DRIVER_PROTOCOL || node->drv->content_options) {
        return;
    }
    for (m = refresh_members(node->drv); m && m->name; m++) {
        refresh_add(out, options, m->name);
    }
}

json_t *open_content_json(Node *node)
{
    g_autoptr(json_t) options = BlockdevOptions_to_json(node->options);
    json_t *out = json_object();

    json_object_set_new(out, "driver", json_string(node->drv->name));
    refresh_add_options(node, options, out);
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        if (e == node->file || refresh_child_is_given(node, e, options) ||
            (e == node->backing && node->backing_overridden)) {
            json_object_set_new(out, e->name, open_content_json(e->child));
        }
    }
    if (!node->backing && node->backing_overridden) {
        json_object_set_new(out, "backing", json_null());
    }
    return out;
}

static char *refresh_json_name(Node *node)
{
    g_autoptr(json_t) content = open_content_json(node);
    g_autofree char *text = json_format(content);

    return g_strconcat("json:", text, NULL);
}

void open_refresh_filename(Node *node)
{
    g_autoptr(json_t) options = BlockdevOptions_to_json(node->options);

    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        open_refresh_filename(e->child);
    }
    node->backing_overridden = refresh_backing_differs(node);
    g_free(node->exact_filename);
    node->exact_filename = refresh_exact_name(node, options);
    g_free(node->filename);
    if (node->exact_filename) {
        node->filename = g_strdup(node->exact_filename);
    } else if (node->drv->job_filter) {
        node->filename = g_strdup(node->file->child->filename);
    } else {
        node->filename = refresh_json_name(node);
    }
}
