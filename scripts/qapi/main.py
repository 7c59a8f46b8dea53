# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The command line of the generator."""

import argparse
import os
import sys

from . import (gen_commands, gen_docs, gen_events, gen_introspect, gen_types)
from .check import Schema
from .common import QapiError
from .parse import Parser

C_PARTS = {'types': gen_types, 'commands': gen_commands,
           'events': gen_events, 'introspect': gen_introspect}


def load(path):
    """The checked schema of a file and all that it includes."""
    parser = Parser()
    parser.parse_file(path)
    return Schema(parser)


def write(path, text):
    """Write a file unless it is so already."""
    try:
        with open(path, encoding='utf-8') as f:
            if f.read() == text:
                os.utime(path)
                return
    except OSError:
        pass
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def main():
    """qapi-gen.py -o DIR [--docs FILE] [--depfile FILE] SCHEMA"""
    args = argparse.ArgumentParser(
        description='Generate C code and documentation from a QAPI schema')
    args.add_argument('-o', '--output-dir', metavar='DIR', default='.',
                      help='write the C files to DIR')
    args.add_argument('-p', '--prefix', default='',
                      help="begin the C files' names with PREFIX, and have "
                      "them include each other without a folder")
    args.add_argument('--docs', metavar='FILE',
                      help='write the manual to FILE, and no C')
    args.add_argument('--depfile', metavar='FILE',
                      help='write to FILE what the output depends on')
    args.add_argument('schema', metavar='SCHEMA')
    args = args.parse_args()
    try:
        schema = load(args.schema)
    except (QapiError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    outputs = []
    if args.docs:
        outputs.append(args.docs)
        write(args.docs, gen_docs.manual(schema))
    else:
        for name, part in C_PARTS.items():
            for suffix, make in (('.h', part.header), ('.c', part.source)):
                path = os.path.join(args.output_dir,
                                    f'{args.prefix}qapi-{name}{suffix}')
                outputs.append(path)
                text = make(schema)
                if args.prefix:
                    text = text.replace('"qapi/qapi-', f'"{args.prefix}qapi-')
                write(path, text)
    if args.depfile:
        write(args.depfile, ' '.join(outputs) + ': ' +
              ' '.join(schema.files) + '\n')
    return 0
