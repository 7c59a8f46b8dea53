/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * query-qmp-schema.
 */
#include "util/osdep.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-introspect.h"

bool qmp_query_qmp_schema(Co *co, json_t *args, json_t **ret, Error **errp)
{
    *ret = qapi_introspect(qapi_interface_commands, qapi_interface_events);
    return true;
}
