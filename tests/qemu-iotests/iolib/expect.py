# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Assertions that say what they saw."""

import re
import sys

__all__ = ['equal', 'true', 'has', 'lacks', 'matches', 'subset', 'skip',
           'SANITIZER_MARKS', 'no_sanitizer_report', 'raises']

SANITIZER_MARKS = ('ERROR: AddressSanitizer', 'runtime error:',
                   'LeakSanitizer', 'ThreadSanitizer')


def fail(text):
    raise AssertionError(text)


def equal(got, want, what='value'):
    if got != want:
        fail(f'{what}:\n   got: {_short(got)}\n  want: {_short(want)}')


def true(condition, what):
    if not condition:
        fail(what)


def has(text, part, what='text'):
    if part not in text:
        fail(f'{what} lacks {part!r}:\n{_short(text)}')


def lacks(text, part, what='text'):
    if part in text:
        fail(f'{what} has {part!r}:\n{_short(text)}')


def matches(text, pattern, what='text'):
    found = re.search(pattern, text, re.M)
    if not found:
        fail(f'{what} does not match {pattern!r}:\n{_short(text)}')
    return found


def subset(got, want, what='value'):
    """Every member of `want` is in `got`, at any depth.  Members that a later
    version adds don't matter; lists are compared element by element."""
    if isinstance(want, dict):
        true(isinstance(got, dict), f'{what}: {_short(got)} is no object')
        for key, value in want.items():
            true(key in got, f'{what} lacks member {key!r}: {_short(got)}')
            subset(got[key], value, f'{what}.{key}')
    elif isinstance(want, list):
        true(isinstance(got, list) and len(got) == len(want),
             f'{what}:\n   got: {_short(got)}\n  want: {_short(want)}')
        for i, (one, other) in enumerate(zip(got, want)):
            subset(one, other, f'{what}[{i}]')
    else:
        equal(got, want, what)


def raises(kind, call, *args, **kwargs):
    """The exception of class `kind` that the call must end with."""
    try:
        result = call(*args, **kwargs)
    except kind as e:
        return e
    return fail(f'{kind.__name__} expected, the call returned {result!r}')


def no_sanitizer_report(text, who):
    for mark in SANITIZER_MARKS:
        if mark in text:
            fail(f'{who}: sanitizer report:\n{text}')


def skip(reason):
    print(reason)
    sys.stdout.flush()
    sys.exit(77)


def _short(value):
    if isinstance(value, bytes) and len(value) > 64:
        return f'{value[:64].hex()} ... ({len(value)} bytes)'
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) < 4000 else text[:4000] + ' ...'
