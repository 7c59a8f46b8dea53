/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Objects by name. The values of an object's properties are a JSON object: the
 * defaults of its type's table (null: none), then what the user has said. A
 * change is made to a copy, checked and applied as a whole, and only then kept.
 *
 * What the other properties of loops would tune (batches, threads that stay in
 * the pool) our loops do by themselves; values are checked and kept, so that
 * managers find what they have set.
 */
#include "monitor/object-internal.h"

#include "block/graph.h"
#include "util/id.h"
#include "util/iothread.h"
#include "util/loop-poll.h"
#include "util/secret.h"

struct Object {
    char *id;
    ObjectType type;
    json_t *values;
};

static GPtrArray *objects;      /* of Object, in order; NULL: none yet */

/* ---- loops ---- */

static const ObjectProperty main_loop_properties[] = {
    { "aio-max-batch", "int", "0" },
    { "thread-pool-max", "int", "64" },
    { "thread-pool-min", "int", "0" },
    { NULL }
};

static const ObjectProperty iothread_properties[] = {
    { "aio-max-batch", "int", "0" },
    { "poll-grow", "int", "0" },
    { "poll-max-ns", "int", "32768" },
    { "poll-shrink", "int", "0" },
    { "thread-pool-max", "int", "64" },
    { "thread-pool-min", "int", "0" },
    { NULL }
};

static bool loop_check(const json_t *values, Error **errp)
{
    int64_t n, min = 0, max = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)values, key, value) {
        if (!json_get_int64(value, &n) || n < 0) {
            error_setg(errp, "%s value must be in range [0, %" PRId64 "]",
                       key, INT64_MAX);
            return false;
        }
    }
    json_get_int64(json_object_get(values, "thread-pool-min"), &min);
    json_get_int64(json_object_get(values, "thread-pool-max"), &max);
    if (min > max || !max || max > INT_MAX) {
        error_setg(errp, "bad thread-pool-min/thread-pool-max values");
        return false;
    }
    return true;
}

static bool object_apply_iothread(Co *co, Object *obj, const json_t *values,
                                  bool first, Error **errp)
{
    IOThread *t = first ? iothread_new(obj->id, errp) : iothread_find(obj->id);
    LoopPolling p = { 0 };

    if (!t) {
        return false;
    }
    json_get_int64(json_object_get(values, "poll-max-ns"), &p.max_ns);
    json_get_int64(json_object_get(values, "poll-grow"), &p.grow);
    json_get_int64(json_object_get(values, "poll-shrink"), &p.shrink);
    loop_set_polling(iothread_loop(t), &p);
    return true;
}

/* An export's, a job's: somebody who asks for I/O there. */
static bool iothread_has_root(const Loop *loop)
{
    for (Node *n = node_first(); n; n = node_next(n)) {
        for (guint i = 0; n->loop == loop && i < n->parents->len; i++) {
            const Edge *e = g_ptr_array_index(n->parents, i);

            if (e->root) {
                return true;
            }
        }
    }
    return false;
}

/* Graphs that nobody uses come home. */
static bool iothread_empty(Co *co, Loop *loop, Error **errp)
{
    for (Node *n = node_first(); n; n = node_next(n)) {
        if (n->loop == loop && !graph_set_loop(co, n, loop_main(), errp)) {
            return false;
        }
    }
    return true;
}

static bool object_remove_iothread(Co *co, Object *obj, Error **errp)
{
    IOThread *t = iothread_find(obj->id);

    if (iothread_has_root(iothread_loop(t))) {
        error_setg(errp, "object '%s' is in use, can not be deleted", obj->id);
        return false;
    }
    return iothread_empty(co, iothread_loop(t), errp) &&
           iothread_delete(t, errp);
}

static bool object_apply_main_loop(Co *co, Object *obj, const json_t *values,
                                   bool first, Error **errp)
{
    for (Object *o = object_next(NULL); first && o; o = object_next(o)) {
        if (o->type == OBJECT_TYPE_MAIN_LOOP) {
            error_setg(errp, "only one main-loop instance allowed");
            return false;
        }
    }
    return true;
}

static bool object_remove_main_loop(Co *co, Object *obj, Error **errp)
{
    error_setg(errp, "object '%s' is in use, can not be deleted", obj->id);
    return false;
}

/* ---- secrets ---- */

static const ObjectProperty secret_properties[] = {
    { "data", "string", "null" },
    { "file", "string", "null" },
    { "format", "QCryptoSecretFormat", "\"raw\"" },
    { "iv", "string", "null" },
    { "keyid", "string", "null" },
    { NULL }
};

static bool object_check_secret(const json_t *values, Error **errp)
{
    const char *format = json_string_value(json_object_get(values, "format"));

    if (QCryptoSecretFormat_parse(format, -1, NULL) < 0) {
        error_setg(errp, "Parameter 'format' does not accept value '%s'",
                   format);
        return false;
    }
    return true;
}

const char *object_value_str(const json_t *values, const char *key)
{
    return json_get_string(json_object_get(values, key));
}

static bool object_apply_secret(Co *co, Object *obj, const json_t *values,
                                bool first, Error **errp)
{
    SecretSource src = {
        .data = object_value_str(values, "data"),
        .file = object_value_str(values, "file"),
        .keyid = object_value_str(values, "keyid"),
        .iv = object_value_str(values, "iv"),
        .base64 = g_str_equal(object_value_str(values, "format"), "base64"),
    };
    Object *key = src.keyid ? object_find(src.keyid) : NULL;

    if (key && key->type != OBJECT_TYPE_SECRET) {
        error_setg(errp, "Object with id '%s' is not a secret", src.keyid);
        return false;
    }
    return secret_load(co, obj->id, &src, errp);
}

static bool object_remove_secret(Co *co, Object *obj, Error **errp)
{
    secret_forget(obj->id);
    return true;
}

/* ---- types ---- */

static const ObjectClass iothread_class = {
    iothread_properties, loop_check, object_apply_iothread,
    object_remove_iothread,
};

static const ObjectClass main_loop_class = {
    main_loop_properties, loop_check, object_apply_main_loop,
    object_remove_main_loop,
};

static const ObjectClass secret_class = {
    secret_properties, object_check_secret, object_apply_secret,
    object_remove_secret,
};

static const ObjectClass *const classes[OBJECT_TYPE__MAX] = {
    [OBJECT_TYPE_AUTHZ_LIST] = &authz_list_class,
    [OBJECT_TYPE_AUTHZ_LISTFILE] = &authz_listfile_class,
    [OBJECT_TYPE_AUTHZ_SIMPLE] = &authz_simple_class,
    [OBJECT_TYPE_IOTHREAD] = &iothread_class,
    [OBJECT_TYPE_MAIN_LOOP] = &main_loop_class,
    [OBJECT_TYPE_SECRET] = &secret_class,
    [OBJECT_TYPE_THROTTLE_GROUP] = &throttle_group_class,
    [OBJECT_TYPE_TLS_CREDS_ANON] = &tls_creds_anon_class,
    [OBJECT_TYPE_TLS_CREDS_PSK] = &tls_creds_psk_class,
    [OBJECT_TYPE_TLS_CREDS_X509] = &tls_creds_x509_class,
};

const ObjectProperty *object_properties(ObjectType type)
{
    return classes[type]->properties;
}

static json_t *object_defaults(ObjectType type)
{
    json_t *values = json_object();

    for (const ObjectProperty *p = object_properties(type); p->name; p++) {
        json_object_set_new(values, p->name,
                            json_parse_str(p->value, &error_abort));
    }
    return values;
}

/* ---- names ---- */

Object *object_find(const char *id)
{
    for (Object *obj = object_next(NULL); obj; obj = object_next(obj)) {
        if (g_str_equal(obj->id, id)) {
            return obj;
        }
    }
    return NULL;
}

Object *object_next(Object *obj)
{
    guint i = 0;

    if (!objects) {
        return NULL;
    }
    if (obj && g_ptr_array_find(objects, obj, &i)) {
        i++;
    }
    return i < objects->len ? g_ptr_array_index(objects, i) : NULL;
}

const char *object_id(const Object *obj)
{
    return obj->id;
}

ObjectType object_type(const Object *obj)
{
    return obj->type;
}

/* ---- life ---- */

static void object_free(void *opaque)
{
    Object *obj = opaque;

    json_decref(obj->values);
    g_free(obj->id);
    g_free(obj);
}

static bool object_check_id(const char *id, Error **errp)
{
    if (!id_wellformed(id)) {
        id_set_malformed(errp, "id");
        return false;
    }
    if (object_find(id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object "
                   "(type 'container')", id);
        return false;
    }
    return true;
}

static bool object_stage(Co *co, Object *obj, json_t *values, bool first,
                         Error **errp)
{
    const ObjectClass *cls = classes[obj->type];

    return (!cls->check || cls->check(values, errp)) &&
           cls->apply(co, obj, values, first, errp);
}

bool object_add(Co *co, const ObjectOptions *opts, Error **errp)
{
    Object *obj;
    json_t *said;

    if (!object_check_id(opts->id, errp)) {
        return false;
    }
    said = ObjectOptions_to_json(opts);
    json_object_del(said, "qom-type");
    json_object_del(said, "id");
    obj = g_new0(Object, 1);
    obj->id = g_strdup(opts->id);
    obj->type = opts->qom_type;
    obj->values = object_defaults(obj->type);
    json_object_update(obj->values, said);
    json_decref(said);
    if (!object_stage(co, obj, obj->values, true, errp)) {
        object_free(obj);
        return false;
    }
    if (!objects) {
        objects = g_ptr_array_new_with_free_func(object_free);
    }
    g_ptr_array_add(objects, obj);
    return true;
}

bool object_del(Co *co, const char *id, Error **errp)
{
    Object *obj = object_find(id);

    if (!obj) {
        error_setg(errp, "object '%s' not found", id);
        return false;
    }
    if (!classes[obj->type]->remove(co, obj, errp)) {
        return false;
    }
    g_ptr_array_remove(objects, obj);
    return true;
}

void object_del_all(Co *co)
{
    while (objects && objects->len) {
        guint last = objects->len - 1;
        Object *obj = g_ptr_array_index(objects, last);

        classes[obj->type]->remove(co, obj, NULL);
        g_ptr_array_remove_index(objects, last);
    }
    g_clear_pointer(&objects, g_ptr_array_unref);
}

/* ---- properties ---- */

json_t *object_get(const Object *obj, const char *property)
{
    const ObjectClass *cls = classes[obj->type];
    json_t *value = cls->get ? cls->get(obj->values, property) : NULL;

    if (value) {
        return value;
    }
    value = json_object_get(obj->values, property);
    /* A string that nobody has given reads as "". */
    return json_is_null(value) ? json_string("")
                               : value ? json_incref(value) : NULL;
}

static bool object_check_type(const json_t *old, const char *property,
                              const json_t *value, Error **errp)
{
    JsonType type = json_qtype(old);
    int64_t n;
    bool ok = type == JSON_T_NUMBER ? json_get_int64(value, &n) :
              type == JSON_T_BOOL || type == JSON_T_ARRAY
              ? json_qtype(value) == type : json_qtype(value) == JSON_T_STRING;

    if (!ok) {
        error_setg(errp, "Invalid parameter type for '%s', expected: %s",
                   property, type == JSON_T_NUMBER ? "integer" :
                   type == JSON_T_BOOL ? "boolean" :
                   type == JSON_T_ARRAY ? "array" : "string");
    }
    return ok;
}

static bool object_put(const Object *obj, json_t *values,
                       const char *property, json_t *value, Error **errp)
{
    const ObjectClass *cls = classes[obj->type];
    const json_t *old = json_object_get(values, property);

    if (cls->put) {
        return cls->put(values, property, value, errp);
    }
    if (!object_check_type(old, property, value, errp)) {
        return false;
    }
    json_object_set(values, property, value);
    return true;
}

bool object_set(Co *co, Object *obj, const char *property, json_t *value,
                Error **errp)
{
    json_t *values = json_copy(obj->values);

    if (!object_put(obj, values, property, value, errp) ||
        !object_stage(co, obj, values, false, errp)) {
        json_decref(values);
        return false;
    }
    json_decref(obj->values);
    obj->values = values;
    return true;
}
