/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What query-qmp-schema returns, made from the tables that the program itself
 * goes by, so that it cannot lie.
 *
 * First come the commands and the events, then the types that they reach, as
 * they are met. Types of the schema get numbers for names, since their names
 * are no part of the interface; "[3]" is the array of type 3. All integers are
 * one type, int. An object without members stands for no arguments, for no
 * returned value, and for the variants that a union does not mention.
 */
#include "util/osdep.h"
#include "qapi/qapi-internal.h"

typedef struct Introspect {
    GPtrArray *types;       /* of const QapiType, in the order of numbers */
    GHashTable *numbers;    /* QapiType -> number */
    GPtrArray *pending;     /* types whose entries are not made yet */
    json_t *entries;
} Introspect;

static json_t *feature_array(const char *const *features)
{
    json_t *out = json_array();

    for (; *features; features++) {
        json_array_append_new(out, json_string(*features));
    }
    return out;
}

static void set_features(json_t *entry, const char *const *features)
{
    if (features && *features) {
        json_object_set_new(entry, "features", feature_array(features));
    }
}

/* The type that stands for a type on the wire. */
static const QapiType *wire_type(const QapiType *type)
{
    if (!type) {
        return &qapi_type_q_empty;
    }
    switch (type->kind) {
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE:
        return &qapi_type_int;
    case QAPI_KIND_OBJECT:
        return qapi_is_empty(type) ? &qapi_type_q_empty : type;
    default:
        return type;
    }
}

/* The name under which a type is shown; it will get its entry. */
static char *type_name(Introspect *in, const QapiType *type)
{
    g_autofree char *elem = NULL;
    gpointer number;

    type = wire_type(type);
    if (!g_hash_table_lookup_extended(in->numbers, type, NULL, &number)) {
        bool numbered = type->kind == QAPI_KIND_ENUM ||
                        type->kind == QAPI_KIND_OBJECT ||
                        type->kind == QAPI_KIND_ALTERNATE;

        number = GUINT_TO_POINTER(in->types->len);
        if (numbered) {
            g_ptr_array_add(in->types, (gpointer)type);
        }
        g_hash_table_insert(in->numbers, (gpointer)type, number);
        g_ptr_array_add(in->pending, (gpointer)type);
    }
    switch (type->kind) {
    case QAPI_KIND_ENUM:
    case QAPI_KIND_OBJECT:
    case QAPI_KIND_ALTERNATE:
        return g_strdup_printf("%u", GPOINTER_TO_UINT(number));
    case QAPI_KIND_LIST:
        elem = type_name(in, type->elem);
        return g_strdup_printf("[%s]", elem);
    default:
        return g_strdup(type->name);
    }
}

static void set_type(Introspect *in, json_t *entry, const char *key,
                     const QapiType *type)
{
    g_autofree char *name = type_name(in, type);

    json_object_set_new(entry, key, json_string(name));
}

static void set_string(json_t *entry, const char *key, const char *value)
{
    json_object_set_new(entry, key, json_string(value));
}

/* ---- entries of types ---- */

static void builtin_entry(json_t *entry, const QapiType *type)
{
    static const char *const json_types[] = {
        [QAPI_KIND_STR] = "string",
        [QAPI_KIND_INT] = "int",
        [QAPI_KIND_NUMBER] = "number",
        [QAPI_KIND_BOOL] = "boolean",
        [QAPI_KIND_NULL] = "null",
        [QAPI_KIND_ANY] = "value",
    };

    set_string(entry, "meta-type", "builtin");
    set_string(entry, "json-type", json_types[type->kind]);
}

static void enum_entry(json_t *entry, const QapiType *type)
{
    json_t *members = json_array(), *values = json_array();

    for (int i = 0; i < type->n_values; i++) {
        json_t *member = json_object();

        set_string(member, "name", type->values[i]);
        for (const QapiValueFeatures *f = type->value_features;
             f && f->features; f++) {
            if (f->value == i) {
                set_features(member, f->features);
            }
        }
        json_array_append_new(members, member);
        json_array_append_new(values, json_string(type->values[i]));
    }
    set_string(entry, "meta-type", "enum");
    json_object_set_new(entry, "members", members);
    json_object_set_new(entry, "values", values);
}

static json_t *variant_array(Introspect *in, const QapiType *type)
{
    json_t *out = json_array();

    for (int i = 0; i < type->tag_type->n_values; i++) {
        json_t *variant = json_object();
        const QapiType *branch = NULL;

        for (const QapiVariant *v = type->variants; v->type; v++) {
            if (v->value == i) {
                branch = v->type;
            }
        }
        set_string(variant, "case", type->tag_type->values[i]);
        set_type(in, variant, "type", branch);
        json_array_append_new(out, variant);
    }
    return out;
}

static void object_entry(Introspect *in, json_t *entry, const QapiType *type)
{
    json_t *members = json_array();

    for (const QapiMember *m = type->members; m->name; m++) {
        json_t *member = json_object();

        set_string(member, "name", m->name);
        set_type(in, member, "type", m->type);
        if (m->optional) {
            json_object_set_new(member, "default", json_null());
        }
        set_features(member, m->features);
        json_array_append_new(members, member);
    }
    set_string(entry, "meta-type", "object");
    json_object_set_new(entry, "members", members);
    if (type->tag) {
        set_string(entry, "tag", type->tag);
        json_object_set_new(entry, "variants", variant_array(in, type));
    }
}

static void alternate_entry(Introspect *in, json_t *entry,
                            const QapiType *type)
{
    json_t *members = json_array();

    for (const QapiVariant *v = type->variants; v->type; v++) {
        json_t *member = json_object();

        set_type(in, member, "type", v->type);
        json_array_append_new(members, member);
    }
    set_string(entry, "meta-type", "alternate");
    json_object_set_new(entry, "members", members);
}

static void type_entry(Introspect *in, const QapiType *type)
{
    json_t *entry = json_object();

    set_type(in, entry, "name", type);
    switch (type->kind) {
    case QAPI_KIND_ENUM:
        enum_entry(entry, type);
        break;
    case QAPI_KIND_OBJECT:
        object_entry(in, entry, type);
        break;
    case QAPI_KIND_ALTERNATE:
        alternate_entry(in, entry, type);
        break;
    case QAPI_KIND_LIST:
        set_string(entry, "meta-type", "array");
        set_type(in, entry, "element-type", type->elem);
        break;
    default:
        builtin_entry(entry, type);
        break;
    }
    set_features(entry, type->features);
    json_array_append_new(in->entries, entry);
}

/* ---- the whole ---- */

static void interface_entry(Introspect *in, const QapiInterface *i,
                            bool command)
{
    json_t *entry = json_object();

    set_string(entry, "name", i->name);
    set_string(entry, "meta-type", command ? "command" : "event");
    set_type(in, entry, "arg-type", i->arg);
    if (command) {
        set_type(in, entry, "ret-type", i->ret);
        if (i->allow_oob) {
            json_object_set_new(entry, "allow-oob", json_true());
        }
    }
    set_features(entry, i->features);
    json_array_append_new(in->entries, entry);
}

json_t *qapi_introspect(const QapiInterface *commands,
                        const QapiInterface *events)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    g_autoptr(GHashTable) numbers = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) pending = g_ptr_array_new();
    Introspect in = { types, numbers, pending, json_array() };

    for (; commands->name; commands++) {
        interface_entry(&in, commands, true);
    }
    for (; events->name; events++) {
        interface_entry(&in, events, false);
    }
    for (guint i = 0; i < pending->len; i++) {
        type_entry(&in, g_ptr_array_index(pending, i));
    }
    return in.entries;
}
