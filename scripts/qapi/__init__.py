# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The QAPI code generator: lex, parse, check, generate.

Nothing but the standard library.  qapi-gen.py is its program.
"""
