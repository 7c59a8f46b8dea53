/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Descriptions of images, as QEMU prints them.
 *
 * Scripts read these texts, so members come in QEMU's order, which follows
 * from no rule: one list of names holds it for all objects. For people,
 * objects and lists are indented by four spaces a level:
 *
 *     compat: 1.1
 *     bitmaps:
 *         [0]:
 *             flags:
 *                 [0]: auto
 *             name: b0
 */
#include "util/osdep.h"

#include "tools/tool.h"
#include "util/json.h"

static const char *const member_order[] = {
    /* images */
    "children", "backing-filename-format", "snapshots", "virtual-size",
    /* snapshots */
    "icount", "vm-clock-nsec", "name", "date-sec", "date-nsec",
    "vm-clock-sec", "id", "vm-state-size",
    /* images */
    "filename", "cluster-size", "format", "actual-size", "encrypted",
    "compressed", "format-specific", "full-backing-filename",
    "backing-filename", "dirty-flag",
    /* what a driver tells */
    "type", "data", "compat", "compression-type", "lazy-refcounts", "bitmaps",
    "refcount-bits", "data-file", "data-file-raw", "corrupt", "extended-l2",
};

/* Names that stand elsewhere in another kind of object. */
static const char *const bitmap_order[] = { "flags", "name", "granularity" };
static const char *const check_order[] = {
    "image-end-offset", "compressed-clusters", "total-clusters",
    "corruptions", "corruptions-fixed", "check-errors", "leaks",
    "leaks-fixed", "allocated-clusters", "filename", "format",
    "fragmented-clusters",
};

static void order_take(json_t *out, const json_t *in, const char *key)
{
    const json_t *value = json_object_get(in, key);

    if (value) {
        json_object_set_new(out, key, tool_order_members(value));
    }
}

static json_t *order_object(const json_t *in)
{
    const char *const *order = member_order;
    size_t n = ARRAY_SIZE(member_order);
    json_t *out = json_object();
    const char *key;
    json_t *value;

    if (json_object_get(in, "granularity")) {
        order = bitmap_order;
        n = ARRAY_SIZE(bitmap_order);
    } else if (json_object_get(in, "check-errors")) {
        order = check_order;
        n = ARRAY_SIZE(check_order);
    }
    for (size_t i = 0; i < n; i++) {
        order_take(out, in, order[i]);
    }
    json_object_foreach((json_t *)in, key, value) {
        if (!json_object_get(out, key)) {
            order_take(out, in, key);
        }
    }
    return out;
}

json_t *tool_order_members(const json_t *value)
{
    json_t *out;

    if (json_is_object(value)) {
        return order_object(value);
    }
    if (json_is_array(value)) {
        out = json_array();
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_array_append_new(
                out, tool_order_members(json_array_get(value, i)));
        }
        return out;
    }
    return json_incref((json_t *)value);
}

/* ---- for people ---- */

static void print_value(int depth, const json_t *value);

/* "KEY:" and the value, behind it or below it. */
static void print_entry(int depth, const char *key, const json_t *value)
{
    bool composite = json_is_object(value) || json_is_array(value);

    printf("%*s%s:%c", depth * 4, "", key, composite ? '\n' : ' ');
    print_value(depth + 1, value);
    if (!composite) {
        printf("\n");
    }
}

static void print_object(int depth, const json_t *value)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)value, key, v) {
        g_autofree char *name = g_strdelimit(g_strdup(key), "-", ' ');

        print_entry(depth, name, v);
    }
}

static void print_array(int depth, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        g_autofree char *name = g_strdup_printf("[%zu]", i);

        print_entry(depth, name, json_array_get(value, i));
    }
}

static void print_value(int depth, const json_t *value)
{
    g_autofree char *text = NULL;

    switch (json_qtype(value)) {
    case JSON_T_OBJECT:
        print_object(depth, value);
        break;
    case JSON_T_ARRAY:
        print_array(depth, value);
        break;
    case JSON_T_STRING:
        printf("%s", json_string_value(value));
        break;
    default:
        text = json_format(value);
        printf("%s", text);
    }
}

void tool_print_specific(const ImageInfoSpecific *info)
{
    g_autoptr(json_t) raw = ImageInfoSpecific_to_json(info);
    g_autoptr(json_t) value = tool_order_members(raw);

    print_value(1, json_object_get(value, "data"));
}
