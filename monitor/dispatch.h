/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * One QMP request: checked, carried out, answered. Knows nothing of streams.
 */
#ifndef MONITOR_DISPATCH_H
#define MONITOR_DISPATCH_H

#include "qapi/qapi.h"

/* What a session has agreed on. */
typedef struct Dispatch {
    bool negotiated;            /* qmp_capabilities has been carried out */
    unsigned number;            /* of the session, from 1 */
    bool oob;                   /* ... and exec-oob was asked for */
} Dispatch;

/* Is the request, whatever else is wrong with it, one that the session may
 * have carried out beside others? */
bool dispatch_is_oob(const Dispatch *d, const json_t *request);

/*
 * Carries out @request and returns the answer: {"return"} or {"error"}, with
 * the request's id; NULL if the command gives none. Commands run one at a time
 * under the control lock, but for exec-oob. Suspends; main loop.
 */
json_t *dispatch_request(Co *co, Dispatch *d, json_t *request);

/* The answer that tells of @err, which is consumed. @id may be NULL. */
json_t *dispatch_error(Error *err, json_t *id);

/* For qmp_capabilities: of the session whose command has just begun. */
extern Dispatch *dispatch_current;

#endif
