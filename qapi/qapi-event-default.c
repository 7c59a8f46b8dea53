/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Where there is no monitor nobody listens to events: the monitor's definition
 * takes the place of this one. */

#include "qapi/qapi-events.h"

__attribute__((weak)) void qapi_event_emit(QAPIEvent event, json_t *data)
{
    json_decref(data);
}
