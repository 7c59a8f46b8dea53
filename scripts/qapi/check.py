# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Expressions -> the checked schema.

Two passes.  The first makes an object of each expression and checks its
form: known keys, values of the right shape, names.  The second resolves the
names of types and checks what depends on other definitions: bases, tags,
branches, clashes.  After it nothing in the schema is wrong, and the
generators need no checks.
"""

import re

from .common import QapiError
from .doc import Doc
from .model import (Alternate, Builtin, BUILTINS, Command, Entity, Enum,
                    EnumValue, Event, Feature, List, Member, Object)

KEYS = {
    # meta-type: (required keys, optional keys)
    'enum': ({'data'}, {'if', 'features', 'prefix'}),
    'struct': ({'data'}, {'base', 'if', 'features'}),
    'union': ({'base', 'discriminator', 'data'}, {'if', 'features'}),
    'alternate': ({'data'}, {'if', 'features'}),
    'command': (set(), {'data', 'returns', 'boxed', 'gen', 'if', 'features',
                        'success-response', 'allow-oob', 'allow-preconfig',
                        'coroutine'}),
    'event': (set(), {'data', 'boxed', 'if', 'features'}),
}

TYPE_NAME = re.compile(r'[A-Z][A-Za-z0-9]*$')
MEMBER_NAME = re.compile(r'[a-z0-9][A-Za-z0-9_-]*$')
EVENT_NAME = re.compile(r'[A-Z][A-Z0-9_]*$')
MACRO_NAME = re.compile(r'[A-Z][A-Z0-9_]*$')


class Schema:
    """What the generators work on."""

    def __init__(self, parser):
        self.files = parser.files
        self.not_built = parser.not_built
        self.doc_required = parser.doc_required
        self.types = {}
        self.commands = []
        self.events = []
        self.items = []               # all, with free Docs, in text order
        self.names = {}               # name -> Entity, for clashes
        for builtin in BUILTINS:
            self.types[builtin.name] = builtin
            self.names[builtin.name] = builtin
        self.add_type(Object('q_empty', [], implicit=True))
        for expr in parser.exprs:
            if isinstance(expr, Doc):
                self.items.append(expr)
            else:
                self.define(expr)
        self.check_not_built()
        for entity in list(self.names.values()):
            self.resolve(entity)
        for entity in list(self.names.values()):
            self.check_deep(entity)
        for entity in self.items:
            if isinstance(entity, Entity):
                self.check_doc(entity)

    # --- first pass: form -------------------------------------------------

    def define(self, expr):
        """Make and register the object of one expression."""
        keys, info = expr.keys, expr.info
        metas = [m for m in KEYS if m in keys]
        if len(metas) != 1:
            raise QapiError(info, 'expression must have exactly one of ' +
                            ', '.join(f"'{m}'" for m in KEYS))
        meta = metas[0]
        name = keys[meta]
        if not isinstance(name, str):
            raise QapiError(info, f"'{meta}' requires a string name")
        where = f"{meta} '{name}'"
        required, optional = KEYS[meta]
        for key in keys:
            if key != meta and key not in required | optional:
                raise QapiError(info, f"{where} has unknown key '{key}'")
        for key in sorted(required):
            if key not in keys:
                raise QapiError(info, f"{where} misses key '{key}'")
        if self.doc_required and expr.doc is None:
            raise QapiError(info, f'{where} has no documentation')
        if expr.doc and expr.doc.symbol != name:
            raise QapiError(expr.doc.info, f"documentation is for "
                            f"'{expr.doc.symbol}', but '{name}' follows")
        common = {'info': info, 'doc': expr.doc, 'module': expr.module,
                  'cond': self.cond(keys, info, where),
                  'features': self.features(keys, info, where)}
        self.check_name(meta, name, info)
        getattr(self, 'define_' + meta)(name, keys, where, common)

    def check_name(self, meta, name, info):
        """Names tell what they name."""
        pattern, kind = {
            'command': (MEMBER_NAME, 'lower case'),
            'event': (EVENT_NAME, 'UPPER CASE'),
        }.get(meta, (TYPE_NAME, 'CamelCase'))
        if not pattern.match(name) or name.startswith('q_'):
            raise QapiError(info, f"{meta} '{name}' must be named in {kind}")
        if meta not in ('command', 'event') and name.endswith('List'):
            raise QapiError(info, f"{meta} '{name}' must not end in 'List'")
        if name in self.names:
            other = self.names[name]
            raise QapiError(info, f"'{name}' is already defined" +
                            (f' at {other.info}' if other.info else ''))

    def register(self, entity):
        """Into the table of names and the text order."""
        self.names[entity.name] = entity
        self.items.append(entity)

    def add_type(self, typ):
        """A type, which is not necessarily a definition of the text."""
        self.names[typ.name] = typ
        self.types[typ.name] = typ
        return typ

    def define_enum(self, name, keys, where, common):
        """{'enum', 'data': [value or {'name', 'if', 'features'}]}"""
        info = common['info']
        if not isinstance(keys['data'], list):
            raise QapiError(info, f"'data' of {where} must be a list")
        prefix = keys.get('prefix')
        if prefix is not None and not isinstance(prefix, str):
            raise QapiError(info, f"'prefix' of {where} must be a string")
        values = []
        for item in keys['data']:
            item = {'name': item} if isinstance(item, str) else item
            if not isinstance(item, dict) or \
                    not isinstance(item.get('name'), str) or \
                    set(item) - {'name', 'if', 'features'}:
                raise QapiError(info, f'{where} has an invalid value')
            self.check_member_name(item['name'], f'{where} value', info)
            if item['name'] in (v.name for v in values):
                raise QapiError(info, f"{where} has value '{item['name']}' "
                                f"twice")
            values.append(EnumValue(item['name'], info,
                                    self.cond(item, info, where),
                                    self.features(item, info, where)))
        typ = Enum(name, values, prefix, **common)
        self.add_type(typ)
        self.register(typ)

    def define_struct(self, name, keys, where, common):
        """{'struct', 'base', 'data': {members}}"""
        base = keys.get('base')
        if base is not None and not isinstance(base, str):
            raise QapiError(common['info'],
                            f"'base' of {where} must be a type's name")
        typ = Object(name, self.members(keys['data'], where, common['info']),
                     base, **common)
        self.add_type(typ)
        self.register(typ)

    def define_union(self, name, keys, where, common):
        """{'union', 'base', 'discriminator', 'data': {branches}}"""
        info = common['info']
        base, own = keys['base'], []
        if isinstance(base, dict):
            own, base = self.members(base, where, info), None
        elif not isinstance(base, str):
            raise QapiError(info, f"'base' of {where} must be a type's name "
                            f"or an object")
        if not isinstance(keys['discriminator'], str):
            raise QapiError(info, f"'discriminator' of {where} must be a "
                            f"string")
        variants = self.members(keys['data'], where, info, branches=True)
        typ = Object(name, own, base, keys['discriminator'], variants,
                     **common)
        self.add_type(typ)
        self.register(typ)

    def define_alternate(self, name, keys, where, common):
        """{'alternate', 'data': {branches}}"""
        typ = Alternate(name, self.members(keys['data'], where,
                                           common['info'], branches=True),
                        **common)
        if not typ.branches:
            raise QapiError(common['info'], f'{where} has no branch')
        self.add_type(typ)
        self.register(typ)

    def define_command(self, name, keys, where, common):
        """{'command', 'data', 'returns', flags}"""
        info = common['info']
        flags = {}
        for key, default in (('boxed', False), ('gen', True),
                             ('success-response', True),
                             ('allow-oob', False), ('allow-preconfig', False),
                             ('coroutine', True)):
            value = keys.get(key, default)
            if not isinstance(value, bool):
                raise QapiError(info, f"'{key}' of {where} must be a boolean")
            flags[key.replace('-', '_')] = value
        del flags['coroutine']        # all our handlers are coroutines
        arg = self.argument(name, keys, where, common, flags['boxed'])
        command = Command(name, arg, keys.get('returns'), **common, **flags)
        self.register(command)
        if name not in self.not_built:
            self.commands.append(command)

    def define_event(self, name, keys, where, common):
        """{'event', 'data', 'boxed'}"""
        boxed = keys.get('boxed', False)
        if not isinstance(boxed, bool):
            raise QapiError(common['info'], f"'boxed' of {where} must be a "
                            f"boolean")
        arg = self.argument(name, keys, where, common, boxed)
        event = Event(name, arg, boxed, **common)
        self.register(event)
        if name not in self.not_built:
            self.events.append(event)

    def argument(self, name, keys, where, common, boxed):
        """'data': a type's name, members of a type without a name, or none."""
        data = keys.get('data')
        if isinstance(data, dict):
            if boxed:
                raise QapiError(common['info'], f"{where} is 'boxed', so its "
                                f"'data' must be a type's name")
            members = self.members(data, where, common['info'])
            if not members:
                return None
            return self.add_type(Object(f'q_obj_{name}-arg', members,
                                        info=common['info'],
                                        module=common['module'],
                                        cond=common['cond'], implicit=True))
        if data is not None and not isinstance(data, str):
            raise QapiError(common['info'], f"'data' of {where} must be an "
                            f"object or a type's name")
        if boxed and data is None:
            raise QapiError(common['info'], f"{where} is 'boxed' and so needs "
                            f"'data'")
        return data

    def members(self, data, where, info, branches=False):
        """{name: type or {'type', 'if', 'features'}}"""
        what = 'branch' if branches else 'member'
        if not isinstance(data, dict):
            raise QapiError(info, f"'data' of {where} must be an object")
        out = []
        for name, value in data.items():
            optional = name.startswith('*') and not branches
            name = name[1:] if optional else name
            self.check_member_name(name, f'{where} {what}', info)
            if not isinstance(value, dict):
                value = {'type': value}
            if 'type' not in value or set(value) - {'type', 'if', 'features'}:
                raise QapiError(info, f"{where} {what} '{name}' has missing "
                                f"or unknown keys")
            if branches and 'features' in value:
                raise QapiError(info, f"{where} branch '{name}' can't have "
                                f"features")
            out.append(Member(name, value['type'], info, optional,
                              self.cond(value, info, where),
                              self.features(value, info, where)))
        return out

    @staticmethod
    def check_member_name(name, where, info):
        """Names of members, branches and enum values."""
        if not MEMBER_NAME.match(name) or name == 'u' or \
                re.match(r'has[-_]', name):
            raise QapiError(info, f"{where} has invalid name '{name}'")

    def cond(self, keys, info, where):
        """The value of 'if', checked."""
        if 'if' not in keys:
            return None
        self.check_cond(keys['if'], info, where)
        return keys['if']

    def check_cond(self, cond, info, where):
        """A macro's name or one operator."""
        if isinstance(cond, str):
            if not MACRO_NAME.match(cond):
                raise QapiError(info, f"'if' condition '{cond}' of {where} "
                                f"is no macro's name")
            return
        if not isinstance(cond, dict) or len(cond) != 1:
            raise QapiError(info, f"'if' condition of {where} must be a "
                            f"string or an object with one key")
        (op, arg), = cond.items()
        if op == 'not':
            self.check_cond(arg, info, where)
        elif op in ('all', 'any') and isinstance(arg, list) and arg:
            for sub in arg:
                self.check_cond(sub, info, where)
        else:
            raise QapiError(info, f"'if' condition of {where} has an invalid "
                            f"'{op}'")

    def features(self, keys, info, where):
        """['name' or {'name', 'if'}]"""
        data = keys.get('features', [])
        if not isinstance(data, list):
            raise QapiError(info, f"'features' of {where} must be a list")
        out = []
        for item in data:
            item = {'name': item} if isinstance(item, str) else item
            if not isinstance(item, dict) or \
                    not isinstance(item.get('name'), str) or \
                    set(item) - {'name', 'if'}:
                raise QapiError(info, f'{where} has an invalid feature')
            if item['name'] in (f.name for f in out):
                raise QapiError(info, f"{where} has feature "
                                f"'{item['name']}' twice")
            out.append(Feature(item['name'], self.cond(item, info, where)))
        return out

    def check_not_built(self):
        """The list of what isn't there must not outlive what it lists."""
        for name, info in self.not_built.items():
            if not isinstance(self.names.get(name), (Command, Event)):
                raise QapiError(info, f"pragma 'not-built' names '{name}', "
                                f"which is no command and no event")

    # --- second pass: meaning ---------------------------------------------

    def lookup(self, ref, info, where):
        """The type that a reference means."""
        if isinstance(ref, list):
            if len(ref) != 1 or not isinstance(ref[0], str):
                raise QapiError(info, f"{where}: a list type is written "
                                f"['ELEMENT']")
            elem = self.lookup(ref[0], info, where)
            name = elem.name + 'List'
            if name not in self.types:
                self.types[name] = List(elem)
            return self.types[name]
        if not isinstance(ref, str):
            raise QapiError(info, f"{where} must be a type's name or a list "
                            f"of one")
        if ref not in self.types:
            raise QapiError(info, f"{where} uses unknown type '{ref}'")
        return self.types[ref]

    def resolve(self, entity):
        """Replace names by objects."""
        where = f"{entity.meta} '{entity.name}'"
        if isinstance(entity, Object):
            self.resolve_object(entity, ())
        elif isinstance(entity, Alternate):
            for branch in entity.branches:
                branch.type = self.lookup(branch.ref, branch.info,
                                          f"{where} branch '{branch.name}'")
        elif isinstance(entity, (Command, Event)):
            if isinstance(entity.arg, str):
                entity.arg = self.lookup(entity.arg, entity.info, where)
            if isinstance(entity, Command) and entity.ret is not None:
                entity.ret = self.lookup(entity.ret, entity.info,
                                         f"'returns' of {where}")

    def resolve_object(self, typ, derived):
        """Its base first; derived guards against bases in a circle."""
        if typ.members is not None:
            return
        where = f"type '{typ.name}'"
        if typ in derived:
            raise QapiError(typ.info, f'{where} is its own base')
        inherited = []
        if typ.base is not None:
            base = self.lookup(typ.base, typ.info, f"'base' of {where}")
            if not isinstance(base, Object) or base.tag is not None:
                raise QapiError(typ.info, f"'base' of {where} must be a "
                                f"struct, '{typ.base}' isn't")
            self.resolve_object(base, derived + (typ,))
            typ.base = base
            inherited = base.members
        for member in typ.own + typ.variants:
            member.type = self.lookup(member.ref, member.info,
                                      f"{where} member '{member.name}'")
        typ.members = inherited + typ.own

    def check_deep(self, entity):
        """What needs all types resolved."""
        if isinstance(entity, Object):
            self.check_clashes(entity)
            if entity.tag is not None:
                self.check_union(entity)
        elif isinstance(entity, Alternate):
            self.check_alternate(entity)
        elif isinstance(entity, (Command, Event)):
            self.check_argument(entity)

    @staticmethod
    def check_clashes(typ):
        """No two members of one name, in JSON or in C."""
        seen = {}
        for member in typ.members:
            if member.c in seen:
                raise QapiError(member.info, f"member '{member.name}' of "
                                f"'{typ.name}' clashes with member "
                                f"'{seen[member.c].name}'")
            seen[member.c] = member

    def check_union(self, typ):
        """Tag and branches."""
        name = typ.tag
        tag = next((m for m in typ.members if m.name == name), None)
        if tag is None:
            raise QapiError(typ.info, f"discriminator '{name}' is not a "
                            f"member of the base of '{typ.name}'")
        if not isinstance(tag.type, Enum):
            raise QapiError(typ.info, f"discriminator '{name}' of "
                            f"'{typ.name}' must be an enum")
        if tag.optional or tag.cond is not None:
            raise QapiError(typ.info, f"discriminator '{name}' of "
                            f"'{typ.name}' must not be optional")
        typ.tag = tag
        for branch in typ.variants:
            value = tag.type.find(branch.name)
            if value is None:
                raise QapiError(branch.info, f"branch '{branch.name}' of "
                                f"'{typ.name}' is not a value of "
                                f"'{tag.type.name}'")
            if not isinstance(branch.type, Object):
                raise QapiError(branch.info, f"branch '{branch.name}' of "
                                f"'{typ.name}' must be a struct or a union")
            branch.cond = branch.cond or value.cond
            names = {m.name for m in typ.members}
            for member in branch.type.members:
                if member.name in names:
                    raise QapiError(branch.info, f"member '{member.name}' of "
                                    f"branch '{branch.name}' clashes with "
                                    f"the base of '{typ.name}'")

    @staticmethod
    def check_alternate(typ):
        """Branches must differ in the kind of JSON value."""
        seen = {}
        for branch in typ.branches:
            kind = branch.type.json
            if kind in (None, 'value'):
                raise QapiError(branch.info, f"branch '{branch.name}' of "
                                f"alternate '{typ.name}' can't be of type "
                                f"'{branch.type.name}'")
            kind = 'number' if kind == 'int' else kind
            if kind in seen:
                raise QapiError(branch.info, f"branch '{branch.name}' of "
                                f"alternate '{typ.name}' can't be told from "
                                f"branch '{seen[kind]}'")
            seen[kind] = branch.name

    @staticmethod
    def check_argument(entity):
        """Only an object can be an argument; a union only boxed."""
        where = f"{entity.meta} '{entity.name}'"
        arg = entity.arg
        if arg is not None:
            if not isinstance(arg, Object):
                raise QapiError(entity.info, f"'data' of {where} must be a "
                                f"struct, '{arg.name}' isn't")
            if arg.tag is not None and not entity.boxed:
                raise QapiError(entity.info, f"'data' of {where} is a union, "
                                f"so it must be 'boxed'")
            if not entity.boxed and any(m.cond for m in arg.members):
                raise QapiError(entity.info, f"'data' of {where} has "
                                f"conditional members, so it must be "
                                f"'boxed'")
        ret = getattr(entity, 'ret', None)
        if isinstance(ret, Builtin) and ret.name == 'null':
            raise QapiError(entity.info, f"{where} can't return 'null'")

    @staticmethod
    def check_doc(entity):
        """Documented members must exist."""
        if entity.doc is None:
            return
        if isinstance(entity, Enum):
            members = {v.name for v in entity.values}
        elif isinstance(entity, Alternate):
            members = {b.name for b in entity.branches}
        else:
            obj = entity if isinstance(entity, Object) else entity.arg
            members = {m.name for m in obj.members} if obj else set()
        features = {f.name for f in entity.features}
        for owner in getattr(entity, 'own', []) or \
                getattr(entity, 'values', []) or \
                (getattr(entity, 'arg', None) and entity.arg.own) or []:
            features |= {f.name for f in owner.features}
        entity.doc.check(entity.meta, members, features)
