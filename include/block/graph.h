/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Changing the graph.
 *
 * Everything that changes names or the graph holds the control lock: one
 * coroutine at a time, all over the process. QMP commands hold it from first
 * to last; a job takes it to finish. It is never taken from the data path.
 *
 * Edits are carried out at once, with their undo in the transaction, while all
 * touched nodes are drained. Permissions are checked for the whole proposed
 * graph by graph_check(), before the commit, which cannot fail.
 */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/node.h"

/* From the main loop or any other. Not recursive. */
void control_lock(Co *co);
void control_unlock(Co *co);
#define control_assert() g_assert(control_is_locked())
bool control_is_locked(void);
/*
 * Who makes an image in a job lends the lock to others while that takes long: it
 * then touches nothing but roots of its own, which stay at their nodes and on
 * their loops. The holder allows it, or forbids it again, from any loop; without
 * leave nothing is lent. control_lend() says whether it was, and
 * control_take_back() waits for it then.
 */
void control_allow_lending(bool allow);
bool control_lend(Co *co);
void control_take_back(Co *co, bool lent);

/* Every node that edges join with @node, itself first; an array of Node. */
GPtrArray *graph_connected(Node *node);
/* @to is @from or below it. */
bool graph_reaches(const Node *from, const Node *to);

/*
 * Walks to the loop of @node's graph, comes out there, and keeps the graph
 * drained until @tran has ended. Once is enough for a graph: more is free.
 * The edits below call it for the nodes that they are given, but for
 * graph_detach(), which asks it of its caller.
 */
void graph_drain(Co *co, Transaction *tran, Node *node);

/*
 * Makes @child a child of @parent. Moves @child's graph to @parent's loop if
 * it lives elsewhere and nobody objects (a parent that nobody uses yet moves to
 * @child's loop instead). Takes a reference of its own. Control lock. NULL with
 * @errp if the graph forbids it (a cycle, a loop that can't move).
 */
Edge *graph_attach(Co *co, Transaction *tran, Node *parent, const char *name,
                   EdgeRole role, Node *child, Error **errp);
/* The same for a root, which states its needs itself. Sets root->edge and
 * root->loop; the graph stays where it is. */
Edge *graph_attach_root(Co *co, Transaction *tran, Root *root, Node *child,
                        uint64_t need, uint64_t share, Error **errp);
/* The edge is freed, and its reference dropped, when @tran commits. */
void graph_detach(Transaction *tran, Edge *edge);
/* @edge needs and shares this from now on; for roots, whose needs nobody
 * computes. */
void graph_set_perms(Transaction *tran, Edge *edge, uint64_t need,
                     uint64_t share);
/* @edge leads to @to from now on. */
bool graph_replace_child(Co *co, Transaction *tran, Edge *edge, Node *to,
                         Error **errp);
/* All parents of @from that are not below @to or @to itself go over to @to, but
 * for roots that stay at their node. Fails if an edge is frozen. */
bool graph_replace_node(Co *co, Transaction *tran, Node *from, Node *to,
                        Error **errp);
/* Puts @filter (open, its primary child is @node already) on top of @node. */
bool graph_insert_filter(Co *co, Transaction *tran, Node *filter, Node *node,
                         Error **errp);

/*
 * Takes @filter out for its primary child, checks @check's permissions, and drops
 * the caller's reference. Nothing in the graph may be in the way of it; what can
 * be is a file's locks, which another process asks for at that moment, or a
 * descriptor that is not to be had: it tries again then, and ends the process if
 * that does not pass. Comes back on the loop where it began; suspends.
 */
void graph_drop_filter(Co *co, Node *filter, Node *check);

/* Checks and stages the permissions of all that the named nodes reach, up and
 * down. QEMU's texts ("Conflicts with use by ..."). */
bool graph_check(Transaction *tran, Node *const *nodes, int n, Error **errp);
bool graph_check_one(Transaction *tran, Node *node, Error **errp);
/* What all parents of @node need together and all of them share. */
void graph_cumulative_perms(const Node *node, uint64_t *need,
                            uint64_t *share);
/* "consistent read, write" */
char *perm_names(uint64_t perm);

/* Moves the connected graph of @node; every root agrees or it fails. Drains
 * by itself. Control lock. On the old loop and quiet, it sets node->loop and
 * root->loop everywhere, tells the roots (loop_changed) and wakes who waits at
 * their doors; then it walks to the new loop and ends the drain there. */
bool graph_set_loop(Co *co, Node *node, Loop *loop, Error **errp);

/* Freezes the edges of the chain from @top down to @base (exclusive), so that
 * no other job changes it. */
bool graph_freeze_chain(Node *top, Node *base, Error **errp);
void graph_unfreeze_chain(Node *top, Node *base);

#endif
