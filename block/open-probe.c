/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Guessing the format of an image by its first bytes.
 *
 * Every format's probe gives a score for the first sector or so; the best one
 * wins, the first of several equal ones. Nothing recognised is raw: anything
 * can be a raw image. That is also why a guess of raw is dangerous: a guest
 * could write another format's header there (see raw.c, node->probed).
 */
#include "util/osdep.h"

#include "block/open.h"
#include "block/root.h"

#define PROBE_LEN 2048

static const RootOps probe_ops = { .kind = "block-backend" };

/* How many bytes of the beginning are there; -errno. */
static int probe_read(Co *co, Node *node, uint8_t *buf, Error **errp)
{
    Root *root = root_open(co, node, "", &probe_ops, NULL,
                           PERM_CONSISTENT_READ, PERM_ALL, errp);
    int64_t len;
    int ret;

    if (!root) {
        return -EINVAL;
    }
    len = MIN(root_length(root), PROBE_LEN);
    if (len < 0) {
        ret = len;
    } else {
        ret = root_pread(co, root, 0, len, buf);
    }
    root_free(co, root);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read image for determining "
                         "its format");
        return ret;
    }
    return len;
}

const BlockDriver *open_probe_bytes(const uint8_t *buf, int len,
                                    const char *filename)
{
    const BlockDriver *best = driver_find("raw");
    int best_score = 0;
    size_t n;
    const BlockDriver *const *all = driver_all(&n);

    for (size_t i = 0; i < n; i++) {
        if (all[i]->image && all[i]->image->probe) {
            int score = all[i]->image->probe(buf, len, filename);

            if (score > best_score) {
                best_score = score;
                best = all[i];
            }
        }
    }
    return best;
}

const BlockDriver *open_probe(Co *co, Node *protocol, Error **errp)
{
    uint8_t buf[PROBE_LEN] = { 0 };
    Loop *home = co_loop(co);
    int len;

    co_move(co, protocol->loop);
    len = probe_read(co, protocol, buf, errp);
    co_move(co, home);
    return len < 0 ? NULL : open_probe_bytes(buf, len, protocol->filename);
}
