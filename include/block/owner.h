/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Who takes down what a command has set up: the user by other commands, or the
 * end of the QMP session that gave it. Exports, nodes and jobs carry the number
 * of their session (OwnerId; 0: none). Main loop, control lock.
 */
#ifndef BLOCK_OWNER_H
#define BLOCK_OWNER_H

#include "block/types.h"

/* The session whose command is carried out from now on; 0: none. */
void owner_set_session(OwnerId session);
/* What `owner` says, if it is given; false if there is no session for it. */
bool owner_choose(bool has_owner, ResourceOwner owner, OwnerId *ret,
                  Error **errp);
/*
 * For monitors: the session is over. What belongs to it goes in a coroutine of
 * its own, the newest of a kind first: exports with their clients, jobs
 * (cancelled), nodes. A filter with parents left is taken out from under them;
 * another node that is in use goes with its last user.
 */
void owner_session_ended(OwnerId session);

#endif
