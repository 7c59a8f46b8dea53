# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""qapi-introspect.[ch]: the interface's commands and events, as tables.

qapi/qapi-introspection.c makes of them, and of the types' tables, what
query-qmp-schema returns.  They do not refer to the handlers, so that a
program without any can still describe the interface.
"""

from .common import HEAD, c_string, guarded
from .gen_types import features_expr, type_ref

HEADER = '''#ifndef QAPI_INTROSPECT_H
#define QAPI_INTROSPECT_H

#include "qapi/qapi.h"

/* Commands and events of the schema, each ended by one without a name. */
extern const QapiInterface qapi_interface_commands[];
extern const QapiInterface qapi_interface_events[];

#endif
'''


def row(entity):
    """A QapiInterface."""
    arg = type_ref(entity.arg) if entity.arg else 'NULL'
    ret = getattr(entity, 'ret', None)
    ret = type_ref(ret) if ret else 'NULL'
    oob = 'true' if getattr(entity, 'allow_oob', False) else 'false'
    return guarded(entity.cond,
                   f'    {{ {c_string(entity.name)},\n'
                   f'      {arg}, {ret}, {oob},\n'
                   f'      {features_expr(entity.features)} }},\n')


def header(_schema):
    """qapi-introspect.h"""
    return HEAD + HEADER


def source(schema):
    """qapi-introspect.c"""
    text = HEAD
    text += ('#include "util/osdep.h"\n#include "qapi/qapi-types.h"\n'
             '#include "qapi/qapi-introspect.h"\n\n')
    for name, entities in (('commands', schema.commands),
                           ('events', schema.events)):
        text += f'const QapiInterface qapi_interface_{name}[] = {{\n'
        text += ''.join(row(e) for e in entities)
        text += '    { NULL }\n};\n\n'
    return text.rstrip('\n') + '\n'
