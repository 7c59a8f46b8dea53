# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""qapi-types.h: the C types; qapi-types.c: the tables that describe them.

include/qapi/qapi.h explains both.  Enums come first, then lists, then
objects and alternates in an order in which whatever is embedded by value is
complete.
"""

from .common import HEAD, c_enum_const, c_string, guarded
from .model import Alternate, Enum, List, Object


def by_kind(schema, kind):
    """The schema's types of one kind."""
    return [t for t in schema.types.values() if isinstance(t, kind)]


def embedded_branches(typ):
    """Branches that are part of the C type by value."""
    if isinstance(typ, Alternate):
        return [b for b in typ.branches if isinstance(b.type, Object)]
    return [b for b in typ.variants if not is_empty(b.type)]


def is_empty(typ):
    """No members at all: such a branch has no place in the union."""
    return not typ.members and not typ.variants


def in_order(schema):
    """Objects and alternates, embedded ones before their users."""
    done, out = set(), []

    def visit(typ):
        if typ.name in done:
            return
        done.add(typ.name)
        for branch in embedded_branches(typ):
            visit(branch.type)
        out.append(typ)

    for typ in by_kind(schema, (Object, Alternate)):
        visit(typ)
    return [t for t in out if t.name != 'q_empty']


# --- the header ------------------------------------------------------------

def enum_decl(enum):
    """enum Foo"""
    text = f'typedef enum {enum.c} {{\n'
    for value in enum.values:
        const = c_enum_const(enum.prefix, value.name)
        text += guarded(value.cond, f'    {const},\n')
    text += f"    {enum.prefix}__MAX\n}} {enum.c};\n"
    text += f'QAPI_ENUM_FUNCTIONS({enum.c})\n\n'
    return guarded(enum.cond, text)


def member_decls(members):
    """The C members."""
    text = ''
    for member in members:
        decl = ''
        if member.has:
            decl += f'    bool has_{member.c};\n'
        decl += f'    {member.type.c_member}{member.c};\n'
        text += guarded(member.cond, decl)
    return text


def branch_decl(branch):
    """A branch in the union u."""
    typ = branch.type
    c_type = typ.c_value + ' ' if isinstance(typ, Object) else typ.c_member
    return guarded(branch.cond, f'        {c_type}{branch.c};\n')


def object_decl(typ):
    """struct Foo"""
    text = f'struct {typ.c} {{\n'
    if isinstance(typ, Alternate):
        text += '    QType type;\n'
        branches = typ.branches
    else:
        text += member_decls(typ.members)
        branches = [b for b in typ.variants if not is_empty(b.type)]
        if not typ.members:
            text += '    char q_unused;\n'
    if branches:
        text += '    union {\n'
        text += ''.join(branch_decl(b) for b in branches)
        text += '    } u;\n'
    text += '};\n'
    if not getattr(typ, 'implicit', False):
        text += f'QAPI_OBJECT_FUNCTIONS({typ.c})\n'
    else:
        text += f'extern const QapiType qapi_type_{typ.c};\n'
    base = getattr(typ, 'base', None)
    if base is not None:
        text += (f'\nstatic inline {base.c} *qapi_{typ.c}_base'
                 f'(const {typ.c} *obj)\n{{\n'
                 f'    return ({base.c} *)obj;\n}}\n')
    return guarded(typ.cond, text + '\n')


def list_decl(typ):
    """struct FooList"""
    text = (f'struct {typ.c} {{\n    {typ.c} *next;\n'
            f'    {typ.elem.c_member}value;\n}};\n'
            f'QAPI_LIST_FUNCTIONS({typ.c})\n\n')
    return guarded(typ.cond, text)


def header(schema):
    """qapi-types.h"""
    text = HEAD
    text += '#ifndef QAPI_TYPES_H\n#define QAPI_TYPES_H\n\n'
    text += '#include "qapi/qapi.h"\n\n'
    for enum in by_kind(schema, Enum):
        text += enum_decl(enum)
    named = in_order(schema) + by_kind(schema, List)
    for typ in named:
        text += guarded(typ.cond, f'typedef struct {typ.c} {typ.c};\n')
    text += '\n'
    for typ in by_kind(schema, List):
        text += list_decl(typ)
    for typ in in_order(schema):
        text += object_decl(typ)
    return text + '#endif\n'


# --- the tables ------------------------------------------------------------

def features_expr(features):
    """An initialiser for a member 'features'."""
    if not features:
        return 'NULL'
    text = '(const char *const[]){\n'
    for feature in features:
        text += guarded(feature.cond, f'    {c_string(feature.name)},\n')
    return text + '    NULL }'


def type_ref(typ):
    """The address of a type's table."""
    return f'&qapi_type_{typ.c}'


def enum_table(enum):
    """Names, and features of values."""
    text = f'static const char *const {enum.c}_values[] = {{\n'
    for value in enum.values:
        const = c_enum_const(enum.prefix, value.name)
        text += guarded(value.cond,
                        f'    [{const}] = {c_string(value.name)},\n')
    text += '};\n'
    featured = [v for v in enum.values if v.features]
    if featured:
        text += (f'static const QapiValueFeatures {enum.c}_value_features[] '
                 f'= {{\n')
        for value in featured:
            const = c_enum_const(enum.prefix, value.name)
            text += guarded(value.cond, f'    {{ {const}, '
                            f'{features_expr(value.features)} }},\n')
        text += '    { 0, NULL }\n};\n'
    text += f'const QapiType qapi_type_{enum.c} = {{\n'
    text += f'    .name = {c_string(enum.name)}, .kind = QAPI_KIND_ENUM,\n'
    text += f'    .size = sizeof({enum.c}),\n'
    text += f'    .features = {features_expr(enum.features)},\n'
    text += f'    .values = {enum.c}_values, .n_values = {enum.prefix}__MAX,\n'
    if featured:
        text += f'    .value_features = {enum.c}_value_features,\n'
    return guarded(enum.cond, text + '};\n\n')


def member_row(typ, member):
    """A QapiMember."""
    has = f'offsetof({typ.c}, has_{member.c})' if member.has else '-1'
    text = (f'    {{ {c_string(member.name)}, {type_ref(member.type)},\n'
            f'      offsetof({typ.c}, {member.c}), '
            f'{"true" if member.optional else "false"}, {has},\n'
            f'      {features_expr(member.features)} }},\n')
    return guarded(member.cond, text)


def variant_table(typ):
    """The branches of a union or an alternate."""
    text = f'static const QapiVariant {typ.c}_variants[] = {{\n'
    if isinstance(typ, Alternate):
        for branch in typ.branches:
            text += guarded(branch.cond, f'    {{ {qtype(branch.type)}, '
                            f'{type_ref(branch.type)} }},\n')
    else:
        for branch in typ.variants:
            const = c_enum_const(typ.tag.type.prefix, branch.name)
            text += guarded(branch.cond, f'    {{ {const}, '
                            f'{type_ref(branch.type)} }},\n')
    return text + '    { 0, NULL }\n};\n'


def qtype(typ):
    """The kind of JSON value that selects an alternate's branch."""
    return {'string': 'QTYPE_QSTRING', 'number': 'QTYPE_QNUM',
            'int': 'QTYPE_QNUM', 'boolean': 'QTYPE_QBOOL',
            'null': 'QTYPE_QNULL', 'object': 'QTYPE_QDICT',
            'array': 'QTYPE_QLIST'}[typ.json]


def object_table(typ):
    """Members, branches, and the type."""
    text = ''
    lines = [f'    .name = {c_string(typ.name)}, .size = sizeof({typ.c}),',
             f'    .features = {features_expr(typ.features)},']
    if isinstance(typ, Alternate):
        text += variant_table(typ)
        lines += ['    .kind = QAPI_KIND_ALTERNATE,',
                  f'    .tag_offset = offsetof({typ.c}, type),',
                  f'    .u_offset = offsetof({typ.c}, u),',
                  f'    .variants = {typ.c}_variants,']
    else:
        text += f'static const QapiMember {typ.c}_members[] = {{\n'
        text += ''.join(member_row(typ, m) for m in typ.members)
        text += '    { NULL }\n};\n'
        lines += ['    .kind = QAPI_KIND_OBJECT,',
                  f'    .members = {typ.c}_members,']
        if typ.tag is not None:
            text += variant_table(typ)
            lines += [f'    .tag = {c_string(typ.tag.name)}, '
                      f'.tag_type = {type_ref(typ.tag.type)},',
                      f'    .tag_offset = offsetof({typ.c}, {typ.tag.c}),',
                      f'    .variants = {typ.c}_variants,']
            if embedded_branches(typ):
                lines += [f'    .u_offset = offsetof({typ.c}, u),']
    text += f'const QapiType qapi_type_{typ.c} = {{\n'
    text += '\n'.join(lines) + '\n};\n\n'
    return guarded(typ.cond, text)


def list_table(typ):
    """A list's type."""
    text = (f'const QapiType qapi_type_{typ.c} = {{\n'
            f'    .name = {c_string(typ.name)}, .kind = QAPI_KIND_LIST,\n'
            f'    .size = sizeof({typ.c}), .elem = {type_ref(typ.elem)},\n'
            f'    .value_offset = offsetof({typ.c}, value),\n}};\n\n')
    return guarded(typ.cond, text)


def source(schema):
    """qapi-types.c"""
    text = HEAD
    text += '#include "util/osdep.h"\n#include "qapi/qapi-types.h"\n\n'
    for enum in by_kind(schema, Enum):
        text += enum_table(enum)
    for typ in by_kind(schema, List):
        text += list_table(typ)
    for typ in in_order(schema):
        text += object_table(typ)
    return text


