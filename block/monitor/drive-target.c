/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
#include "drive-target.h"

#include "block/create.h"
#include "block/graph.h"
#include "block/open.h"

/* What a new target is to lie over: the source's base for top, the source itself
 * for none, else nothing. */
static Node *drive_backing(MirrorSyncMode sync, Node *source)
{
    switch (sync) {
    case MIRROR_SYNC_MODE_TOP:
        return node_backing_chain_next(source);
    case MIRROR_SYNC_MODE_NONE:
        return source;
    default:
        return NULL;
    }
}

static bool drive_create(Co *co, const DriveTarget *t, const char *format,
                         Node *source, Error **errp)
{
    Node *backing = drive_backing(t->sync, source);

    if (backing) {
        backing = node_skip_filters(backing);
    }
    return create_image(co, t->filename, format,
                        backing ? backing->filename : NULL,
                        backing ? backing->drv->name : NULL, NULL,
                        source->length, true, true, errp);
}

Node *drive_target_open(Co *co, const DriveTarget *t, Node *source,
                        Error **errp)
{
    const char *format = t->format ? t->format
                         : t->existing ? NULL : source->drv->name;
    OpenFlags flags = OPEN_RDWR | t->flags |
                      (source->flags & (OPEN_NOCACHE | OPEN_NO_FLUSH |
                                        OPEN_UNMAP));

    if (!t->existing && !drive_create(co, t, format, source, errp)) {
        return NULL;
    }
    return open_filename(co, t->filename, format, t->options, flags, errp);
}
