/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Cache modes and their like, objects, roots, and the exit codes of the tools.
 *
 * A cache mode is three independent things: whether the host's page cache is
 * used (direct), whether flushes are carried out (no-flush), and whether each
 * write waits until it is durable (write through). Two of them are flags of the
 * open; the third is the root's.
 */
#include "util/osdep.h"

#include <poll.h>

#include "monitor/object.h"
#include "tools/tool.h"
#include "util/json.h"
#include "util/keyval.h"

typedef struct CacheMode {
    const char *name;
    OpenFlags flags;
    bool write_through;
} CacheMode;

static const CacheMode cache_modes[] = {
    { "none", OPEN_NOCACHE, false },
    { "off", OPEN_NOCACHE, false },
    { "directsync", OPEN_NOCACHE, true },
    { "writeback", 0, false },
    { "unsafe", OPEN_NO_FLUSH, false },
    { "writethrough", 0, true },
};

bool tool_cache_mode(const char *mode, OpenFlags *flags, bool *write_through)
{
    for (size_t i = 0; i < ARRAY_SIZE(cache_modes); i++) {
        if (!strcmp(mode, cache_modes[i].name)) {
            *flags &= ~(OPEN_NOCACHE | OPEN_NO_FLUSH);
            *flags |= cache_modes[i].flags;
            *write_through = cache_modes[i].write_through;
            return true;
        }
    }
    return false;
}

bool tool_discard_mode(const char *mode, OpenFlags *flags)
{
    if (!strcmp(mode, "unmap") || !strcmp(mode, "on")) {
        *flags |= OPEN_UNMAP;
        return true;
    }
    if (!strcmp(mode, "ignore") || !strcmp(mode, "off")) {
        *flags &= ~OPEN_UNMAP;
        return true;
    }
    return false;
}

bool tool_aio_mode(const char *mode)
{
    return !strcmp(mode, "threads") || !strcmp(mode, "native") ||
           !strcmp(mode, "io_uring");
}

/* ---- objects ---- */

/* What is known of the schema's types makes sense in a daemon only. */
static bool tool_object_is_usable(ObjectType type)
{
    return type != OBJECT_TYPE_IOTHREAD && type != OBJECT_TYPE_MAIN_LOOP &&
           type != OBJECT_TYPE_THROTTLE_GROUP;
}

static void tool_list_objects(void)
{
    printf("List of user creatable objects:\n");
    for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
        if (tool_object_is_usable(i)) {
            printf("  %s\n", ObjectType_str(i));
        }
    }
}

bool tool_add_object(Co *co, const char *arg, bool *help, Error **errp)
{
    g_autoptr(json_t) tree = NULL;
    g_autoptr(ObjectOptions) opts = NULL;

    *help = false;
    tree = arg[0] == '{' ? json_parse_str(arg, errp)
                         : keyval_parse(arg, "qom-type", help, errp);
    if (!tree) {
        return false;
    }
    if (*help) {
        tool_list_objects();
        return true;
    }
    opts = ObjectOptions_from_json(tree, arg[0] == '{' ? QAPI_STRICT
                                                       : QAPI_KEYVAL, errp);
    if (!opts) {
        return false;
    }
    if (!tool_object_is_usable(opts->qom_type)) {
        error_setg(errp, "invalid object type: %s",
                   ObjectType_str(opts->qom_type));
        return false;
    }
    return object_add(co, opts, errp);
}

/* ---- roots ---- */

static const RootOps tool_root_ops = { .kind = "block-backend" };

Root *tool_root_new(Co *co, Node *node, OpenFlags flags, bool alone,
                    Error **errp)
{
    uint64_t need = PERM_CONSISTENT_READ;
    uint64_t share = PERM_ALL;
    Root *root;

    if (alone && !(flags & OPEN_FORCE_SHARE)) {
        share = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    }
    need |= flags & OPEN_RDWR ? PERM_WRITE : 0;
    need |= flags & OPEN_RESIZE ? PERM_RESIZE : 0;
    root = root_open(co, node, "", &tool_root_ops, NULL, need, share, errp);
    node_unref(co, node);
    if (root) {
        root->disable_flush = flags & OPEN_NO_FLUSH;
    }
    return root;
}

/* ---- the end ---- */

static bool tool_has_printed(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO };

    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    if (poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP))) {
        return true;            /* who read it has gone */
    }
    /* Without an errno it was some flush before this one that failed. */
    error_report("Failed to write to standard output: %s",
                 strerror(errno ? errno : EIO));
    return false;
}

int tool_exit_code(int status, int failed)
{
    bool printed = tool_has_printed();

    return status == 0 && (!printed || error_was_late()) ? failed : status;
}
