/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Walks over objects: to JSON, copy, free; and the names of enums.
 *
 * A *slot* is the place of a value: a member, a list's value, a variable. For
 * objects, alternates and lists it holds a pointer; the value of a union's
 * branch lies in the union itself, so members have their own walker that
 * takes the object.
 */
#include "util/osdep.h"
#include "qapi/qapi-internal.h"

static void members_to_json(const QapiType *type, const void *object,
                            json_t *out);
static void members_free(const QapiType *type, void *object);
static void members_clone(const QapiType *type, void *object);

/* ---- to JSON ---- */

static int64_t slot_int(const QapiType *type, const void *slot)
{
    switch (type->size) {
    case 1:
        return *(const int8_t *)slot;
    case 2:
        return *(const int16_t *)slot;
    case 4:
        return *(const int32_t *)slot;
    default:
        return *(const int64_t *)slot;
    }
}

static uint64_t slot_uint(const QapiType *type, const void *slot)
{
    switch (type->size) {
    case 1:
        return *(const uint8_t *)slot;
    case 2:
        return *(const uint16_t *)slot;
    case 4:
        return *(const uint32_t *)slot;
    default:
        return *(const uint64_t *)slot;
    }
}

static json_t *alternate_to_json(const QapiType *type, const void *object)
{
    const QapiVariant *v = qapi_variant(type, object);
    const void *u = qapi_at(object, type->u_offset);
    json_t *out;

    g_assert(v);
    if (v->type->kind != QAPI_KIND_OBJECT) {
        return qapi_slot_to_json(v->type, u);
    }
    out = json_object();
    members_to_json(v->type, u, out);
    return out;
}

static json_t *list_to_json(const QapiType *type, const void *link)
{
    json_t *out = json_array();

    for (; link; link = *(void *const *)link) {
        json_array_append_new(out, qapi_slot_to_json(
            type->elem, qapi_at(link, type->value_offset)));
    }
    return out;
}

json_t *qapi_to_json(const QapiType *type, const void *object)
{
    json_t *out;

    if (type->kind == QAPI_KIND_LIST) {
        return list_to_json(type, object);
    }
    g_assert(object);
    if (type->kind == QAPI_KIND_ALTERNATE) {
        return alternate_to_json(type, object);
    }
    out = json_object();
    members_to_json(type, object, out);
    return out;
}

json_t *qapi_slot_to_json(const QapiType *type, const void *slot)
{
    switch (type->kind) {
    case QAPI_KIND_STR:
        return json_from_str(*(char *const *)slot ?: "");
    case QAPI_KIND_INT:
        return json_integer(slot_int(type, slot));
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE:
        return json_uint64(slot_uint(type, slot));
    case QAPI_KIND_NUMBER:
        return json_real(*(const double *)slot) ?: json_null();
    case QAPI_KIND_BOOL:
        return json_boolean(*(const bool *)slot);
    case QAPI_KIND_NULL:
        return json_null();
    case QAPI_KIND_ANY:
        return json_incref(*(json_t *const *)slot);
    case QAPI_KIND_ENUM:
        return json_string(qapi_enum_str(type, qapi_get_enum(slot)));
    case QAPI_KIND_OBJECT:
    case QAPI_KIND_ALTERNATE:
    case QAPI_KIND_LIST:
        return qapi_to_json(type, *(void *const *)slot);
    }
    g_assert_not_reached();
}

static void members_to_json(const QapiType *type, const void *object,
                            json_t *out)
{
    for (const QapiMember *m = type->members; m->name; m++) {
        if (qapi_member_present(m, object)) {
            json_object_set_new(out, m->name, qapi_slot_to_json(
                m->type, qapi_at(object, m->offset)));
        }
    }
    if (type->tag) {
        const QapiVariant *v = qapi_variant(type, object);

        if (v && !qapi_is_empty(v->type)) {
            members_to_json(v->type, qapi_at(object, type->u_offset), out);
        }
    }
}

/* ---- free ---- */

static void alternate_free(const QapiType *type, void *object)
{
    const QapiVariant *v = qapi_variant(type, object);
    void *u = qapi_at(object, type->u_offset);

    if (!v) {
        return;             /* nothing has been read into it yet */
    }
    if (v->type->kind == QAPI_KIND_OBJECT) {
        members_free(v->type, u);
    } else {
        qapi_slot_free(v->type, u);
    }
}

void qapi_free(const QapiType *type, void *object)
{
    if (!object) {
        return;
    }
    switch (type->kind) {
    case QAPI_KIND_LIST:
        while (object) {
            void *next = *(void **)object;

            qapi_slot_free(type->elem, qapi_at(object, type->value_offset));
            g_free(object);
            object = next;
        }
        return;
    case QAPI_KIND_ALTERNATE:
        alternate_free(type, object);
        break;
    default:
        members_free(type, object);
        break;
    }
    g_free(object);
}

void qapi_slot_free(const QapiType *type, void *slot)
{
    switch (type->kind) {
    case QAPI_KIND_STR:
        g_free(*(char **)slot);
        break;
    case QAPI_KIND_ANY:
        json_decref(*(json_t **)slot);
        break;
    case QAPI_KIND_OBJECT:
    case QAPI_KIND_ALTERNATE:
    case QAPI_KIND_LIST:
        qapi_free(type, *(void **)slot);
        break;
    default:
        break;
    }
}

static void members_free(const QapiType *type, void *object)
{
    for (const QapiMember *m = type->members; m->name; m++) {
        qapi_slot_free(m->type, qapi_at(object, m->offset));
    }
    if (type->tag) {
        const QapiVariant *v = qapi_variant(type, object);

        if (v && !qapi_is_empty(v->type)) {
            members_free(v->type, qapi_at(object, type->u_offset));
        }
    }
}

/* ---- copy ---- */

/* Make what the slot points to a copy; its bytes have been copied already. */
static void slot_clone(const QapiType *type, void *slot)
{
    switch (type->kind) {
    case QAPI_KIND_STR:
        *(char **)slot = g_strdup(*(char **)slot);
        break;
    case QAPI_KIND_ANY:
        json_incref(*(json_t **)slot);
        break;
    case QAPI_KIND_OBJECT:
    case QAPI_KIND_ALTERNATE:
    case QAPI_KIND_LIST:
        *(void **)slot = qapi_clone(type, *(void **)slot);
        break;
    default:
        break;
    }
}

static void alternate_clone(const QapiType *type, void *object)
{
    const QapiVariant *v = qapi_variant(type, object);
    void *u = qapi_at(object, type->u_offset);

    g_assert(v);
    if (v->type->kind == QAPI_KIND_OBJECT) {
        members_clone(v->type, u);
    } else {
        slot_clone(v->type, u);
    }
}

static void *list_clone(const QapiType *type, const void *link)
{
    void *first = NULL, **tail = &first;

    for (; link; link = *(void *const *)link) {
        *tail = g_memdup2(link, type->size);
        slot_clone(type->elem, qapi_at(*tail, type->value_offset));
        tail = *tail;
    }
    return first;
}

void *qapi_clone(const QapiType *type, const void *object)
{
    void *copy;

    if (!object) {
        return NULL;
    }
    if (type->kind == QAPI_KIND_LIST) {
        return list_clone(type, object);
    }
    copy = g_memdup2(object, type->size);
    if (type->kind == QAPI_KIND_ALTERNATE) {
        alternate_clone(type, copy);
    } else {
        members_clone(type, copy);
    }
    return copy;
}

/* The object's bytes are copied; copy what they point to. */
static void members_clone(const QapiType *type, void *object)
{
    for (const QapiMember *m = type->members; m->name; m++) {
        slot_clone(m->type, qapi_at(object, m->offset));
    }
    if (type->tag) {
        const QapiVariant *v = qapi_variant(type, object);

        if (v && !qapi_is_empty(v->type)) {
            members_clone(v->type, qapi_at(object, type->u_offset));
        }
    }
}

/* ---- enums ---- */

const char *qapi_enum_str(const QapiType *type, int value)
{
    g_assert(type->kind == QAPI_KIND_ENUM);
    g_assert(value >= 0 && value < type->n_values);
    return type->values[value];
}

int qapi_enum_parse(const QapiType *type, const char *name, int def,
                    Error **errp)
{
    if (!name) {
        return def;
    }
    for (int i = 0; i < type->n_values; i++) {
        if (g_str_equal(type->values[i], name)) {
            return i;
        }
    }
    error_setg(errp, "invalid parameter value: %s", name);
    return -1;
}
