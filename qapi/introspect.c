/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * query-qmp-schema. Its answer does not go through types: it is made as JSON,
 * which is why the schema says 'gen': false.
 */
#include "util/osdep.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-introspect.h"

bool qmp_query_qmp_schema(Co *co, json_t *args, json_t **ret, Error **errp)
{
    void *none = NULL;

    if (args) {
        none = qapi_from_json(&qapi_type_q_empty, args, QAPI_STRICT, NULL,
                              errp);
        if (!none) {
            return false;
        }
        qapi_free(&qapi_type_q_empty, none);
    }
    *ret = qapi_introspect(qapi_interface_commands, qapi_interface_events);
    return true;
}
