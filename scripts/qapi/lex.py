# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Schema text -> tokens.

The schema's language is JSON with single-quoted strings, the words true and
false, and comments from # to the end of the line.  A comment block between
two lines '##' documents what follows it, and is a token, too.
"""

import re

from .common import Info, QapiError


class Token:
    """kind is one of { } [ ] : , or 'str', 'bool', 'doc', 'end'."""

    def __init__(self, kind, value, info):
        self.kind = kind
        self.value = value
        self.info = info

    def __str__(self):
        if self.kind == 'str':
            return f"string '{self.value}'"
        if self.kind == 'end':
            return 'end of file'
        if self.kind == 'bool':
            return 'true' if self.value else 'false'
        if self.kind == 'doc':
            return 'documentation comment'
        return f"'{self.kind}'"


WORD = re.compile(r'[A-Za-z]+')
STRING = re.compile(r"'([^'\n]*)('?)")


def doc_block(lines, index, path):
    """The lines of the block that opens at lines[index], and what follows."""
    text = []
    for at in range(index + 1, len(lines)):
        line = lines[at].strip()
        if line == '##':
            return text, at + 1
        if line == '#':
            text.append('')
        elif line.startswith('# '):
            text.append(line[2:])
        else:
            raise QapiError(Info(path, at + 1),
                            "a documentation comment's lines begin with '# '")
    raise QapiError(Info(path, index + 1),
                    "documentation comment has no closing '##'")


def tokenize(text, path):
    """A list of tokens, ended by one of kind 'end'."""
    lines = text.split('\n')
    out = []
    index = 0
    while index < len(lines):
        line = lines[index]
        info = Info(path, index + 1)
        if line.strip() == '##':
            doc, index = doc_block(lines, index, path)
            out.append(Token('doc', doc, info))
            continue
        out += tokenize_line(line, info)
        index += 1
    out.append(Token('end', None, Info(path, len(lines))))
    return out


def tokenize_line(line, info):
    """The tokens of one line that is no part of a documentation block."""
    out = []
    pos = 0
    while pos < len(line):
        ch = line[pos]
        if ch in ' \t':
            pos += 1
        elif ch == '#':
            break
        elif ch in '{}[]:,':
            out.append(Token(ch, ch, info))
            pos += 1
        elif ch == "'":
            match = STRING.match(line, pos)
            if not match.group(2):
                raise QapiError(info, "missing terminating \"'\"")
            value = match.group(1)
            if not all(32 <= ord(c) < 127 for c in value) or '\\' in value:
                raise QapiError(info, 'funny character in string')
            out.append(Token('str', value, info))
            pos = match.end()
        else:
            match = WORD.match(line, pos)
            word = match.group() if match else None
            if word not in ('true', 'false'):
                raise QapiError(info, f'stray {word or ch!r}')
            out.append(Token('bool', word == 'true', info))
            pos = match.end()
    return out
