/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blkdebug: a filter that makes trouble, by rules.
 *
 *     event ---> rules of that event and of the present state
 *                  inject-error   becomes active, in place of those that were
 *                  set-state      the state from now on
 *                  breakpoint     the request stops here until it is resumed
 *
 *     request ---> the first active rule that fits its kind and range fails it
 *
 * Events are raised by the format above (node->drv->debug) and by the core for
 * this node itself. Beside rules it pretends limits that its file does not
 * have, and takes and denies permissions.
 */

#include "block/blkdebug.h"

#include "block/drivers.h"
#include "block/io.h"
#include "block/open.h"

typedef enum RuleAction {
    RULE_INJECT, RULE_SET_STATE, RULE_BREAK
} RuleAction;

typedef struct Rule {
    RuleAction action;
    BlkdebugEvent event;
    int state;                  /* 0: any */
    /* inject */
    bool active;
    unsigned iotypes;           /* 1 << BlkdebugIOType */
    int error;                  /* positive; 0: none, just the delay */
    int64_t offset;             /* of the sector; -1: any */
    int64_t delay_ns;
    bool once, immediately;
    /* set state */
    int new_state;
    /* break */
    char *tag;
} Rule;

typedef struct Suspended {
    char *tag;
    Co *co;
} Suspended;

typedef struct BlkdebugState {
    int state;
    GPtrArray *rules;           /* of Rule */
    GPtrArray *suspended;       /* of Suspended, on their stacks */
    uint64_t take, unshare;
    int64_t align, max_transfer, opt_zero, max_zero, opt_discard, max_discard;
} BlkdebugState;

static void rule_free(void *opaque)
{
    Rule *r = opaque;

    g_free(r->tag);
    g_free(r);
}

/* ---- rules ---- */

static void add_inject(BlkdebugState *s, const BlkdebugInjectErrorOptions *o)
{
    Rule *r = g_new0(Rule, 1);

    r->action = RULE_INJECT;
    r->event = o->event;
    r->state = o->has_state ? o->state : 0;
    r->iotypes = o->has_iotype ? 1U << o->iotype
                 : 1U << BLKDEBUG_IO_TYPE_READ | 1U << BLKDEBUG_IO_TYPE_WRITE |
                   1U << BLKDEBUG_IO_TYPE_WRITE_ZEROES |
                   1U << BLKDEBUG_IO_TYPE_DISCARD |
                   1U << BLKDEBUG_IO_TYPE_FLUSH;
    r->error = o->has_q_errno ? (int)o->q_errno : EIO;
    r->offset = o->has_sector && o->sector >= 0 &&
                o->sector <= INT64_MAX / 512 ? o->sector * 512 : -1;
    r->delay_ns = o->has_delay_ns ? o->delay_ns : 0;
    r->once = o->has_once && o->once;
    r->immediately = o->has_immediately && o->immediately;
    g_ptr_array_add(s->rules, r);
}

static void add_set_state(BlkdebugState *s, const BlkdebugSetStateOptions *o)
{
    Rule *r = g_new0(Rule, 1);

    r->action = RULE_SET_STATE;
    r->event = o->event;
    r->state = o->has_state ? o->state : 0;
    r->new_state = o->new_state;
    g_ptr_array_add(s->rules, r);
}

static void add_all(BlkdebugState *s, const BlkdebugInjectErrorOptionsList *i,
                    const BlkdebugSetStateOptionsList *t)
{
    for (; i; i = i->next) {
        add_inject(s, i->value);
    }
    for (; t; t = t->next) {
        add_set_state(s, t->value);
    }
}

static bool add_config(BlkdebugState *s, const char *filename, Error **errp)
{
    BlkdebugInjectErrorOptionsList *inject = NULL;
    BlkdebugSetStateOptionsList *set = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;
    bool ok;

    if (!g_file_get_contents(filename, &text, NULL, &err)) {
        error_setg(errp, "Could not read blkdebug config file: %s",
                   g_error_matches(err, G_FILE_ERROR, G_FILE_ERROR_NOENT)
                   ? strerror(ENOENT) : err->message);
        return false;
    }
    ok = blkdebug_config_parse(text, &inject, &set, errp);
    if (ok) {
        add_all(s, inject, set);
    }
    qapi_free_BlkdebugInjectErrorOptionsList(inject);
    qapi_free_BlkdebugSetStateOptionsList(set);
    return ok;
}

/* ---- events ---- */

static void blkdebug_suspend(Co *co, BlkdebugState *s, const char *tag)
{
    Suspended r = { .tag = g_strdup(tag), .co = co };

    g_ptr_array_add(s->suspended, &r);
    printf("blkdebug: Suspended request '%s'\n", tag);
    fflush(stdout);
    co_suspend(co);
    printf("blkdebug: Resuming request '%s'\n", r.tag);
    fflush(stdout);
    g_free(r.tag);
}

static bool rule_fits_event(const BlkdebugState *s, const Rule *r,
                            BlkdebugEvent event)
{
    return r->event == event && (!r->state || r->state == s->state);
}

static void blkdebug_activate(BlkdebugState *s, BlkdebugEvent event)
{
    bool any = false;

    for (guint i = 0; i < s->rules->len; i++) {
        Rule *r = g_ptr_array_index(s->rules, i);

        any |= r->action == RULE_INJECT && rule_fits_event(s, r, event);
    }
    for (guint i = 0; any && i < s->rules->len; i++) {
        Rule *r = g_ptr_array_index(s->rules, i);

        r->active = r->action == RULE_INJECT && rule_fits_event(s, r, event);
    }
}

/* The first breakpoint of the event, taken out; NULL: none. */
static Rule *blkdebug_take_break(BlkdebugState *s, BlkdebugEvent event)
{
    for (guint i = 0; i < s->rules->len; i++) {
        Rule *r = g_ptr_array_index(s->rules, i);

        if (r->action == RULE_BREAK && rule_fits_event(s, r, event)) {
            Rule *own = g_memdup2(r, sizeof(*r));

            own->tag = g_strdup(r->tag);
            g_ptr_array_remove_index(s->rules, i);
            return own;
        }
    }
    return NULL;
}

static void blkdebug_event(Co *co, Node *node, BlkdebugEvent event)
{
    BlkdebugState *s = node->state;
    g_autoptr(GPtrArray) stops = g_ptr_array_new_with_free_func(rule_free);
    int new_state = s->state;
    Rule *stop;

    blkdebug_activate(s, event);
    for (guint i = 0; i < s->rules->len; i++) {
        Rule *r = g_ptr_array_index(s->rules, i);

        if (r->action == RULE_SET_STATE && rule_fits_event(s, r, event)) {
            new_state = r->new_state;
        }
    }
    while ((stop = blkdebug_take_break(s, event))) {
        g_ptr_array_add(stops, stop);
    }
    s->state = new_state;
    for (guint i = 0; i < stops->len; i++) {
        stop = g_ptr_array_index(stops, i);
        blkdebug_suspend(co, s, stop->tag);
    }
}

static int blkdebug_breakpoint(Node *node, const char *event, const char *tag)
{
    BlkdebugState *s = node->state;
    int e = BlkdebugEvent_parse(event, -1, NULL);
    Rule *r;

    if (e < 0) {
        return -ENOENT;
    }
    r = g_new0(Rule, 1);
    r->action = RULE_BREAK;
    r->event = e;
    r->tag = g_strdup(tag);
    g_ptr_array_add(s->rules, r);
    return 0;
}

/* One of them, or all; 0 or -ENOENT. */
static int blkdebug_wake(BlkdebugState *s, const char *tag, bool all)
{
    int ret = -ENOENT;

    for (guint i = 0; i < s->suspended->len;) {
        Suspended *r = g_ptr_array_index(s->suspended, i);

        if (!g_str_equal(r->tag, tag)) {
            i++;
            continue;
        }
        g_ptr_array_remove_index(s->suspended, i);
        co_wake(r->co);
        ret = 0;
        if (!all) {
            break;
        }
    }
    return ret;
}

static int blkdebug_resume(Node *node, const char *tag)
{
    return blkdebug_wake(node->state, tag, false);
}

static int blkdebug_remove_breakpoint(Node *node, const char *tag)
{
    BlkdebugState *s = node->state;
    int ret = -ENOENT;

    for (guint i = s->rules->len; i-- > 0;) {
        Rule *r = g_ptr_array_index(s->rules, i);

        if (r->action == RULE_BREAK && g_str_equal(r->tag, tag)) {
            g_ptr_array_remove_index(s->rules, i);
            ret = 0;
        }
    }
    return blkdebug_wake(s, tag, true) == 0 ? 0 : ret;
}

static bool blkdebug_is_suspended(Node *node, const char *tag)
{
    BlkdebugState *s = node->state;

    for (guint i = 0; i < s->suspended->len; i++) {
        Suspended *r = g_ptr_array_index(s->suspended, i);

        if (g_str_equal(r->tag, tag)) {
            return true;
        }
    }
    return false;
}

static const DebugOps blkdebug_debug_ops = {
    .event = blkdebug_event,
    .breakpoint = blkdebug_breakpoint,
    .remove_breakpoint = blkdebug_remove_breakpoint,
    .resume = blkdebug_resume,
    .is_suspended = blkdebug_is_suspended,
};

/* ---- requests ---- */

/* 0, or the error that a rule gives the request. A flush has no range. */
static int blkdebug_check(Co *co, Node *node, int64_t off, int64_t len,
                          BlkdebugIOType type)
{
    BlkdebugState *s = node->state;

    for (guint i = 0; i < s->rules->len; i++) {
        Rule *r = g_ptr_array_index(s->rules, i);
        int error = r->error;
        int64_t delay = r->delay_ns;
        bool immediately = r->immediately;

        if (!r->active || !(r->iotypes & 1U << type) ||
            (r->offset >= 0 && (r->offset < off || r->offset >= off + len))) {
            continue;
        }
        if (r->once) {
            g_ptr_array_remove_index(s->rules, i);
        }
        if (delay > 0) {
            co_sleep(co, delay);
        } else if (!immediately) {
            co_yield(co);
        }
        return -error;
    }
    return 0;
}

static int blkdebug_read(Co *co, Node *node, int64_t off, int64_t len,
                         const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int ret = blkdebug_check(co, node, off, len, BLKDEBUG_IO_TYPE_READ);

    return ret ? ret : io_read(co, node->file, off, len, iov, iov_off, flags);
}

static int blkdebug_write(Co *co, Node *node, int64_t off, int64_t len,
                          const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int ret = blkdebug_check(co, node, off, len, BLKDEBUG_IO_TYPE_WRITE);

    return ret ? ret : io_write(co, node->file, off, len, iov, iov_off, flags);
}

/* What is smaller than the pretended unit is for the core to do by writes. */
static int blkdebug_zero(Co *co, Node *node, int64_t off, int64_t len,
                         ReqFlags flags)
{
    const BlockLimits *l = &node->limits;
    int ret;

    if (len < MAX(l->zero_alignment, l->request_alignment)) {
        return -ENOTSUP;
    }
    ret = blkdebug_check(co, node, off, len, BLKDEBUG_IO_TYPE_WRITE_ZEROES);
    return ret ? ret : io_zero(co, node->file, off, len, flags);
}

static int blkdebug_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    const BlockLimits *l = &node->limits;
    int ret;

    if (len < MAX(l->discard_alignment, l->request_alignment)) {
        return -ENOTSUP;
    }
    ret = blkdebug_check(co, node, off, len, BLKDEBUG_IO_TYPE_DISCARD);
    return ret ? ret : io_discard(co, node->file, off, len);
}

static int blkdebug_flush(Co *co, Node *node)
{
    return blkdebug_check(co, node, 0, 0, BLKDEBUG_IO_TYPE_FLUSH);
}

static int blkdebug_status(Co *co, Node *node, bool precise, int64_t off,
                           int64_t len, Extent *ret)
{
    int err = blkdebug_check(co, node, off, len,
                             BLKDEBUG_IO_TYPE_BLOCK_STATUS);

    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_RAW | EXTENT_OFFSET_VALID,
        .map = off,
        .file = node->file->child,
    };
    return err;
}

/* ---- limits and permissions ---- */

/* @value must be a multiple of @unit below 2 GiB, or 0 for none. */
static bool take_limit(const char *name, bool given, int64_t value,
                       int64_t unit, int64_t *ret, Error **errp)
{
    *ret = given ? value : 0;
    if (*ret < 0 || *ret >= INT_MAX || *ret % unit) {
        error_setg(errp, "Cannot meet constraints with %s %" PRId64, name,
                   *ret);
        return false;
    }
    return true;
}

static bool read_limits(Node *node, const BlockdevOptionsBlkdebug *o,
                        Error **errp)
{
    BlkdebugState *s = node->state;
    int64_t align = node->file->child->limits.request_alignment;

    if (!take_limit("align", o->has_align, o->align, 1, &s->align, errp)) {
        return false;
    }
    if (s->align && !is_power_of_2(s->align)) {
        error_setg(errp, "Cannot meet constraints with align %" PRId64,
                   s->align);
        return false;
    }
    align = MAX(align, s->align);
    return take_limit("max-transfer", o->has_max_transfer, o->max_transfer,
                      align, &s->max_transfer, errp) &&
           take_limit("opt-write-zero", o->has_opt_write_zero,
                      o->opt_write_zero, align, &s->opt_zero, errp) &&
           take_limit("max-write-zero", o->has_max_write_zero,
                      o->max_write_zero, MAX(s->opt_zero, align),
                      &s->max_zero, errp) &&
           take_limit("opt-discard", o->has_opt_discard, o->opt_discard,
                      align, &s->opt_discard, errp) &&
           take_limit("max-discard", o->has_max_discard, o->max_discard,
                      MAX(s->opt_discard, align), &s->max_discard, errp);
}

static void blkdebug_limits(Node *node)
{
    BlkdebugState *s = node->state;
    BlockLimits *l = &node->limits;

    if (s->align) {
        l->request_alignment = s->align;
    }
    if (s->max_transfer) {
        l->max_transfer = s->max_transfer;
    }
    if (s->opt_zero) {
        l->zero_alignment = s->opt_zero;
    }
    if (s->max_zero) {
        l->max_zero = s->max_zero;
    }
    if (s->opt_discard) {
        l->discard_alignment = s->opt_discard;
    }
    if (s->max_discard) {
        l->max_discard = s->max_discard;
    }
}

static uint64_t perms_of(const BlockPermissionList *list)
{
    static const uint64_t perms[BLOCK_PERMISSION__MAX] = {
        [BLOCK_PERMISSION_CONSISTENT_READ] = PERM_CONSISTENT_READ,
        [BLOCK_PERMISSION_WRITE] = PERM_WRITE,
        [BLOCK_PERMISSION_WRITE_UNCHANGED] = PERM_WRITE_UNCHANGED,
        [BLOCK_PERMISSION_RESIZE] = PERM_RESIZE,
    };
    uint64_t all = 0;

    for (; list; list = list->next) {
        all |= perms[list->value];
    }
    return all;
}

static void blkdebug_child_perms(Node *node, const Edge *e, uint64_t perm,
                                 uint64_t shared, uint64_t *need,
                                 uint64_t *share)
{
    BlkdebugState *s = node->state;

    perm_default_filter(node, e, perm, shared, need, share);
    *need |= s->take;
    *share &= ~s->unshare;
}

/* ---- opening, names ---- */

/* "blkdebug:CONFIG:IMAGE" */
static BlockdevOptions *blkdebug_parse_filename(const char *filename,
                                                Error **errp)
{
    const char *config = filename + strlen("blkdebug:");
    const char *colon = strchr(config, ':');
    g_autofree char *prefix = NULL;
    BlockdevOptions *opts, *image;
    const BlockDriver *drv;

    if (!colon) {
        error_setg(errp, "blkdebug requires both config file and image path");
        return NULL;
    }
    prefix = open_protocol_prefix(colon + 1);
    drv = driver_by_protocol(prefix ? prefix : "file");
    if (!drv || !drv->parse_filename) {
        error_setg(errp, "Unknown protocol '%s'", prefix ? prefix : "file");
        return NULL;
    }
    image = drv->parse_filename(colon + 1, errp);
    if (!image) {
        return NULL;
    }
    opts = g_new0(BlockdevOptions, 1);
    opts->driver = BLOCKDEV_DRIVER_BLKDEBUG;
    opts->u.blkdebug.config = colon == config ? NULL
                              : g_strndup(config, colon - config);
    opts->u.blkdebug.image = g_new0(BlockdevRef, 1);
    opts->u.blkdebug.image->type = QTYPE_QDICT;
    opts->u.blkdebug.image->u.definition = *image;
    g_free(image);
    return opts;
}

static const char *const blkdebug_content_options[] = {
    "config", "align", "max-transfer", "opt-write-zero", "max-write-zero",
    "opt-discard", "max-discard", "inject-error", "set-state",
    "take-child-perms", "unshare-child-perms", NULL
};

static char *blkdebug_exact_name(const Node *node)
{
    const BlockdevOptionsBlkdebug *o = &node->options->u.blkdebug;
    const char *file = node->file->child->exact_filename;

    if (!file || o->has_align || o->has_max_transfer ||
        o->has_opt_write_zero || o->has_max_write_zero || o->has_opt_discard ||
        o->has_max_discard || o->inject_error || o->set_state ||
        o->take_child_perms || o->unshare_child_perms) {
        return NULL;
    }
    return g_strdup_printf("blkdebug:%s:%s", o->config ? o->config : "", file);
}

static void blkdebug_free(Node *node)
{
    BlkdebugState *s = node->state;

    g_assert(!s->suspended->len);
    g_ptr_array_free(s->suspended, true);
    g_ptr_array_free(s->rules, true);
}

static void blkdebug_close(Co *co, Node *node)
{
    blkdebug_free(node);
}

static bool blkdebug_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsBlkdebug *o = &node->options->u.blkdebug;
    BlkdebugState *s = node->state;

    s->state = 1;
    s->take = perms_of(o->take_child_perms);
    s->unshare = perms_of(o->unshare_child_perms);
    s->suspended = g_ptr_array_new();
    s->rules = g_ptr_array_new_with_free_func(rule_free);
    if ((o->config && !add_config(s, o->config, errp)) ||
        !open_child(co, node, "image", ROLE_PRIMARY, o->image, errp) ||
        !read_limits(node, o, errp)) {
        blkdebug_free(node);
        return false;
    }
    add_all(s, o->inject_error, o->set_state);
    node->length = node->file->child->length;
    blkdebug_event(co, node, BLKDBG_NONE);
    return true;
}

const BlockDriver blkdebug_driver = {
    .name = "blkdebug",
    .id = BLOCKDEV_DRIVER_BLKDEBUG,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(BlkdebugState),
    .protocol = "blkdebug",
    .content_options = blkdebug_content_options,
    .supports_fua = true,
    .writes_zero_fua = true,
    .supports_compressed = true,
    .parse_filename = blkdebug_parse_filename,
    .exact_name = blkdebug_exact_name,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .read = blkdebug_read,
    .write = blkdebug_write,
    .zero = blkdebug_zero,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .status = blkdebug_status,
    .limits = blkdebug_limits,
    .child_perms = blkdebug_child_perms,
    .debug = &blkdebug_debug_ops,
};
