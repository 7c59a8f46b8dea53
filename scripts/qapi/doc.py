# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Documentation comments.

A block whose first line is '@NAME:' documents the definition of that name,
which must follow; any other block is free text (its lines may be reST).

    @block_resize:

    What it does, in as many paragraphs as it takes.

    @size: the new size, in bytes

    Features:

    @unstable: why

    Returns: what

    Since: 1.0

Members that have no line of their own are listed in the manual with their
type; a line for a member that does not exist is an error.
"""

import re

from .common import QapiError

TAG = re.compile(r'(Returns|Since|Errors|Note|Notes|Example|Examples|TODO):'
                 r'\s*(.*)$')
ARG = re.compile(r'@([A-Za-z0-9_.-]+):\s*(.*)$')


class Doc:
    """One block; symbol is None for free text."""

    def __init__(self, lines, info):
        self.info = info
        self.symbol = None
        self.body = []
        self.args = {}
        self.features = {}
        self.tags = []
        match = ARG.match(lines[0]) if lines else None
        if match:
            self.symbol = match.group(1)
            self.parse(([match.group(2)] if match.group(2) else []) +
                       lines[1:])
        else:
            self.body = list(lines)

    def parse(self, lines):
        """Sort the lines into the body, the members and the tags."""
        where = self.body
        in_features = False
        for line in lines:
            arg = ARG.match(line)
            tag = TAG.match(line)
            if line.strip() == 'Features:':
                in_features = True
                where = []
            elif arg:
                table = self.features if in_features else self.args
                if arg.group(1) in table:
                    raise QapiError(self.info, f"'{arg.group(1)}' is "
                                    f"documented twice")
                where = table[arg.group(1)] = [arg.group(2)]
            elif tag:
                where = [tag.group(2)]
                self.tags.append((tag.group(1), where))
            elif line and line[0] != ' ' and where is not self.body and \
                    where and where[-1] == '':
                where = self.body
                where += ['', line]
            else:
                where.append(line.strip() if where is not self.body else line)

    def check(self, kind, members, features):
        """Every documented name must exist."""
        for name in self.args:
            if name not in members:
                raise QapiError(self.info, f"{kind} '{self.symbol}' has no "
                                f"member '{name}' to document")
        for name in self.features:
            if name not in features:
                raise QapiError(self.info, f"{kind} '{self.symbol}' has no "
                                f"feature '{name}' to document")


def text_of(lines):
    """Lines without the empty ones at both ends."""
    return '\n'.join(lines).strip('\n')
