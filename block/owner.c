/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Whose command is being carried out: one at a time, under the control lock. */

#include "block/owner.h"

static OwnerId current;

void owner_set_session(OwnerId session)
{
    current = session;
}

bool owner_choose(bool has_owner, ResourceOwner owner, OwnerId *ret,
                  Error **errp)
{
    *ret = 0;
    if (!has_owner || owner == RESOURCE_OWNER_DAEMON) {
        return true;
    }
    if (!current) {
        error_setg(errp, "There is no session that could be the owner");
        return false;
    }
    *ret = current;
    return true;
}
