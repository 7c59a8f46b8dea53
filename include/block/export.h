/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Exports: a node shown to a client outside. Kinds register themselves.
 * Main loop; the requests of an export run on its graph's loop.
 */
#ifndef BLOCK_EXPORT_H
#define BLOCK_EXPORT_H

#include "block/root.h"

typedef struct BlockExport BlockExport;

typedef struct BlockExportDriver {
    BlockExportType type;
    size_t size;                /* of the struct that starts with BlockExport */
    bool (*create)(Co *co, BlockExport *exp, BlockExportOptions *opts,
                   Error **errp);
    /* Refuses new clients and asks those there to go; never suspends. */
    void (*request_shutdown)(BlockExport *exp);
    /* The last reference has gone. */
    void (*remove)(Co *co, BlockExport *exp);
    /* Some client has left, but its connection has not come to its end yet.
     * Optional. */
    bool (*client_leaving)(BlockExport *exp);
    /* What only this kind tells of itself. Suspends. Optional. */
    void (*query)(Co *co, BlockExport *exp, BlockExportInfo *info);
    /* As RootOps.loop_can_change and loop_changed. Optional. */
    bool (*loop_can_change)(BlockExport *exp, Loop *loop, Error **errp);
    void (*loop_changed)(BlockExport *exp, Loop *loop);
    /* As RootOps.resized. Optional. */
    void (*resized)(BlockExport *exp);
} BlockExportDriver;

struct BlockExport {
    const BlockExportDriver *drv;
    char *id;
    int refs;                   /* main loop; 1 is the user's, others clients' */
    bool user_owned;            /* block-export-del has not been called */
    OwnerId owner;
    bool writable;
    bool fixed_iothread;        /* the graph may not leave its loop */
    Root *root;
    BlockExport *next;
};

void export_register(const BlockExportDriver *drv);
/* block-export-add; QEMU's texts. Control lock. */
BlockExport *export_add(Co *co, BlockExportOptions *opts, Error **errp);
BlockExport *export_find(const char *id);
BlockExport *export_next(BlockExport *exp);             /* NULL: the first */
void export_ref(BlockExport *exp);
/* The last one frees it (in a coroutine of its own, which takes the control
 * lock) and sends BLOCK_EXPORT_DELETED. */
void export_unref(BlockExport *exp);
/* The user lets go: no new clients, those there are asked to leave. */
void export_request_shutdown(BlockExport *exp);
/* block-export-del: "safe" refuses while there are clients; it waits for those
 * that are about to end by themselves. Without clients the export has gone when
 * it returns, and the event is sent. Control lock; suspends. */
bool export_delete(Co *co, const char *id, BlockExportRemoveMode mode,
                   Error **errp);
/* All of a type (BLOCK_EXPORT_TYPE__MAX: every one): asks them to end and
 * suspends until they have; releases the control lock meanwhile. */
void export_close_all(Co *co, BlockExportType type);
/* All that belong to @owner, likewise. */
void export_close_owned(Co *co, OwnerId owner);

#endif
