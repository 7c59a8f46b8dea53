/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * -s: an overlay that nobody else sees. Its name is gone as soon as it is
 * open, its space when the program ends.
 */
#include "util/osdep.h"

#include <glib/gstdio.h>
#include <unistd.h>

#include "block/create.h"
#include "block/open.h"
#include "tools/tool.h"
#include "util/json.h"

static Node *overlay_open(Co *co, const char *name, const Node *base,
                          OpenFlags flags, Error **errp)
{
    g_autoptr(json_t) extra = json_pack("{ss}", "backing", base->name);

    if (!create_image(co, name, "qcow2", NULL, NULL, NULL, base->length, true,
                      true, errp)) {
        return NULL;
    }
    return open_filename(co, name, "qcow2", extra, flags, errp);
}

Node *tool_open_overlay(Co *co, Node *base, OpenFlags flags, Error **errp)
{
    const char *dir = g_getenv("TMPDIR") ? g_getenv("TMPDIR") : "/var/tmp";
    g_autofree char *name = g_strdup_printf("%s/vl.XXXXXX", dir);
    Node *node;
    int fd = g_mkstemp(name);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open temporary file '%s'",
                         name);
        return NULL;
    }
    close(fd);
    node = overlay_open(co, name, base, flags, errp);
    g_unlink(name);
    return node;
}
