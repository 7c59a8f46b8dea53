# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The schema as objects, once it has been checked.

Every type knows three things of its C side: its C type where it stands by
value (c_value), as a member or list element (c_member), and whether that is
a pointer, so that NULL can mean "absent".
"""

from .common import c_enum_prefix, c_name


class Feature:
    """A feature string that introspection shows."""

    def __init__(self, name, cond):
        self.name = name
        self.cond = cond


class Entity:
    """Anything that has a name at the top level of the schema."""

    meta = None

    def __init__(self, name, info=None, doc=None, module=None, cond=None,
                 features=()):
        self.name = name
        self.info = info
        self.doc = doc
        self.module = module
        self.cond = cond
        self.features = list(features)


class Type(Entity):
    """Base of all types."""

    is_pointer = True

    def __init__(self, name, *args, **kw):
        super().__init__(name, *args, **kw)
        self.c = name

    @property
    def c_value(self):
        """The C type by value."""
        return self.c

    @property
    def c_member(self):
        """The C type of a member, with what separates it from the name."""
        return self.c + ' *'

    @property
    def c_param(self):
        """The C type of a parameter."""
        return self.c_member


class Builtin(Type):
    """str, int, size, ..."""

    meta = 'builtin'

    def __init__(self, name, c_type, json):
        super().__init__(name)
        self.c_type = c_type
        self.json = json
        self.is_pointer = c_type.endswith('*')

    @property
    def c_value(self):
        return self.c_type.rstrip(' *') if self.name == 'any' else self.c_type

    @property
    def c_member(self):
        return self.c_type if self.is_pointer else self.c_type + ' '

    @property
    def c_param(self):
        return 'const char *' if self.name == 'str' else self.c_member


BUILTINS = [Builtin(*row) for row in (
    ('str', 'char *', 'string'),
    ('number', 'double', 'number'),
    ('int', 'int64_t', 'int'),
    ('int8', 'int8_t', 'int'),
    ('int16', 'int16_t', 'int'),
    ('int32', 'int32_t', 'int'),
    ('int64', 'int64_t', 'int'),
    ('uint8', 'uint8_t', 'int'),
    ('uint16', 'uint16_t', 'int'),
    ('uint32', 'uint32_t', 'int'),
    ('uint64', 'uint64_t', 'int'),
    ('size', 'uint64_t', 'int'),
    ('bool', 'bool', 'boolean'),
    ('null', 'QapiNull', 'null'),
    ('any', 'json_t *', 'value'),
)]


class List(Type):
    """['elem']; made where it is first needed."""

    meta = 'list'

    def __init__(self, elem):
        super().__init__(elem.name + 'List')
        self.elem = elem
        self.cond = elem.cond

    json = 'array'


class EnumValue:
    """One value of an enum."""

    def __init__(self, name, info, cond, features):
        self.name = name
        self.info = info
        self.cond = cond
        self.features = features


class Enum(Type):
    """values: EnumValue in order."""

    meta = 'enum'
    json = 'string'
    is_pointer = False

    def __init__(self, name, values, prefix, **kw):
        super().__init__(name, **kw)
        self.values = values
        self.prefix = prefix or c_enum_prefix(name)

    @property
    def c_member(self):
        return self.c + ' '

    def find(self, name):
        """The value of that name, or None."""
        for value in self.values:
            if value.name == name:
                return value
        return None


class Member:
    """A member of an object, an argument, or a branch."""

    def __init__(self, name, ref, info, optional=False, cond=None,
                 features=()):
        self.name = name
        self.c = c_name(name)
        self.ref = ref                # what the schema says, until resolved
        self.type = None
        self.info = info
        self.optional = optional
        self.cond = cond
        self.features = list(features)

    @property
    def has(self):
        """Is there a has_ flag beside the C member?"""
        return self.optional and (not self.type.is_pointer or
                                  isinstance(self.type, List))


class Object(Type):
    """A struct or, if it has a tag, a flat union.

    own is what the definition itself lists; members includes the base's,
    which come first, as they do in C.  variants: Member by tag value.
    """

    meta = 'object'
    json = 'object'

    def __init__(self, name, own, base=None, tag=None, variants=(),
                 implicit=False, **kw):
        super().__init__(name, **kw)
        self.c = c_name(name)
        self.own = own
        self.base = base              # name, then Object
        self.members = None
        self.tag = tag                # name, then Member
        self.variants = list(variants)
        self.implicit = implicit


class Alternate(Type):
    """branches: Member; told apart by the kind of the JSON value."""

    meta = 'alternate'
    json = None

    def __init__(self, name, branches, **kw):
        super().__init__(name, **kw)
        self.branches = branches


class Command(Entity):
    """arg is None, an Object, or with boxed=True any Object."""

    meta = 'command'

    def __init__(self, name, arg, ret, **kw):
        flags = {k: kw.pop(k) for k in ('boxed', 'gen', 'success_response',
                                        'allow_oob', 'allow_preconfig')}
        super().__init__(name, **kw)
        self.arg = arg
        self.ret = ret
        self.c = c_name(name)
        self.boxed = flags['boxed']
        self.gen = flags['gen']
        self.success_response = flags['success_response']
        self.allow_oob = flags['allow_oob']
        self.allow_preconfig = flags['allow_preconfig']


class Event(Entity):
    """Like a command without a return."""

    meta = 'event'

    def __init__(self, name, arg, boxed, **kw):
        super().__init__(name, **kw)
        self.arg = arg
        self.boxed = boxed
        self.c = c_name(name)
