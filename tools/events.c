/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The tools have no monitor: nobody listens to events. */

#include "qapi/qapi-events.h"

void qapi_event_emit(QAPIEvent event, json_t *data)
{
    json_decref(data);
}
