/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * libFuzzer: what may stand in a qcow2 file. Each input is a file, in memory.
 * FUZZ_VERB says what is done with it:
 *
 *     FUZZ_READ     opened read-only, read and mapped
 *     FUZZ_CHECK    checked, repaired, checked again
 *     FUZZ_BITMAPS  its bitmaps are listed and loaded, removed, one is added,
 *                   a sector is written, they are stored at the close
 *
 * Nothing but errors may come of it. The file can't get longer than a little,
 * backing files are not opened, data files are a null device.
 */
#include "../unit/mem-driver.h"

#include "block/dirty-bitmap.h"
#include "block/open.h"
#include "util/bytes.h"
#include "fuzz.h"

enum { FUZZ_READ, FUZZ_CHECK, FUZZ_BITMAPS };

#define FUZZ_MAX (256 * KiB)
#define FUZZ_CAPACITY (512 * KiB)

static BlockDriver fuzz_driver;

/* ---- a file that is full soon ---- */

static int fuzz_write(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return off + len > FUZZ_CAPACITY
        ? -ENOSPC : mem_write(co, node, off, len, iov, iov_off, flags);
}

static int fuzz_zero(Co *co, Node *node, int64_t off, int64_t len,
                     ReqFlags flags)
{
    return off + len > FUZZ_CAPACITY ? -ENOSPC
                                     : mem_zero(co, node, off, len, flags);
}

static bool fuzz_resize(Co *co, Node *node, int64_t length, bool exact,
                        PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    if (length > FUZZ_CAPACITY) {
        error_setg_errno(errp, ENOSPC, "Could not resize");
        return false;
    }
    node->length = length;
    return true;
}

static Node *fuzz_open(Co *co, const Input *in, OpenFlags flags)
{
    bool data_file = in->len >= 80 && (in->data[79] & 4);
    g_autofree char *text = g_strdup_printf(
        "{\"driver\": \"qcow2\", \"node-name\": \"d\", \"file\": \"mem\", "
        "\"backing\": null, \"read-only\": %s%s}",
        flags & OPEN_RDWR ? "false" : "true",
        data_file ? ", \"data-file\": {\"driver\": \"null-co\", "
        "\"size\": 1048576, \"read-zeroes\": true}" : "");
    json_t *json = json_parse_str(text, &error_abort);
    BlockdevOptions *opts = BlockdevOptions_from_json(json, QAPI_STRICT,
                                                      &error_abort);

    json_decref(json);
    return open_with_flags(co, opts, flags, NULL);
}

/* ---- what is done ---- */

static void fuzz_content(Co *co, Node *node)
{
    Root *root = mem_root(co, node, PERM_CONSISTENT_READ);
    int64_t len = root_length(root);
    int64_t at[3] = { 0, ROUND_DOWN(len / 2, 512), MAX(0, len - 64 * KiB) };
    g_autofree uint8_t *buf = g_malloc(64 * KiB);

    for (int i = 0; i < 3; i++) {
        int64_t n = MIN(64 * KiB, len - at[i]);
        Extent e;

        if (n > 0) {
            root_pread(co, root, at[i], n, buf);
            root_begin(co, root);
            status_layer(co, root_node(root), true, at[i], n, &e);
            root_end(root);
        }
    }
    root_free(co, root);
}

static void fuzz_write_some(Co *co, Node *node)
{
    Root *root = root_open(co, node, "", &mem_root_ops, NULL,
                           PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL, NULL);
    uint8_t buf[512] = { 1 };

    if (!root) {
        return;
    }
    if (root_length(root) >= 512) {
        root_pwrite(co, root, 0, 512, buf, 0);
        root_pwrite(co, root, ROUND_DOWN(root_length(root) / 2, 512), 512,
                    buf, 0);
        root_zero(co, root, 0, 512, 0);
        root_flush(co, root);
    }
    root_free(co, root);
}

static void fuzz_check(Co *co, Node *node)
{
    for (int i = 0; i < 3; i++) {
        CheckOptions fix = { i == 1, i == 1 };
        CheckResult res = { 0 };

        node->drv->image->check(co, node, &fix, &res);
    }
}

static void fuzz_bitmaps(Co *co, Node *node)
{
    DirtyBitmap *next;
    int n = 0;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = next) {
        next = bitmap_next(bm);
        bitmap_bits(co, bm, NULL);
        if (n++ % 2) {
            bitmap_delete(co, bm, NULL);
        }
    }
    if (bitmap_storable(co, node, "new", 65536, NULL)) {
        DirtyBitmap *bm = bitmap_create(node, 65536, "new", NULL);

        if (bm) {
            bitmap_set_persistent(bm, true);
        }
    }
    fuzz_write_some(co, node);
}

static void fuzz_image(Co *co, void *opaque)
{
    static const OpenFlags flags[] = {
        [FUZZ_READ] = 0,
        [FUZZ_CHECK] = OPEN_RDWR | OPEN_CHECK,
        [FUZZ_BITMAPS] = OPEN_RDWR | OPEN_UNMAP,
    };
    const Input *in = opaque;
    Node *file, *node;

    control_lock(co);
    file = mem_file(&fuzz_driver, in->data, in->len, FUZZ_CAPACITY, 1);
    node = fuzz_open(co, in, flags[FUZZ_VERB]);
    if (node) {
        if (FUZZ_VERB == FUZZ_READ) {
            fuzz_content(co, node);
        } else if (FUZZ_VERB == FUZZ_CHECK) {
            fuzz_check(co, node);
            fuzz_content(co, node);
        } else {
            fuzz_bitmaps(co, node);
        }
        node_unref(co, node);
    }
    node_unref(co, file);
    control_unlock(co);
    loop_stop(loop_main());
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_driver = mem_driver;
    fuzz_driver.write = fuzz_write;
    fuzz_driver.zero = fuzz_zero;
    fuzz_driver.resize = fuzz_resize;
    loop_init_main(&error_abort);
    block_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Input in = { data, len };

    if (len > FUZZ_MAX) {
        return -1;
    }
    co_spawn(loop_main(), fuzz_image, &in);
    loop_run(loop_main());
    return 0;
}
