/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Prints what query-qmp-schema returns, without a daemon.
 */
#include "util/osdep.h"
#include "qapi/qapi-introspect.h"

int main(void)
{
    g_autoptr(json_t) schema = qapi_introspect(qapi_interface_commands,
                                               qapi_interface_events);
    g_autofree char *text = json_format(schema);

    puts(text);
    return 0;
}
