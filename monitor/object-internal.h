/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Between monitor/object.c and the types of objects that have a file. */
#ifndef MONITOR_OBJECT_INTERNAL_H
#define MONITOR_OBJECT_INTERNAL_H

#include "monitor/object.h"
#include "util/json.h"

typedef struct ObjectClass {
    const ObjectProperty *properties;
    bool (*check)(const json_t *values, Error **errp);
    /* Carries out @values; @first: the object is just being made. */
    bool (*apply)(Co *co, Object *obj, const json_t *values, bool first,
                  Error **errp);
    bool (*remove)(Co *co, Object *obj, Error **errp);
    /* Optional: properties that are no values of their own. A new reference,
     * or NULL for what is none of these. */
    json_t *(*get)(const json_t *values, const char *property);
    /* Optional: puts a property into @values, in place of the usual way. */
    bool (*put)(json_t *values, const char *property, json_t *value,
                Error **errp);
} ObjectClass;

extern const ObjectClass throttle_group_class;
extern const ObjectClass tls_creds_anon_class;
extern const ObjectClass tls_creds_psk_class;
extern const ObjectClass tls_creds_x509_class;
extern const ObjectClass authz_list_class;
extern const ObjectClass authz_listfile_class;
extern const ObjectClass authz_simple_class;

/* The text of a property, or NULL if nobody has given one. */
const char *object_value_str(const json_t *values, const char *key);

#endif
