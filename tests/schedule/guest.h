/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A guest on a simulated disk: some coroutines that write, zero, discard, read
 * and flush, and a model of what the disk holds.
 *
 * The model has a tag a sector: 0 for zeroes, else the number of the write
 * that put it there. Writers keep out of each other's sectors, never of each
 * other's clusters. A sector whose last write failed is unsure until the next
 * one succeeds.
 *
 * Each time that a drain ends the model is kept: a cut. Nothing is under way
 * then, so a copy of one point in time equals one of the cuts exactly.
 */
#ifndef TESTS_SCHEDULE_GUEST_H
#define TESTS_SCHEDULE_GUEST_H

#include "block/root.h"

#define SECTOR 512
#define GUEST_UNSURE UINT32_MAX

typedef struct Guest Guest;

/* A bitmap of the disk as the guest sees it: sectors that it must hold (written
 * with success since), and may hold (a request was begun since). */
typedef struct Shadow {
    char *name;
    bool recording;
    bool *must, *may;
    bool *must_next, *may_next; /* the same since a mark; NULL */
} Shadow;

/* @node is empty (or holds what @tags say: sectors, taken over). */
Guest *guest_new(Co *co, Node *node);
/* Lets go of the disk; the model stays. And takes hold of a node that shows
 * the same. */
void guest_leave(Co *co, Guest *g);
void guest_enter(Co *co, Guest *g, Node *node);
void guest_free(Co *co, Guest *g);
Root *guest_root(Guest *g);
int64_t guest_sectors(const Guest *g);
void guest_start(Guest *g, int writers, int ops);
/* Suspends until all writers have returned. */
void guest_wait(Co *co, Guest *g);

/* Whether all of @root reads as the guest believes. */
void guest_check(Co *co, Guest *g, Root *root);
/* Cuts that began after this number belong to what comes. */
int guest_cuts(const Guest *g);
/* Makes a cut by hand while nothing is under way; its number. */
int guest_cut(Guest *g);
/* Reads some of @root, which has to be as in that cut; 0 or -errno. */
int guest_look(Co *co, Guest *g, Root *root, int cut);
/* The tags, with 0 where a write or a discard is under way or has failed; the
 * caller frees them. */
uint32_t *guest_content(const Guest *g);
bool guest_is_writing(const Guest *g);
/* Whether @root holds one of the cuts [first, last), exactly. */
bool guest_is_cut(Co *co, Guest *g, Root *root, int first, int last);

/* Empty, recording. Released with the guest or by guest_forget. */
Shadow *guest_shadow(Guest *g, const char *name);
void guest_forget(Guest *g, Shadow *s);
Shadow *guest_find(Guest *g, const char *name);
/*
 * Around a command that clears the bitmap, or starts a job that will: what is
 * begun from the mark on, or is under way, may be found in it later; what
 * begins after the command has returned has to be. Then either it was cleared,
 * or not.
 */
void guest_mark(Guest *g, Shadow *s);
/* What is under way may be missing in bitmaps that began just now. */
void guest_under_way(Guest *g);
void guest_returned(Guest *g, Shadow *s);
void guest_cleared(Shadow *s);
void guest_kept(Shadow *s);
/* Cleared of what a job has copied before it failed. */
void guest_cleared_in_part(Guest *g, Shadow *s);
/* Compares it with the node's bitmap. */
void guest_check_bitmap(Co *co, Guest *g, Node *node, Shadow *s);
/* Whether @copy, which nobody writes to, holds what the disk does wherever that
 * bitmap is clean. */
void guest_check_rest(Co *co, Guest *g, Node *node, const Shadow *s, Root *copy);

#endif
