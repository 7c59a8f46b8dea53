/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What users make by --object and object-add: threads, secrets, settings of
 * the main loop. Main loop.
 */
#ifndef MONITOR_OBJECT_H
#define MONITOR_OBJECT_H

#include "qapi/qapi-types.h"
#include "util/co.h"

typedef struct Object Object;

typedef struct ObjectProperty {
    const char *name;           /* NULL ends a table */
    const char *type;           /* as qom-list tells: "int", "string" */
    const char *value;          /* the default, as JSON */
} ObjectProperty;

/* Control lock; suspend. QEMU's texts. */
bool object_add(Co *co, const ObjectOptions *opts, Error **errp);
/* Refuses what is in use. Graphs on a thread that nobody uses come home. */
bool object_del(Co *co, const char *id, Error **errp);
/* At the end, when nobody uses any: the last one first. */
void object_del_all(Co *co);

Object *object_find(const char *id);
Object *object_next(Object *obj);               /* NULL: the first */
const char *object_id(const Object *obj);
ObjectType object_type(const Object *obj);

/* In the order of their names. */
const ObjectProperty *object_properties(ObjectType type);
/* A new reference, or NULL if there is no such property. */
json_t *object_get(const Object *obj, const char *property);
/* False if the value is of the wrong type, or not possible. The property is
 * there. */
bool object_set(Co *co, Object *obj, const char *property, json_t *value,
                Error **errp);

#endif
