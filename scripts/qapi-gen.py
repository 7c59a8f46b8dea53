#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Generate C code and documentation from a QAPI schema."""

import sys

from qapi.main import main

if __name__ == '__main__':
    sys.exit(main())
