#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Our interface beside QEMU's.

Usage: compare_interface.py REFERENCE DUMP-PROGRAM

REFERENCE is a text that lists the interface of QEMU's storage daemon (its
head explains the notation); DUMP-PROGRAM prints what our query-qmp-schema
returns.  For each command and event that we offer:

- what a client may send to QEMU, it may send to us: every argument is there,
  of a type that takes every value that QEMU's takes, and is optional where
  QEMU's is; what we have besides is optional;
- what a client may read from QEMU, it finds with us: every returned member is
  there, of a compatible type, and always there where QEMU's always is;
- features are the same.

MISSING lists what is not built yet.  An entry that isn't missing any more is
an error, too, so that the list shrinks with the work.  EXTENSIONS lists the
commands and values that QEMU lacks.

Exits with 77 (skipped) if the reference isn't there.
"""

import json
import os
import re
import subprocess
import sys

# Where (a type of the reference, or command and member) -> what.
MISSING = {
    # drivers
    'T111': {'blkverify', 'luks',
             'quorum', 'rbd'},
    'T136': {'encrypt'},
    'T368': {'encrypt'},
    'T255': {'encrypt'},
    'T225 type': {'luks', 'rbd'},
    # exports
    'block-export-add type': {'fuse', 'vhost-user-blk', 'vduse-blk'},
    'T66 type': {'fuse', 'vhost-user-blk', 'vduse-blk'},
    # objects
    'T176': {'secret_keyring'},
    # actions of transactions
}

# The same for what we have and QEMU hasn't; 'commands' and 'events' by name.
EXTENSIONS = {
    'commands': {'block-dirty-bitmap-populate', 'query-bitmap-chain',
                 'query-nbd-servers',
                 'block-snapshot-delete'},
    'events': {'BLOCK_EXPORT_COVERED', 'BLOCK_SNAPSHOT_BROKEN'},
    'T92': {'bitmap-populate'},
    'T287': {'block-dirty-bitmap-populate'},
}


class Enum:
    """values: a set."""

    def __init__(self, values):
        self.values = set(values)


class Array:
    """elem: a reference to a type."""

    def __init__(self, elem):
        self.elem = elem


class Alternate:
    """branches: references to types."""

    def __init__(self, branches):
        self.branches = branches


class Object:
    """members: name -> (reference, optional, features)."""

    def __init__(self, members, tag=None, variants=None):
        self.members = members
        self.tag = tag
        self.variants = variants or {}


class Builtin:
    """str, int, number, bool, null, any."""

    def __init__(self, name):
        self.name = name


BUILTINS = ('str', 'int', 'number', 'bool', 'null', 'any')


# --- the reference ---------------------------------------------------------

class Text:
    """A line of the reference, read from the left."""

    def __init__(self, text):
        self.text = text
        self.pos = 0

    def match(self, pattern):
        """Take what matches here, or nothing."""
        match = re.compile(pattern).match(self.text, self.pos)
        if match:
            self.pos = match.end()
        return match

    def need(self, pattern):
        """Take what must match here."""
        match = self.match(pattern)
        if not match:
            raise ValueError(f'{pattern!r} expected at '
                             f'{self.text[self.pos:][:40]!r}')
        return match


def read_type(text):
    """X, [X], (a|b), Tn"""
    if text.match(r'\['):
        elem = read_type(text)
        text.need(r'\]')
        return Array(elem)
    if text.match(r'\('):
        return Enum(text.need(r'([^)]*)\)').group(1).split('|'))
    return text.need(r'\w+').group()


def read_features(text):
    """{a, b}, if there"""
    match = text.match(r'\s+\{([^}]*)\}')
    return set(match.group(1).split(', ')) if match else set()


def read_object(text, end):
    """Members and variants up to end."""
    members, tag, variants = {}, None, {}
    while not text.match(end):
        if text.match(r' ?/'):
            tag = text.need(r'([^/]*)/ ').group(1)
            variants = read_variants(text)
            continue
        name = text.need(r'(?:, )?([\w-]+)').group(1)
        optional = text.match(r'\?') is not None
        text.need(': ')
        members[name] = (read_type(text), optional, read_features(text))
    return Object(members, tag, variants)


def read_variants(text):
    """case -> Tn; ..."""
    out = {}
    while True:
        match = text.match(r'(?:; )?([\w-]+) -> (T\d+)')
        if not match:
            return out
        out[match.group(1)] = match.group(2)


def read_typedef(text):
    """After the name: {..}, enum: or alternate:"""
    if text.match(r' enum: '):
        return Enum(text.need(r'.*').group().split(' | '))
    if text.match(r' alternate: '):
        out = [read_type(text)]
        while text.match(r' \| '):
            out.append(read_type(text))
        return Alternate(out)
    text.need(r' \{')
    obj = read_object(text, r'\}')
    if text.match(' /'):
        obj.tag = text.need(r'([^/]*)/ ').group(1)
        obj.variants = read_variants(text)
    return obj


def read_reference(path):
    """(commands, events, types): name -> (argument, returned, features)"""
    tables = {'commands': {}, 'events': {}, 'types': {}}
    table = None
    with open(path, encoding='utf-8') as f:
        for line in f:
            head = re.match(r'## (\w+)', line)
            if head:
                table = tables[head.group(1)]
            if not line.startswith('- ') or table is None:
                continue
            text = Text(line.rstrip('\n'))
            name = text.need(r'- ([\w-]+)').group(1)
            if table is tables['types']:
                table[name] = read_typedef(text)
                continue
            text.need(r' \(')
            arg = read_object(text, r'\)')
            ret = read_type(text) if text.match(r' -> ') else None
            table[name] = (arg, ret, read_features(text))
    return tables['commands'], tables['events'], tables['types']


# --- ours ------------------------------------------------------------------

def read_dump(program):
    """The same of what the program prints."""
    schema = json.loads(subprocess.run([program], check=True,
                                       stdout=subprocess.PIPE).stdout)
    commands, events, types = {}, {}, {}
    for entry in schema:
        features = set(entry.get('features', ()))
        meta, name = entry['meta-type'], entry['name']
        if meta == 'command':
            commands[name] = (entry['arg-type'], entry['ret-type'], features)
        elif meta == 'event':
            events[name] = (entry['arg-type'], None, features)
        elif meta == 'builtin':
            types[name] = Builtin(name)
        elif meta == 'enum':
            types[name] = Enum(m['name'] for m in entry['members'])
        elif meta == 'array':
            types[name] = Array(entry['element-type'])
        elif meta == 'alternate':
            types[name] = Alternate([m['type'] for m in entry['members']])
        else:
            types[name] = Object(
                {m['name']: (m['type'], 'default' in m,
                             set(m.get('features', ())))
                 for m in entry['members']}, entry.get('tag'),
                {v['case']: v['type'] for v in entry.get('variants', ())})
    return commands, events, types


# --- the comparison --------------------------------------------------------

class Comparison:
    """Collects what is wrong."""

    def __init__(self, theirs, ours):
        self.theirs = theirs          # types
        self.ours = ours
        self.wrong = []
        self.seen = set()
        self.used = {}                # of MISSING
        self.extended = {}            # of EXTENSIONS

    def their(self, ref):
        """A type of the reference."""
        if isinstance(ref, str):
            return Builtin(ref) if ref in BUILTINS else self.theirs[ref]
        return ref

    def our(self, ref):
        """A type of ours."""
        return self.ours[ref]

    def known(self, where, what):
        """Is it listed as missing?"""
        if what in MISSING.get(where, ()):
            self.used.setdefault(where, set()).add(what)
            return True
        return False

    def extension(self, where, what):
        """Is it listed as an extension?"""
        if what in EXTENSIONS.get(where, ()):
            self.extended.setdefault(where, set()).add(what)
            return True
        return False

    def fail(self, where, text):
        """Something is wrong."""
        self.wrong.append(f'{where}: {text}')

    def compare(self, where, their_ref, our_ref, sent):
        """Types; sent: from the client to us, else from us to the client."""
        if isinstance(their_ref, str):
            if (their_ref, our_ref, sent) in self.seen:
                return
            self.seen.add((their_ref, our_ref, sent))
            if their_ref not in BUILTINS:
                where = their_ref
        their, our = self.their(their_ref), self.our(our_ref)
        if isinstance(their, Builtin):
            self.compare_builtin(where, their, our, sent)
        elif isinstance(their, Alternate) or isinstance(our, Alternate):
            self.compare_alternate(where, their_ref, our_ref, sent)
        elif type(their) is not type(our):
            self.fail(where, f'theirs is {type(their).__name__}, '
                             f'ours is {type(our).__name__}')
        elif isinstance(their, Enum):
            self.compare_enum(where, their, our)
        elif isinstance(their, Array):
            self.compare(where, their.elem, our.elem, sent)
        else:
            self.compare_object(where, their, our, sent)

    def compare_builtin(self, where, their, our, sent):
        """The same, or an alternate that takes it."""
        if isinstance(our, Alternate) and sent:
            if any(isinstance(self.our(b), Builtin) and
                   self.our(b).name == their.name for b in our.branches):
                return
        if isinstance(our, Enum) and their.name == 'str' and not sent:
            return
        if not isinstance(our, Builtin) or our.name != their.name:
            self.fail(where, f'theirs is {their.name}')

    def kind(self, typ):
        """What tells branches apart."""
        if isinstance(typ, Builtin):
            return typ.name
        return 'str' if isinstance(typ, Enum) else type(typ).__name__

    def compare_alternate(self, where, their_ref, our_ref, sent):
        """Each of their branches has one of ours (or ours theirs)."""
        their, our = self.their(their_ref), self.our(our_ref)
        theirs = their.branches if isinstance(their, Alternate) \
            else [their_ref]
        ours = our.branches if isinstance(our, Alternate) else [our_ref]
        for branch in theirs:
            kind = self.kind(self.their(branch))
            match = [b for b in ours if self.kind(self.our(b)) == kind]
            if match:
                self.compare(where, branch, match[0], sent)
            elif sent:
                self.fail(where, f'no branch takes their {kind}')

    def compare_enum(self, where, their, our):
        """The same values, but for those that are listed."""
        for value in sorted(their.values - our.values):
            if not self.known(where, value):
                self.fail(where, f"misses value '{value}'")
        for value in sorted(our.values - their.values):
            if not self.extension(where, value):
                self.fail(where, f"has value '{value}', which QEMU has not")

    def compare_object(self, where, their, our, sent):
        """Members, then variants."""
        self.compare_members(where, their, our, sent)
        if their.tag is None:
            return
        if their.tag != our.tag:
            self.fail(where, f"is not told apart by '{their.tag}'")
            return
        cases = self.their(their.members[their.tag][0]).values
        for case, ref in their.variants.items():
            if case not in cases:
                continue                    # the tag never says so
            if case in our.variants:
                self.compare(f'{where} {case}', ref, our.variants[case],
                             sent)
            elif not any(case in missing for missing in MISSING.values()):
                self.fail(where, f"misses case '{case}'")

    def compare_members(self, where, their, our, sent):
        """Members alone."""
        for name, (ref, optional, features) in their.members.items():
            if name not in our.members:
                if not self.known(where, name):
                    self.fail(where, f"misses member '{name}'")
                continue
            our_ref, our_optional, our_features = our.members[name]
            if sent and optional and not our_optional:
                self.fail(where, f"member '{name}' must be optional")
            if not sent and our_optional and not optional:
                self.fail(where, f"member '{name}' must not be optional")
            if features - our_features:
                self.fail(where, f"member '{name}' lacks {features}")
            self.compare(f'{where} {name}', ref, our_ref, sent)
        if sent:
            for name in set(our.members) - set(their.members):
                if not our.members[name][1]:
                    self.fail(where, f"additional member '{name}' must be "
                              f"optional")

    def compare_entries(self, theirs, ours, sent):
        """Commands or events."""
        for name, (arg, ret, features) in sorted(ours.items()):
            if name not in theirs:
                if not self.extension('commands' if sent else 'events', name):
                    self.fail(name, 'is unknown to QEMU')
                continue
            their_arg, their_ret, their_features = theirs[name]
            if features != their_features:
                self.fail(name, f"features are {sorted(features)}, QEMU's "
                          f"{sorted(their_features)}")
            self.compare(name, their_arg, arg, sent)
            if their_ret is not None:
                self.compare(f'{name} returns', their_ret, ret, False)
            elif ret is not None and ret != '0' and \
                    self.our(ret).members:
                self.fail(name, 'returns something')

    def check_lists(self):
        """What is listed as missing must be missing; likewise extensions."""
        for where, what in MISSING.items():
            for name in sorted(what - self.used.get(where, set())):
                self.fail(where, f"'{name}' is no longer missing: take it "
                          f"off the list in {os.path.basename(__file__)}")
        for where, what in EXTENSIONS.items():
            for name in sorted(what - self.extended.get(where, set())):
                self.fail(where, f"'{name}' is no extension")


def main():
    """The program."""
    reference, program = sys.argv[1:]
    if not os.path.exists(reference):
        print(f'skipped: {os.path.basename(reference)} is not there')
        return 77
    commands, events, types = read_reference(reference)
    our_commands, our_events, our_types = read_dump(program)
    comparison = Comparison(types, our_types)
    comparison.compare_entries(commands, our_commands, True)
    comparison.compare_entries(events, our_events, False)
    comparison.check_lists()
    for text in comparison.wrong:
        print(text)
    print(f'{len(our_commands)} of {len(commands)} commands, '
          f'{len(our_events)} of {len(events)} events, '
          f'{len(comparison.seen)} types compared, '
          f'{len(comparison.wrong)} wrong')
    return 1 if comparison.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
