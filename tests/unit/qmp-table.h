/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * In place of the schema's commands: the test's own table qmp_commands[], which
 * {NULL} ends.
 */
#ifndef TESTS_UNIT_QMP_TABLE_H
#define TESTS_UNIT_QMP_TABLE_H

#include "qapi/qapi-commands.h"

const QmpCommand *qmp_command_find(const char *name)
{
    for (const QmpCommand *cmd = qmp_commands; cmd->name; cmd++) {
        if (g_str_equal(cmd->name, name)) {
            return cmd;
        }
    }
    return NULL;
}

#endif
