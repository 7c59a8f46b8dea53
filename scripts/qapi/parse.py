# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Tokens -> expressions.

A schema file is a sequence of JSON objects, each an expression: a
definition, an include or a pragma.  Values stay what JSON makes of them
(dict, list, str, bool).  Includes are followed here, each file once; what
comes out is one list in the order of the text.
"""

import os

from .common import QapiError
from .doc import Doc
from .lex import tokenize

PRAGMAS = {
    'doc-required': bool,       # a definition without documentation is wrong
    'not-built': list,          # commands and events nobody implements yet
}


class Expr:
    """One definition: its keys, its place, its documentation, its file."""

    def __init__(self, keys, info, doc, module):
        self.keys = keys
        self.info = info
        self.doc = doc
        self.module = module


class Parser:
    """Reads a schema and all that it includes."""

    def __init__(self):
        self.exprs = []          # Expr, and Doc for free text
        self.files = []          # every file read, for the build's depfile
        self.not_built = {}      # name -> Info
        self.doc_required = False
        self.tokens = []
        self.pos = 0
        self.module = None

    def parse_file(self, path, info=None):
        """Append the expressions of a file and of its includes."""
        real = os.path.realpath(path)
        if real in (os.path.realpath(f) for f in self.files):
            return
        try:
            with open(path, encoding='utf-8') as f:
                text = f.read()
        except OSError as e:
            if info is None:
                raise
            raise QapiError(info, f"can't read '{path}': {e.strerror}") from e
        self.files.append(path)
        saved = (self.tokens, self.pos, self.module)
        self.tokens, self.pos = tokenize(text, path), 0
        self.module = os.path.splitext(os.path.basename(path))[0]
        self.parse_exprs(path)
        self.tokens, self.pos, self.module = saved

    def parse_exprs(self, path):
        """All expressions of the current file."""
        doc = None
        while True:
            token = self.peek()
            if token.kind == 'doc':
                self.pos += 1
                self.need_no_doc(doc)
                doc = Doc(token.value, token.info)
                if doc.symbol is None:
                    self.exprs.append(doc)
                    doc = None
                continue
            if token.kind == 'end':
                self.need_no_doc(doc)
                return
            if token.kind != '{':
                raise QapiError(token.info, f"expected '{{', got {token}")
            keys = self.parse_value()
            if not self.directive(keys, token.info, doc, path):
                self.exprs.append(Expr(keys, token.info, doc, self.module))
            doc = None

    def need_no_doc(self, doc):
        """A definition's block must stand before its definition."""
        if doc is not None:
            raise QapiError(doc.info, f"documentation of '{doc.symbol}' is "
                            f"not followed by its definition")

    def directive(self, keys, info, doc, path):
        """Obey an include or a pragma; false if it is neither."""
        for name in ('include', 'pragma'):
            if name not in keys:
                continue
            self.need_no_doc(doc)
            if len(keys) != 1:
                raise QapiError(info, f"invalid '{name}' directive")
            value = keys[name]
            if name == 'include':
                if not isinstance(value, str):
                    raise QapiError(info, "value of 'include' must be a "
                                    "string")
                self.parse_file(os.path.join(os.path.dirname(path), value),
                                info)
            else:
                self.pragma(value, info)
            return True
        return False

    def pragma(self, value, info):
        """{'pragma': {NAME: VALUE, ...}}"""
        if not isinstance(value, dict):
            raise QapiError(info, "value of 'pragma' must be an object")
        for name, arg in value.items():
            if name not in PRAGMAS:
                raise QapiError(info, f"unknown pragma '{name}'")
            if not isinstance(arg, PRAGMAS[name]):
                raise QapiError(info, f"pragma '{name}' takes a "
                                f"{PRAGMAS[name].__name__}")
            if name == 'doc-required':
                self.doc_required = arg
            else:
                self.not_built.update({n: info for n in arg})

    def peek(self):
        """The next token."""
        return self.tokens[self.pos]

    def take(self, *kinds):
        """The next token, which must be of one of these kinds."""
        token = self.tokens[self.pos]
        if token.kind not in kinds:
            want = ' or '.join('string' if k == 'str' else f"'{k}'"
                               for k in kinds)
            raise QapiError(token.info, f'expected {want}, got {token}')
        self.pos += 1
        return token

    def parse_value(self):
        """Any value."""
        token = self.peek()
        self.pos += 1
        if token.kind in ('str', 'bool'):
            return token.value
        if token.kind == '[':
            return self.parse_list()
        if token.kind == '{':
            return self.parse_object()
        raise QapiError(token.info, f'expected a value, got {token}')

    def parse_list(self):
        """After the opening bracket."""
        out = []
        if self.peek().kind == ']':
            self.pos += 1
            return out
        while True:
            out.append(self.parse_value())
            if self.take(',', ']').kind == ']':
                return out

    def parse_object(self):
        """After the opening brace."""
        out = {}
        if self.peek().kind == '}':
            self.pos += 1
            return out
        while True:
            key = self.take('str')
            if key.value in out:
                raise QapiError(key.info, f"duplicate key '{key.value}'")
            self.take(':')
            out[key.value] = self.parse_value()
            if self.take(',', '}').kind == '}':
                return out
