/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * JSON values -> objects.
 *
 * The walk follows the type, not the value: members are looked up in the
 * order of the schema, then the value is searched for members that the type
 * does not have. So the first error is always the same one.
 *
 * Where we are is a chain of Place structs on the stack, from which the full
 * name of a member is made when an error needs it: "actions[0].data.node",
 * or, where the value was written as key=value, "actions.0.data.node". Some
 * of QEMU's messages name the member alone; a list's element has no name,
 * which QEMU prints as 'null'.
 *
 * Objects come from zeroed memory, so one that is half read can be freed.
 */
#include "util/osdep.h"
#include "util/bytes.h"
#include "qapi/qapi-internal.h"

typedef struct Place Place;
struct Place {
    const Place *up;        /* NULL: the root, which has no name */
    const char *name;       /* NULL: element `index` of a list */
    size_t index;
};

typedef struct Reader {
    QapiMode mode;
    Error **errp;
} Reader;

static bool read_slot(Reader *r, const QapiType *type, void *slot,
                      json_t *value, const Place *place);
static bool read_members(Reader *r, const QapiType *type, void *object,
                         json_t *value, const Place *place);

/* ---- names of places ---- */

static void place_append(const Reader *r, const Place *place, GString *out)
{
    if (!place || !place->up) {
        return;
    }
    place_append(r, place->up, out);
    if (place->name) {
        g_string_append_printf(out, "%s%s", out->len ? "." : "", place->name);
    } else if (r->mode == QAPI_KEYVAL) {
        g_string_append_printf(out, "%s%zu", out->len ? "." : "",
                               place->index);
    } else {
        g_string_append_printf(out, "[%zu]", place->index);
    }
}

/* Where, from the root; "null" for the root itself. */
static char *place_full(const Reader *r, const Place *place)
{
    GString *out = g_string_new(NULL);

    place_append(r, place, out);
    if (!out->len) {
        g_string_append(out, "null");
    }
    return g_string_free(out, FALSE);
}

/* The member's name alone. */
static const char *place_short(const Place *place)
{
    return place->name ?: "null";
}

/* ---- errors; all return false ---- */

static bool error_type(Reader *r, const Place *place, const char *expected)
{
    g_autofree char *name = place_full(r, place);

    error_setg(r->errp, "Invalid parameter type for '%s', expected: %s", name,
               expected);
    return false;
}

static bool error_expects(Reader *r, const Place *place, const char *expected)
{
    g_autofree char *name = place_full(r, place);

    error_setg(r->errp, "Parameter '%s' expects %s", name, expected);
    return false;
}

static bool error_range(Reader *r, const QapiType *type, const Place *place)
{
    error_setg(r->errp, "Parameter '%s' expects %s_t", place_short(place),
               type->name);
    return false;
}

static bool error_missing(Reader *r, const Place *place)
{
    g_autofree char *name = place_full(r, place);

    error_setg(r->errp, "Parameter '%s' is missing", name);
    return false;
}

/* ---- scalars ---- */

/*
 * Is the scalar written as text? In key=value mode it is, unless the tree was
 * put together from JSON, too ("json:" names and options that go on top).
 */
static bool is_text(const Reader *r, const json_t *value)
{
    JsonType type = json_qtype(value);

    return r->mode == QAPI_KEYVAL && type != JSON_T_NUMBER &&
           type != JSON_T_BOOL && type != JSON_T_NULL;
}

/* The text; NULL where the value is a tree ("size.a=5"), an error. */
static const char *scalar_text(Reader *r, json_t *value, const Place *place)
{
    const char *text = json_get_string(value);
    g_autofree char *name = NULL;

    if (!text) {
        name = place_full(r, place);
        error_setg(r->errp, "Parameters '%s.*' are unexpected", name);
    }
    return text;
}

/* The whole text as a number of base 8, 10 or 16, as strtoll() reads it. */
static bool parse_int(const char *text, int64_t *n)
{
    char *end;

    errno = 0;
    *n = strtoll(text, &end, 0);
    return end != text && !*end && !errno;
}

static bool parse_uint(const char *text, uint64_t *n)
{
    char *end;

    errno = 0;
    *n = strtoull(text, &end, 0);
    return end != text && !*end && !errno;
}

/* Store an integer; false if it does not fit. */
static bool store_int(const QapiType *type, void *slot, int64_t n)
{
    switch (type->size) {
    case 1:
        *(int8_t *)slot = n;
        return n == *(int8_t *)slot;
    case 2:
        *(int16_t *)slot = n;
        return n == *(int16_t *)slot;
    case 4:
        *(int32_t *)slot = n;
        return n == *(int32_t *)slot;
    default:
        *(int64_t *)slot = n;
        return true;
    }
}

static bool store_uint(const QapiType *type, void *slot, uint64_t n)
{
    switch (type->size) {
    case 1:
        *(uint8_t *)slot = n;
        return n == *(uint8_t *)slot;
    case 2:
        *(uint16_t *)slot = n;
        return n == *(uint16_t *)slot;
    case 4:
        *(uint32_t *)slot = n;
        return n == *(uint32_t *)slot;
    default:
        *(uint64_t *)slot = n;
        return true;
    }
}

static bool read_int(Reader *r, const QapiType *type, void *slot,
                     json_t *value, const Place *place)
{
    const char *text;
    int64_t n;

    if (is_text(r, value)) {
        text = scalar_text(r, value, place);
        if (!text) {
            return false;
        }
        if (!parse_int(text, &n)) {
            return error_expects(r, place, "integer");
        }
    } else if (!json_get_int64(value, &n)) {
        return error_type(r, place, "integer");
    }
    return store_int(type, slot, n) || error_range(r, type, place);
}

/*
 * QEMU takes a negative number for an unsigned one, modulo 2^64: callers see
 * a huge one and refuse it.
 */
static bool read_uint(Reader *r, const QapiType *type, void *slot,
                      json_t *value, const Place *place)
{
    const char *text;
    uint64_t n;
    int64_t negative;

    if (is_text(r, value)) {
        text = scalar_text(r, value, place);
        if (!text) {
            return false;
        }
        if (!parse_uint(text, &n)) {
            return error_expects(r, place, "integer");
        }
    } else if (!json_get_uint64(value, &n)) {
        if (!json_get_int64(value, &negative)) {
            return error_expects(r, place, "uint64");
        }
        n = negative;
    }
    return store_uint(type, slot, n) || error_range(r, type, place);
}

static bool read_size(Reader *r, const QapiType *type, void *slot,
                      json_t *value, const Place *place)
{
    const char *text;

    if (!is_text(r, value)) {
        return read_uint(r, type, slot, value, place);
    }
    text = scalar_text(r, value, place);
    if (!text) {
        return false;
    }
    return size_parse(text, 'B', NULL, slot) == 0 ||
           error_expects(r, place, "size");
}

static bool read_bool(Reader *r, bool *slot, json_t *value,
                      const Place *place)
{
    static const char *const on[] = { "on", "yes", "true", "y", NULL };
    static const char *const off[] = { "off", "no", "false", "n", NULL };
    const char *text;

    if (!is_text(r, value)) {
        *slot = json_is_true(value);
        return json_is_boolean(value) || error_type(r, place, "boolean");
    }
    text = scalar_text(r, value, place);
    if (!text) {
        return false;
    }
    *slot = g_strv_contains(on, text);
    if (!*slot && !g_strv_contains(off, text)) {
        return error_expects(r, place, "'on' or 'off'");
    }
    return true;
}

static bool read_number(Reader *r, double *slot, json_t *value,
                        const Place *place)
{
    const char *text;
    char *end;

    if (!is_text(r, value)) {
        return json_get_double(value, slot) ||
               error_type(r, place, "number");
    }
    text = scalar_text(r, value, place);
    if (!text) {
        return false;
    }
    *slot = g_ascii_strtod(text, &end);
    if (end == text || *end || !(*slot - *slot == 0)) {
        return error_type(r, place, "number");
    }
    return true;
}

static bool read_str(Reader *r, char **slot, json_t *value,
                     const Place *place)
{
    const char *text;

    if (is_text(r, value)) {
        text = scalar_text(r, value, place);
        if (!text) {
            return false;
        }
    } else {
        text = json_get_string(value);
        if (!text) {
            return error_type(r, place, "string");
        }
    }
    *slot = g_strdup(text);
    return true;
}

static bool read_null(Reader *r, json_t *value, const Place *place)
{
    const char *text;

    if (!is_text(r, value)) {
        return json_is_null(value) || error_type(r, place, "null");
    }
    text = scalar_text(r, value, place);
    return text && (!*text || error_type(r, place, "null"));
}

static bool read_enum(Reader *r, const QapiType *type, int *slot,
                      json_t *value, const Place *place)
{
    g_autofree char *text = NULL;

    if (!read_str(r, &text, value, place)) {
        return false;
    }
    for (int i = 0; i < type->n_values; i++) {
        if (g_str_equal(type->values[i], text)) {
            *slot = i;
            return true;
        }
    }
    error_setg(r->errp, "Parameter '%s' does not accept value '%s'",
               place_short(place), text);
    return false;
}

/* ---- objects ---- */

/* Does the object's type have a member of that name? */
static bool has_member(const QapiType *type, const void *object,
                       const char *name)
{
    for (const QapiMember *m = type->members; m->name; m++) {
        if (g_str_equal(m->name, name)) {
            return true;
        }
    }
    if (type->tag) {
        const QapiVariant *v = qapi_variant(type, object);

        return v && !qapi_is_empty(v->type) &&
               has_member(v->type, qapi_at(object, type->u_offset), name);
    }
    return false;
}

static bool check_unexpected(Reader *r, const QapiType *type,
                             const void *object, json_t *value,
                             const Place *place)
{
    const char *name;
    json_t *member;

    json_object_foreach(value, name, member) {
        if (!has_member(type, object, name)) {
            Place at = { .up = place, .name = name };
            g_autofree char *full = place_full(r, &at);

            error_setg(r->errp, "Parameter '%s' is unexpected", full);
            return false;
        }
    }
    return true;
}

static bool read_member(Reader *r, const QapiMember *m, void *object,
                        json_t *value, const Place *place)
{
    json_t *member = json_object_get(value, m->name);
    Place at = { .up = place, .name = m->name };

    if (!member) {
        return m->optional || error_missing(r, &at);
    }
    if (m->has >= 0) {
        *(bool *)qapi_at(object, m->has) = true;
    }
    return read_slot(r, m->type, qapi_at(object, m->offset), member, &at);
}

static bool read_members(Reader *r, const QapiType *type, void *object,
                         json_t *value, const Place *place)
{
    const QapiVariant *v;

    for (const QapiMember *m = type->members; m->name; m++) {
        if (!read_member(r, m, object, value, place)) {
            return false;
        }
    }
    if (!type->tag) {
        return true;
    }
    v = qapi_variant(type, object);
    return !v || qapi_is_empty(v->type) ||
           read_members(r, v->type, qapi_at(object, type->u_offset), value,
                        place);
}

/* Into zeroed memory. */
static bool read_object(Reader *r, const QapiType *type, void *object,
                        json_t *value, const Place *place)
{
    if (!json_is_object(value)) {
        return error_type(r, place, "object");
    }
    return read_members(r, type, object, value, place) &&
           check_unexpected(r, type, object, value, place);
}

/* ---- alternates and lists ---- */

static QType qtype_of(json_t *value)
{
    static const QType qtypes[] = {
        [JSON_T_NULL] = QTYPE_QNULL,
        [JSON_T_NUMBER] = QTYPE_QNUM,
        [JSON_T_STRING] = QTYPE_QSTRING,
        [JSON_T_OBJECT] = QTYPE_QDICT,
        [JSON_T_ARRAY] = QTYPE_QLIST,
        [JSON_T_BOOL] = QTYPE_QBOOL,
    };

    return qtypes[json_qtype(value)];
}

/* Into zeroed memory. */
static bool read_alternate(Reader *r, const QapiType *type, void *object,
                           json_t *value, const Place *place)
{
    QType *tag = qapi_at(object, type->tag_offset);
    void *u = qapi_at(object, type->u_offset);
    const QapiVariant *v;

    *tag = qtype_of(value);
    v = qapi_variant(type, object);
    if (!v) {
        *tag = QTYPE_NONE;
        error_setg(r->errp, "Invalid parameter type for '%s', expected: %s",
                   place_short(place), type->name);
        return false;
    }
    if (v->type->kind == QAPI_KIND_OBJECT) {
        return read_object(r, v->type, u, value, place);
    }
    return read_slot(r, v->type, u, value, place);
}

static bool read_list(Reader *r, const QapiType *type, void **slot,
                      json_t *value, const Place *place)
{
    void **tail = slot;

    if (!json_is_array(value)) {
        return error_type(r, place, "array");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        Place at = { .up = place, .index = i };

        *tail = g_malloc0(type->size);
        if (!read_slot(r, type->elem, qapi_at(*tail, type->value_offset),
                       json_array_get(value, i), &at)) {
            return false;
        }
        tail = *tail;
    }
    return true;
}

/* Whatever is in the slot after a failure, qapi_slot_free() frees it. */
static bool read_slot(Reader *r, const QapiType *type, void *slot,
                      json_t *value, const Place *place)
{
    switch (type->kind) {
    case QAPI_KIND_STR:
        return read_str(r, slot, value, place);
    case QAPI_KIND_INT:
        return read_int(r, type, slot, value, place);
    case QAPI_KIND_UINT:
        return read_uint(r, type, slot, value, place);
    case QAPI_KIND_SIZE:
        return read_size(r, type, slot, value, place);
    case QAPI_KIND_NUMBER:
        return read_number(r, slot, value, place);
    case QAPI_KIND_BOOL:
        return read_bool(r, slot, value, place);
    case QAPI_KIND_NULL:
        return read_null(r, value, place);
    case QAPI_KIND_ANY:
        *(json_t **)slot = json_incref(value);
        return true;
    case QAPI_KIND_ENUM:
        return read_enum(r, type, slot, value, place);
    case QAPI_KIND_OBJECT:
        *(void **)slot = g_malloc0(type->size);
        return read_object(r, type, *(void **)slot, value, place);
    case QAPI_KIND_ALTERNATE:
        *(void **)slot = g_malloc0(type->size);
        return read_alternate(r, type, *(void **)slot, value, place);
    case QAPI_KIND_LIST:
        return read_list(r, type, slot, value, place);
    }
    g_assert_not_reached();
}

void *qapi_from_json(const QapiType *type, json_t *value, QapiMode mode,
                     bool *ok, Error **errp)
{
    Reader r = { mode, errp };
    Place root = { NULL };
    void *object = NULL;
    bool done;

    g_assert(type->kind == QAPI_KIND_OBJECT ||
             type->kind == QAPI_KIND_ALTERNATE ||
             type->kind == QAPI_KIND_LIST);
    done = read_slot(&r, type, &object, value, &root);
    if (!done) {
        qapi_free(type, object);
        object = NULL;
    }
    if (ok) {
        *ok = done;
    }
    return object;
}
