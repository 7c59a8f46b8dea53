/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Names that users give; see id.h. */

#include "util/id.h"

bool id_wellformed(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    for (const char *p = id; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p)) {
            return false;
        }
    }
    return true;
}

void id_set_malformed(Error **errp, const char *param)
{
    ERRP_GUARD();

    error_setg(errp, "Parameter '%s' expects an identifier", param);
    error_append_hint(errp, "Identifiers consist of letters, digits, "
                      "'-', '.', '_', starting with a letter.\n");
}
