# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Side-by-side benchmark of two folders of block-layer binaries."""
