/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img snapshot: what a format's driver keeps inside of its images. Also
 * how other subcommands name a snapshot to read instead of the disk (-l).
 */
#include "util/osdep.h"

#include "tools/img/img.h"
#include "util/json.h"
#include "util/keyval.h"

/* ---- -l of other subcommands ---- */

/* -l: "snapshot.id=1,snapshot.name=x", or an ID or a name. */
bool img_load_snapshot(Co *co, Node *node, const char *param)
{
    const SnapshotOps *ops = node->drv->snapshots;
    const char *id = param, *name = NULL;
    g_autoptr(json_t) list = NULL;
    Error *err = NULL;
    bool ok;

    if (g_str_has_prefix(param, "snapshot.")) {
        list = keyval_parse_flat(param, NULL, NULL, NULL);
        id = json_string_value(json_object_get(list, "snapshot.id"));
        name = json_string_value(json_object_get(list, "snapshot.name"));
    }
    if (!ops || !ops->load) {
        error_report("Failed to load snapshot: Block format '%s' used by "
                     "device '' does not support temporarily loading internal "
                     "snapshots", node->drv->name);
        return false;
    }
    ok = ops->load(co, node, id, name, list ? &err : NULL);
    if (!ok && !list) {
        ok = ops->load(co, node, NULL, param, &err);
    }
    if (!ok) {
        error_reportf_err(err, "Failed to load snapshot: ");
    }
    return ok;
}

/* Nothing but the two keys may stand in the list. */
bool img_check_snapshot(const char *param)
{
    g_autoptr(json_t) list = NULL;
    const char *key;
    json_t *value;

    if (!param || !g_str_has_prefix(param, "snapshot.")) {
        return true;
    }
    list = keyval_parse_flat(param, NULL, NULL, NULL);
    json_object_foreach(list, key, value) {
        if (strcmp(key, "snapshot.id") && strcmp(key, "snapshot.name")) {
            error_report("Invalid parameter '%s'", key);
            error_report("Failed in parsing snapshot param '%s'", param);
            return false;
        }
    }
    return true;
}

/* ---- arguments ---- */

typedef struct SnapshotArgs {
    ImgSource image;
    char action;                /* 'l', 'a', 'c', 'd'; 0: list */
    const char *name;
} SnapshotArgs;

static const struct option snapshot_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_SHARE,
    { 0 }
};

static int snapshot_take(Co *co, void *opaque, int c)
{
    SnapshotArgs *a = opaque;

    switch (c) {
    case 'l':
    case 'a':
    case 'c':
    case 'd':
        if (a->action) {
            return img_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
        }
        a->action = c;
        a->name = c == 'l' ? NULL : optarg;
        return -1;
    case 'q':
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static int snapshot_parse(Co *co, SnapshotArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":la:c:d:hqU", snapshot_longopts,
                             snapshot_take, a, &a->image.name);

    if (ret >= 0) {
        return ret;
    }
    if (a->action && a->action != 'l') {
        a->image.flags |= OPEN_RDWR;
    }
    return -1;
}

/* ---- actions ---- */

static int snapshot_list(Co *co, Node *node)
{
    const SnapshotOps *ops = node->drv->snapshots;
    g_autoptr(SnapshotInfoList) list = NULL;
    Error *err = NULL;

    if (ops && ops->list && !ops->list(co, node, &list, &err)) {
        error_report_err(err);
        return 1;
    }
    if (list) {
        printf("Snapshot list:\n");
        img_print_snapshots(list);
    }
    return 0;
}

static int snapshot_create(Co *co, Node *node, const char *name)
{
    const SnapshotOps *ops = node->drv->snapshots;
    int r = ops && ops->create ?
            ops->create(co, node, name, g_get_real_time() * 1000, 0) :
            -ENOTSUP;

    if (r < 0) {
        error_report("Could not create snapshot '%s': %d (%s)", name, r,
                     strerror(-r));
    }
    return r < 0;
}

static int snapshot_apply(Co *co, Node *node, const char *name)
{
    const SnapshotOps *ops = node->drv->snapshots;
    Error *err = NULL;

    if (!ops || !ops->apply) {
        error_setg(&err, "Block driver does not support snapshots");
    } else if (ops->apply(co, node, name, &err)) {
        return 0;
    }
    error_reportf_err(err, "Could not apply snapshot '%s': ", name);
    return 1;
}

/* The ID of the first snapshot of that name; NULL if there is none. */
static char *snapshot_find(Co *co, Node *node, const char *name)
{
    const SnapshotOps *ops = node->drv->snapshots;
    g_autoptr(SnapshotInfoList) list = NULL;

    if (ops && ops->list) {
        ops->list(co, node, &list, NULL);
    }
    for (const SnapshotInfoList *l = list; l; l = l->next) {
        if (!strcmp(l->value->name, name)) {
            return g_strdup(l->value->id);
        }
    }
    return NULL;
}

static int snapshot_delete(Co *co, Node *node, const char *name)
{
    g_autofree char *id = snapshot_find(co, node, name);
    g_autoptr(SnapshotInfo) removed = NULL;
    Error *err = NULL;

    if (!id) {
        error_report("Could not delete snapshot '%s': snapshot not found",
                     name);
        return 1;
    }
    if (!node->drv->snapshots->remove(co, node, id, name, &removed, &err)) {
        error_reportf_err(err, "Could not delete snapshot '%s': ", name);
        return 1;
    }
    return 0;
}

static int snapshot_act(Co *co, const SnapshotArgs *a, Node *node)
{
    switch (a->action) {
    case 'c':
        return snapshot_create(co, node, a->name);
    case 'a':
        return snapshot_apply(co, node, a->name);
    case 'd':
        return snapshot_delete(co, node, a->name);
    default:
        return snapshot_list(co, node);
    }
}

int img_snapshot(Co *co, int argc, char **argv)
{
    SnapshotArgs a = { .image.flags = OPEN_UNMAP };
    int ret = snapshot_parse(co, &a, argc, argv);
    Root *root;

    if (ret >= 0) {
        return ret;
    }
    root = img_open(co, &a.image);
    if (!root) {
        return 1;
    }
    ret = snapshot_act(co, &a, root_node(root));
    root_free(co, root);
    return ret;
}
