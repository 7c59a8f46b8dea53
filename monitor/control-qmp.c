/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The commands about the monitor itself and the program. */

#include "dispatch.h"
#include "monitor/monitor.h"

#include "config-host.h"
#include "qapi/qapi-commands.h"

bool qmp_qmp_capabilities(Co *co, bool has_enable, QMPCapabilityList *enable,
                          Error **errp)
{
    Dispatch *d = dispatch_current;

    if (d->negotiated) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "Capabilities "
                  "negotiation is already complete, command ignored");
        return false;
    }
    for (; enable; enable = enable->next) {
        d->oob |= enable->value == QMP_CAPABILITY_OOB;
    }
    d->negotiated = true;
    return true;
}

bool qmp_query_version(Co *co, VersionInfo **ret, Error **errp)
{
    VersionInfo *info = g_new0(VersionInfo, 1);
    g_auto(GStrv) parts = g_strsplit(QEMU_VERSION, ".", 3);

    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = atoi(parts[0]);
    info->qemu->minor = atoi(parts[1]);
    info->qemu->micro = atoi(parts[2]);
    info->package = g_strdup(QEMU_PACKAGE);
    *ret = info;
    return true;
}

bool qmp_query_commands(Co *co, CommandInfoList **ret, Error **errp)
{
    CommandInfoList *list = NULL, **tail = &list;

    for (const QmpCommand *cmd = qmp_commands; cmd->name; cmd++) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(cmd->name);
        QAPI_LIST_APPEND(tail, info);
    }
    *ret = list;
    return true;
}

bool qmp_quit(Co *co, Error **errp)
{
    monitor_request_quit();
    return true;
}
