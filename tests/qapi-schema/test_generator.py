#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Wrong schemas: each must fail at its line, with words that help.

Usage: test_generator.py [SCRIPTS-FOLDER]
"""

import contextlib
import io
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, '..', '..', 'scripts')
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)

# pylint: disable=wrong-import-position
from qapi import gen_docs, main                           # noqa: E402
from qapi.common import QapiError, c_enum_prefix, c_name  # noqa: E402

ENUM = "{ 'enum': 'E', 'data': [ 'a', 'b' ] }\n"
STRUCT = "{ 'struct': 'S', 'data': { 'x': 'str' } }\n"
UNION = ("{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e',\n"
         "  'data': { 'a': 'S' } }\n")

# (name, schema, line of the error, message)
CASES = [
    # the lexer
    ('stray', '{ foo }', 1, "stray 'foo'"),
    ('stray-char', '\n;', 2, "stray ';'"),
    ('open-string', "{ 'foo\n': 1 }", 1, 'missing terminating "\'"'),
    ('funny-string', "{ 'fo\\o': true }", 1, 'funny character in string'),
    ('number', "{ 'a': 1 }", 1, "stray '1'"),
    ('doc-open', '##\n# @x:', 1, "documentation comment has no closing "
     "'##'"),
    ('doc-line', '##\nfoo\n##\n', 2, "a documentation comment's lines begin "
     "with '# '"),
    # the parser
    ('no-object', "'foo'", 1, "expected '{', got string 'foo'"),
    ('no-colon', "{ 'a' 'b' }", 1, "expected ':', got string 'b'"),
    ('no-comma', "{ 'a': 'b'\n 'c': 'd' }", 2,
     "expected ',' or '}', got string 'c'"),
    ('trailing-comma', "{ 'a': 'b', }", 1, "expected string, got '}'"),
    ('trailing-comma-list', "{ 'a': [ 'b', ] }", 1,
     "expected a value, got ']'"),
    ('end', "{ 'a':\n", 2, 'expected a value, got end of file'),
    ('duplicate-key', "{ 'a': 'b',\n 'a': 'c' }", 2, "duplicate key 'a'"),
    ('include', "{ 'include': 'no-such-file.json' }", 1,
     "can't read '{dir}/no-such-file.json': No such file or directory"),
    ('include-type', "{ 'include': true }", 1,
     "value of 'include' must be a string"),
    ('include-extra', "{ 'include': 'x', 'y': 'z' }", 1,
     "invalid 'include' directive"),
    ('pragma', "{ 'pragma': { 'x': true } }", 1, "unknown pragma 'x'"),
    ('pragma-type', "{ 'pragma': { 'not-built': true } }", 1,
     "pragma 'not-built' takes a list"),
    ('pragma-object', "{ 'pragma': [] }", 1,
     "value of 'pragma' must be an object"),
    ('not-built', "{ 'pragma': { 'not-built': [ 'x' ] } }", 1,
     "pragma 'not-built' names 'x', which is no command and no event"),
    ('doc-alone', '##\n# @x:\n##\n', 1,
     "documentation of 'x' is not followed by its definition"),
    ('doc-other', '##\n# @x:\n##\n' + STRUCT, 1,
     "documentation is for 'x', but 'S' follows"),
    ('doc-member', '##\n# @S:\n#\n# @y: not there\n##\n' + STRUCT, 1,
     "object 'S' has no member 'y' to document"),
    ('doc-twice', '##\n# @S:\n#\n# @x: a\n#\n# @x: b\n##\n' + STRUCT, 1,
     "'x' is documented twice"),
    ('doc-feature', '##\n# @S:\n#\n# Features:\n#\n# @f: a\n##\n' + STRUCT, 1,
     "object 'S' has no feature 'f' to document"),
    ('doc-required', "{ 'pragma': { 'doc-required': true } }\n" + STRUCT, 2,
     "struct 'S' has no documentation"),
    # forms
    ('unknown-meta', "{ 'foo': 'X' }", 1, "expression must have exactly one "
     "of 'enum', 'struct', 'union', 'alternate', 'command', 'event'"),
    ('two-metas', "{ 'enum': 'X', 'struct': 'Y' }", 1,
     "expression must have exactly one of 'enum', 'struct', 'union', "
     "'alternate', 'command', 'event'"),
    ('name-type', "{ 'enum': [] }", 1, "'enum' requires a string name"),
    ('unknown-key', "{ 'enum': 'E', 'data': [], 'base': 'x' }", 1,
     "enum 'E' has unknown key 'base'"),
    ('missing-key', "{ 'struct': 'S' }", 1, "struct 'S' misses key 'data'"),
    ('name-case', "{ 'struct': 'foo', 'data': {} }", 1,
     "struct 'foo' must be named in CamelCase"),
    ('name-command', "{ 'command': 'Foo' }", 1,
     "command 'Foo' must be named in lower case"),
    ('name-event', "{ 'event': 'foo' }", 1,
     "event 'foo' must be named in UPPER CASE"),
    ('name-list', "{ 'struct': 'FooList', 'data': {} }", 1,
     "struct 'FooList' must not end in 'List'"),
    ('name-twice', STRUCT + ENUM.replace("'E'", "'S'"), 2,
     "'S' is already defined at {file}:1"),
    ('member-name', "{ 'struct': 'S', 'data': { 'has-x': 'str' } }", 1,
     "struct 'S' member has invalid name 'has-x'"),
    ('member-u', "{ 'struct': 'S', 'data': { '*u': 'str' } }", 1,
     "struct 'S' member has invalid name 'u'"),
    ('member-keys', "{ 'struct': 'S', 'data': { 'x': { 'typ': 'str' } } }", 1,
     "struct 'S' member 'x' has missing or unknown keys"),
    ('struct-data', "{ 'struct': 'S', 'data': [ 'x' ] }", 1,
     "'data' of struct 'S' must be an object"),
    ('enum-data', "{ 'enum': 'E', 'data': {} }", 1,
     "'data' of enum 'E' must be a list"),
    ('enum-twice', "{ 'enum': 'E', 'data': [ 'a', 'a' ] }", 1,
     "enum 'E' has value 'a' twice"),
    ('enum-value', "{ 'enum': 'E', 'data': [ [ 'a' ] ] }", 1,
     "enum 'E' has an invalid value"),
    ('enum-prefix', "{ 'enum': 'E', 'data': [ 'a' ], 'prefix': true }", 1,
     "'prefix' of enum 'E' must be a string"),
    ('features', "{ 'struct': 'S', 'data': {}, 'features': 'x' }", 1,
     "'features' of struct 'S' must be a list"),
    ('feature', "{ 'struct': 'S', 'data': {}, 'features': [ true ] }", 1,
     "struct 'S' has an invalid feature"),
    ('feature-twice', "{ 'event': 'E', 'features': [ 'x', 'x' ] }", 1,
     "event 'E' has feature 'x' twice"),
    ('if', "{ 'event': 'E', 'if': 'defined(X)' }", 1,
     "'if' condition 'defined(X)' of event 'E' is no macro's name"),
    ('if-op', "{ 'event': 'E', 'if': { 'and': [ 'X' ] } }", 1,
     "'if' condition of event 'E' has an invalid 'and'"),
    ('if-empty', "{ 'event': 'E', 'if': { 'all': [] } }", 1,
     "'if' condition of event 'E' has an invalid 'all'"),
    ('if-list', "{ 'event': 'E', 'if': [ 'X' ] }", 1,
     "'if' condition of event 'E' must be a string or an object with one "
     "key"),
    ('flag', "{ 'command': 'c', 'gen': 'no' }", 1,
     "'gen' of command 'c' must be a boolean"),
    ('boxed-inline', "{ 'command': 'c', 'boxed': true, 'data': {} }", 1,
     "command 'c' is 'boxed', so its 'data' must be a type's name"),
    ('boxed-none', "{ 'event': 'E', 'boxed': true }", 1,
     "event 'E' is 'boxed' and so needs 'data'"),
    ('data-list', "{ 'command': 'c', 'data': [ 'str' ] }", 1,
     "'data' of command 'c' must be an object or a type's name"),
    # meaning
    ('unknown-type', "{ 'struct': 'S', 'data': { 'x': 'Y' } }", 1,
     "type 'S' member 'x' uses unknown type 'Y'"),
    ('list-form', "{ 'struct': 'S', 'data': { 'x': [ 'str', 'int' ] } }", 1,
     "type 'S' member 'x': a list type is written ['ELEMENT']"),
    ('base-unknown', "{ 'struct': 'S', 'base': 'B', 'data': {} }", 1,
     "'base' of type 'S' uses unknown type 'B'"),
    ('base-enum', ENUM + "{ 'struct': 'S', 'base': 'E', 'data': {} }", 2,
     "'base' of type 'S' must be a struct, 'E' isn't"),
    ('base-union', ENUM + STRUCT + UNION +
     "{ 'struct': 'D', 'base': 'U', 'data': {} }", 5,
     "'base' of type 'D' must be a struct, 'U' isn't"),
    ('base-circle', "{ 'struct': 'A', 'base': 'B', 'data': {} }\n"
     "{ 'struct': 'B', 'base': 'A', 'data': {} }", 1,
     "type 'A' is its own base"),
    ('base-clash', STRUCT +
     "{ 'struct': 'D', 'base': 'S', 'data': { 'x': 'int' } }", 2,
     "member 'x' of 'D' clashes with member 'x'"),
    ('c-clash', "{ 'struct': 'S', 'data': { 'a-b': 'int', 'a_b': 'int' } }",
     1, "member 'a_b' of 'S' clashes with member 'a-b'"),
    ('tag-missing', ENUM + STRUCT + UNION.replace("{ 'e': 'E' }",
                                                  "{ 'f': 'E' }"), 3,
     "discriminator 'e' is not a member of the base of 'U'"),
    ('tag-type', ENUM + STRUCT + UNION.replace("'E'", "'str'"), 3,
     "discriminator 'e' of 'U' must be an enum"),
    ('tag-optional', ENUM + STRUCT + UNION.replace("{ 'e'", "{ '*e'"), 3,
     "discriminator 'e' of 'U' must not be optional"),
    ('branch-value', ENUM + STRUCT + UNION.replace("{ 'a'", "{ 'c'"), 3,
     "branch 'c' of 'U' is not a value of 'E'"),
    ('branch-type', ENUM + STRUCT + UNION.replace("'S'", "'str'"), 3,
     "branch 'a' of 'U' must be a struct or a union"),
    ('branch-clash', ENUM + STRUCT + UNION.replace("'e'", "'x'"), 3,
     "member 'x' of branch 'a' clashes with the base of 'U'"),
    ('alternate-empty', "{ 'alternate': 'A', 'data': {} }", 1,
     "alternate 'A' has no branch"),
    ('alternate-any', "{ 'alternate': 'A', 'data': { 'a': 'any' } }", 1,
     "branch 'a' of alternate 'A' can't be of type 'any'"),
    ('alternate-same', ENUM +
     "{ 'alternate': 'A', 'data': { 'a': 'str', 'b': 'E' } }", 2,
     "branch 'b' of alternate 'A' can't be told from branch 'a'"),
    ('alternate-number',
     "{ 'alternate': 'A', 'data': { 'a': 'int', 'b': 'number' } }", 1,
     "branch 'b' of alternate 'A' can't be told from branch 'a'"),
    ('command-enum', ENUM + "{ 'command': 'c', 'data': 'E' }", 2,
     "'data' of command 'c' must be a struct, 'E' isn't"),
    ('command-union', ENUM + STRUCT + UNION +
     "{ 'command': 'c', 'data': 'U' }", 5,
     "'data' of command 'c' is a union, so it must be 'boxed'"),
    ('command-cond',
     "{ 'command': 'c', 'data': { 'x': { 'type': 'int', 'if': 'X' } } }", 1,
     "'data' of command 'c' has conditional members, so it must be 'boxed'"),
    ('returns', "{ 'command': 'c', 'returns': 'X' }", 1,
     "'returns' of command 'c' uses unknown type 'X'"),
]


class Generator(unittest.TestCase):
    """The generator on small schemas."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name

    def write(self, text, name='schema.json'):
        """A schema file's path."""
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def test_errors(self):
        """All CASES."""
        for name, text, line, message in CASES:
            with self.subTest(name):
                path = self.write(text)
                with self.assertRaises(QapiError) as caught:
                    main.load(path)
                message = message.replace('{dir}', self.dir)
                message = message.replace('{file}', path)
                self.assertEqual(str(caught.exception),
                                 f'{path}:{line}: {message}')

    def test_error_in_include(self):
        """The place is in the included file; the program fails."""
        inner = self.write("\n{ 'struct': 'S' }", 'inner.json')
        outer = self.write("{ 'include': 'inner.json' }")
        stderr, argv = io.StringIO(), sys.argv
        sys.argv = ['qapi-gen', '-o', self.dir, outer]
        try:
            with contextlib.redirect_stderr(stderr):
                self.assertEqual(main.main(), 1)
        finally:
            sys.argv = argv
        self.assertEqual(stderr.getvalue(),
                         f"{inner}:2: struct 'S' misses key 'data'\n")
        self.assertEqual(sorted(os.listdir(self.dir)),
                         ['inner.json', 'schema.json'])

    def test_include_once(self):
        """A file that is included twice counts once; circles end."""
        self.write("{ 'include': 'schema.json' }\n" + STRUCT, 'inner.json')
        path = self.write("{ 'include': 'inner.json' }\n"
                          "{ 'include': 'inner.json' }")
        schema = main.load(path)
        self.assertIn('S', schema.types)
        self.assertEqual(len(schema.files), 2)

    def test_not_built(self):
        """What is not built is known, but not offered."""
        schema = main.load(self.write(
            "{ 'pragma': { 'not-built': [ 'c', 'E' ] } }\n"
            "{ 'command': 'c' }\n{ 'command': 'd' }\n{ 'event': 'E' }\n"))
        self.assertEqual([c.name for c in schema.commands], ['d'])
        self.assertEqual(schema.events, [])
        self.assertNotIn('c (command)', gen_docs.manual(schema))
        self.assertIn('d (command)', gen_docs.manual(schema))

    def test_names(self):
        """Names in C are QEMU's."""
        for name, prefix in (('BlockdevDriver', 'BLOCKDEV_DRIVER'),
                             ('QAPIEvent', 'QAPI_EVENT'),
                             ('Qcow2OverlapCheckMode',
                              'QCOW2_OVERLAP_CHECK_MODE'),
                             ('XDbgBlockGraphNodeType',
                              'X_DBG_BLOCK_GRAPH_NODE_TYPE')):
            self.assertEqual(c_enum_prefix(name), prefix)
        for name, c in (('node-name', 'node_name'), ('errno', 'q_errno'),
                        ('auto', 'q_auto'), ('3des', 'q_3des'),
                        ('unix', 'q_unix')):
            self.assertEqual(c_name(name), c)

    def test_docs(self):
        """The manual has the words, the members and their types."""
        text = gen_docs.manual(main.load(self.write(
            "##\n# Title\n# -----\n##\n\n"
            "##\n# @S:\n#\n# What it is.\n#\n# @x: an x\n#     of two lines\n"
            "#\n# Features:\n#\n# @f: a feature\n#\n# Since: 1.0\n##\n"
            "{ 'struct': 'S', 'data': { 'x': 'str', '*y': [ 'int' ] },\n"
            "  'features': [ 'f' ], 'if': { 'any': [ 'A', 'B' ] } }\n")))
        for part in ('Title\n-----\n', 'S (object)\n~~~~~~~~~~\n',
                     'What it is.\n', '``x`` (``str``)\n    an x\n'
                     '    of two lines\n',
                     '``y`` (list of ``int``, optional)\n',
                     'Feature **f**: a feature\n', 'Since: 1.0\n',
                     'If: (A or B)\n'):
            self.assertIn(part, text)


if __name__ == '__main__':
    unittest.main()
