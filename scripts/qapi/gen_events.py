# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""qapi-events.[ch]: a function that sends each event.

    void qapi_event_send_block_job_ready(JobType type, ...);

It makes the event's data and hands it to qapi_event_emit(), which the
monitor implements.
"""

from .common import HEAD, c_enum_const, c_string, guarded
from .gen_commands import parameters, wrap
from .gen_types import type_ref


def send_head(event, end):
    """The function's head."""
    params = [d for d, _ in parameters(event)] or ['void']
    return wrap(f'void qapi_event_send_{event.c.lower()}(', params, end)


def send(event):
    """The function."""
    text = send_head(event, ')') + '\n{\n'
    if event.arg is None:
        data = 'json_object()'
    elif event.boxed:
        data = f'qapi_to_json({type_ref(event.arg)}, arg)'
    else:
        text += f'    {event.arg.c} arg = {{\n'
        for member in event.arg.members:
            if member.has:
                text += f'        .has_{member.c} = has_{member.c},\n'
            cast = '(char *)' if member.type.name == 'str' else ''
            text += f'        .{member.c} = {cast}{member.c},\n'
        text += '    };\n\n'
        data = f'qapi_to_json({type_ref(event.arg)}, &arg)'
    const = c_enum_const('QAPI_EVENT', event.name)
    text += wrap('    qapi_event_emit(', [const, data], ');') + '\n}\n\n'
    return guarded(event.cond, text)


def header(schema):
    """qapi-events.h"""
    text = HEAD
    text += '#ifndef QAPI_EVENTS_H\n#define QAPI_EVENTS_H\n\n'
    text += '#include "qapi/qapi-types.h"\n\n'
    text += 'typedef enum QAPIEvent {\n'
    for event in schema.events:
        const = c_enum_const('QAPI_EVENT', event.name)
        text += guarded(event.cond, f'    {const},\n')
    text += '    QAPI_EVENT__MAX\n} QAPIEvent;\n'
    text += 'QAPI_ENUM_FUNCTIONS(QAPIEvent)\n\n'
    text += ('/*\n * Where all events go: the monitor defines it. data is an '
             'object, and is the\n * callee\'s from then on. Never '
             'suspends.\n */\n'
             'void qapi_event_emit(QAPIEvent event, json_t *data);\n\n')
    for event in schema.events:
        text += guarded(event.cond, send_head(event, ');') + '\n')
    return text + '\n#endif\n'


def source(schema):
    """qapi-events.c"""
    text = HEAD
    text += '#include "util/osdep.h"\n#include "qapi/qapi-events.h"\n\n'
    text += 'static const char *const QAPIEvent_values[] = {\n'
    for event in schema.events:
        const = c_enum_const('QAPI_EVENT', event.name)
        text += guarded(event.cond,
                        f'    [{const}] = {c_string(event.name)},\n')
    text += ('};\nconst QapiType qapi_type_QAPIEvent = {\n'
             '    .name = "QAPIEvent", .kind = QAPI_KIND_ENUM,\n'
             '    .size = sizeof(QAPIEvent), .values = QAPIEvent_values,\n'
             '    .n_values = QAPI_EVENT__MAX,\n};\n\n')
    return text + ''.join(send(e) for e in schema.events)
