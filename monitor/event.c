/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Events: stamped where and when they happen, told on the main loop. An event
 * of the main loop is in the clients' buffers when this returns: before the
 * answer of the command that has raised it.
 */
#include "session.h"

#include "qapi/qapi-events.h"
#include "util/loop.h"

static json_t *event_timestamp(void)
{
    int64_t us = g_get_real_time();

    return json_pack("{s:I,s:I}", "seconds", (json_int_t)(us / G_USEC_PER_SEC),
                     "microseconds", (json_int_t)(us % G_USEC_PER_SEC));
}

static void event_tell(void *opaque)
{
    g_autoptr(json_t) event = opaque;

    session_send_event(event);
}

void qapi_event_emit(QAPIEvent event, json_t *data)
{
    json_t *message = json_object();

    json_object_set_new(message, "timestamp", event_timestamp());
    json_object_set_new(message, "event", json_string(QAPIEvent_str(event)));
    if (json_object_size(data)) {
        json_object_set(message, "data", data);
    }
    json_decref(data);
    if (loop_current() == loop_main()) {
        event_tell(message);
    } else {
        loop_post(loop_main(), event_tell, message);
    }
}
