# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""qapi-commands.[ch]: handlers' prototypes, and what calls them.

    bool qmp_NAME(Co *co, arguments..., RETURNED **ret, Error **errp);

Arguments belong to the caller; *ret is set on success and is then the
caller's.  With 'gen': false a handler takes and gives JSON values:

    bool qmp_NAME(Co *co, json_t *args, json_t **ret, Error **errp);
"""

from .common import HEAD, c_string, guarded
from .gen_types import type_ref


def parameters(entity):
    """The C parameters of an argument: [(declaration, expression)]."""
    arg = entity.arg
    if arg is None:
        return []
    if entity.boxed:
        return [(f'{arg.c} *arg', 'arg')]
    out = []
    for member in arg.members:
        if member.has:
            out.append((f'bool has_{member.c}', f'arg->has_{member.c}'))
        out.append((f'{member.type.c_param}{member.c}', f'arg->{member.c}'))
    return out


def wrap(first, items, last):
    """A parenthesised list in lines of at most 80 columns."""
    indent = ' ' * (len(first) if len(first) < 50 else 8)
    lines, line = [], first
    for at, item in enumerate(items):
        piece = item + (',' if at + 1 < len(items) else last)
        if len(line) + len(piece) + 1 > 80 and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += ('' if line.endswith(('(', '  ')) or line == indent
                 else ' ') + piece
    return '\n'.join(lines + [line])


def ret_param(command):
    """The parameter that takes the returned value."""
    if command.ret is None:
        return []
    return [command.ret.c_member + '*ret']


def prototype(command):
    """The handler."""
    if not command.gen:
        params = ['Co *co', 'json_t *args', 'json_t **ret', 'Error **errp']
    else:
        params = (['Co *co'] + [d for d, _ in parameters(command)] +
                  ret_param(command) + ['Error **errp'])
    return guarded(command.cond,
                   wrap(f'bool qmp_{command.c}(', params, ');') + '\n')


def marshal(command):
    """From JSON arguments to the handler and back."""
    name = f'qmp_marshal_{command.c}'
    text = (f'static bool {name}(Co *co, json_t *args, json_t **ret,\n'
            f'{" " * (len(name) + 13)}Error **errp)\n{{\n')
    arg_type = command.arg.c if command.arg else 'void'
    table = type_ref(command.arg) if command.arg else '&qapi_type_q_empty'
    text += f'    {arg_type} *arg;\n'
    call = ['co'] + [e for _, e in parameters(command)]
    if command.ret is not None:
        member = command.ret.c_member
        init = ' = NULL' if command.ret.is_pointer else ' = 0'
        text += f'    {member}value{init};\n'
        call.append('&value')
    text += f'    bool ok;\n\n    arg = marshal_args({table}, args, errp);\n'
    text += '    if (!arg) {\n        return false;\n    }\n'
    text += wrap(f'    ok = qmp_{command.c}(', call + ['errp'], ');') + '\n'
    text += f'    qapi_free({table}, arg);\n'
    text += '    if (!ok) {\n        return false;\n    }\n'
    if command.ret is not None:
        ref = type_ref(command.ret)
        text += f'    *ret = qapi_slot_to_json({ref}, &value);\n'
        text += f'    qapi_slot_free({ref}, &value);\n'
    else:
        text += '    *ret = json_object();\n'
    return guarded(command.cond, text + '    return true;\n}\n\n')


def flags(command):
    """QmpCommand.flags"""
    out = []
    if not command.success_response:
        out.append('QMP_COMMAND_NO_SUCCESS_RESPONSE')
    if command.allow_oob:
        out.append('QMP_COMMAND_ALLOW_OOB')
    if command.allow_preconfig:
        out.append('QMP_COMMAND_ALLOW_PRECONFIG')
    return ' | '.join(out) or '0'


HEADER_END = '''
/* All commands, by name; ended by one without a name. */
extern const QmpCommand qmp_commands[];

/* The command of that name, or NULL. */
const QmpCommand *qmp_command_find(const char *name);

#endif
'''

MARSHAL_ARGS = '''
/* The arguments as an object of their type, which qapi_free() frees. */
static void *marshal_args(const QapiType *type, json_t *args, Error **errp)
{
    json_t *empty;
    void *arg;

    if (args) {
        return qapi_from_json(type, args, QAPI_STRICT, NULL, errp);
    }
    empty = json_object();
    arg = qapi_from_json(type, empty, QAPI_STRICT, NULL, errp);
    json_decref(empty);
    return arg;
}

'''

FIND = '''
const QmpCommand *qmp_command_find(const char *name)
{
    for (const QmpCommand *cmd = qmp_commands; cmd->name; cmd++) {
        if (g_str_equal(cmd->name, name)) {
            return cmd;
        }
    }
    return NULL;
}
'''


def header(schema):
    """qapi-commands.h"""
    text = HEAD
    text += '#ifndef QAPI_COMMANDS_H\n#define QAPI_COMMANDS_H\n\n'
    text += '#include "qapi/qapi-types.h"\n\n'
    text += ''.join(prototype(c) for c in schema.commands)
    return text + HEADER_END


def source(schema):
    """qapi-commands.c"""
    text = HEAD
    text += '#include "util/osdep.h"\n#include "qapi/qapi-commands.h"\n'
    text += MARSHAL_ARGS
    text += ''.join(marshal(c) for c in schema.commands if c.gen)
    text += 'const QmpCommand qmp_commands[] = {\n'
    for command in sorted(schema.commands, key=lambda c: c.name):
        fn = ('qmp_marshal_' if command.gen else 'qmp_') + command.c
        text += guarded(command.cond,
                        f'    {{ {c_string(command.name)}, {fn},\n'
                        f'      {flags(command)} }},\n')
    return text + '    { NULL }\n};\n' + FIND
