/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The core on a simulated loop: each seed is a disk, a guest that writes to it
 * with several hands, and somebody who gives QMP commands meanwhile.
 *
 *     schedule [--seed N] [--seeds N]
 *
 * What must hold, whatever coroutine comes first: the guest reads what it
 * wrote; a backup is the disk at the moment of a drain of its command, to the
 * sector; a bitmap holds what was written since it was cleared, and nothing
 * that was not; the image closes, opens again and is without corruptions (and,
 * if no request failed, without leaks); nothing waits for ever; no node is
 * left. With a failing seed's number the same run can be had again.
 */
#include "block/drivers.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/open.h"
#include "guest.h"
#include "job/job.h"
#include "loop-sim.h"
#include "qapi/qapi-commands.h"
#include "sim-disk.h"
#include "util/json.h"

#include <signal.h>

#define JOBS 2

typedef struct Running {
    char *id;                   /* NULL: none */
    const char *target;         /* NULL: it fills a bitmap, @fills */
    Shadow *fills;
    uint32_t *content;          /* the disk before */
    Shadow *shadow;             /* incremental; or the one that was cleared */
    bool clears;                /* the shadow was cleared by its transaction */
    bool mirrors;               /* the copy is of the job's end */
    bool always;                /* it is cleared of what was copied, anyway */
    int first_cut, last_cut;
    bool cancelled;
    int64_t progress;           /* as it was seen last */
} Running;

typedef struct World {
    uint32_t seed;
    Guest *guest;
    bool failing;               /* requests may fail */
    bool lineage;               /* t0 and b0 together make an incremental */
    Root *snap;                 /* NULL: no fleecing */
    int snap_cut, readers;
    bool pulling;               /* by a job and an overlay */
    bool gave_up;               /* a part of the snapshot */
    Running jobs[JOBS];
    int names;
} World;

static uint32_t seed;
static GString *history;        /* the commands of this seed */

static void tell(void)
{
    printf("Bail out! seed %u\n%s", seed, history->str);
    fflush(stdout);
}

static void tell_abort(int sig)
{
    signal(SIGABRT, SIG_DFL);
    tell();
    abort();
}

/* ---- commands ---- */

static bool qmp(Co *co, const char *name, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* Under the control lock, as the monitor does it. False if it was refused. */
static bool qmp(Co *co, const char *name, const char *fmt, ...)
{
    const QmpCommand *cmd = qmp_command_find(name);
    g_autofree char *text = NULL;
    g_autoptr(json_t) args = NULL;
    g_autoptr(json_t) ret = NULL;
    Error *err = NULL;
    va_list ap;
    bool ok;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    args = json_parse_str(text, &error_abort);
    g_string_append_printf(history, "# %s %s", name, text);
    control_lock(co);
    ok = cmd->marshal(co, args, &ret, &err);
    co_move(co, loop_main());
    control_unlock(co);
    g_string_append_printf(history, ": %s\n",
                           ok ? "ok" : error_get_pretty(err));
    error_free(err);
    return ok;
}

static Node *node(const char *name)
{
    return node_find(name);
}

/* ---- the end of a job ---- */

static Running *running_free_slot(World *w)
{
    for (int i = 0; i < JOBS; i++) {
        if (!w->jobs[i].id) {
            return &w->jobs[i];
        }
    }
    return NULL;
}

static Root *look(Co *co, const char *name)
{
    static const RootOps ops = { .kind = "test" };

    return root_open(co, node(name), "", &ops, NULL, PERM_CONSISTENT_READ,
                     PERM_ALL, &error_abort);
}

static void check_copy(Co *co, World *w, const Running *r)
{
    Root *root;

    control_lock(co);
    root = look(co, r->target);
    control_unlock(co);
    if (!guest_is_cut(co, w->guest, root, r->first_cut, r->last_cut)) {
        g_error("%s is not the disk at the start of job %s", r->target,
                r->id);
    }
    control_lock(co);
    root_free(co, root);
    control_unlock(co);
}

/* Nothing that was written is lost, and data that have been there all the time
 * have been found. */
static void check_filled(Co *co, World *w, Running *r, bool good)
{
    g_autofree uint32_t *now = guest_content(w->guest);

    for (int64_t i = 0; i < guest_sectors(w->guest); i++) {
        r->fills->must[i] |= good && now[i] && now[i] == r->content[i];
        r->fills->may[i] |= good;
    }
    guest_check_bitmap(co, w->guest, node("disk"), r->fills);
}

/* What t0 lacks is dirty in b0, whatever became of the jobs. */
static void check_lineage(Co *co, World *w, const Shadow *s)
{
    Root *root;

    if (!w->lineage) {
        return;
    }
    control_lock(co);
    root = look(co, "t0");
    control_unlock(co);
    guest_check_rest(co, w->guest, node("disk"), s, root);
    control_lock(co);
    root_free(co, root);
    control_unlock(co);
}

static void settle(Co *co, World *w, Running *r, Job *job)
{
    bool good = job->ret == 0;

    g_assert(good || w->failing || r->cancelled);
    g_string_append_printf(history, "# job %s ended: %d\n", r->id, job->ret);
    sim_disk_fail(0);
    if (r->fills) {
        check_filled(co, w, r, good);
    } else if (good) {
        r->last_cut = r->mirrors ? guest_cuts(w->guest) : r->last_cut;
        check_copy(co, w, r);
    }
    if (r->shadow && r->clears) {
        w->lineage = good;
    } else if (r->shadow && good) {
        guest_cleared(r->shadow);
    } else if (r->shadow && r->always) {
        guest_cleared_in_part(w->guest, r->shadow);
    } else if (r->shadow) {
        guest_kept(r->shadow);
    }
    if (r->shadow) {
        guest_check_bitmap(co, w->guest, node("disk"), r->shadow);
        check_lineage(co, w, r->shadow);
    }
    sim_disk_fail(w->failing ? 60 : 0);
    qmp(co, "job-dismiss", "{'id': '%s'}", r->id);
    g_clear_pointer(&r->id, g_free);
    g_clear_pointer(&r->content, g_free);
    r->shadow = r->fills = NULL;
}

/* Looks whether jobs have come to their end. */
static void reap(Co *co, World *w)
{
    for (int i = 0; i < JOBS; i++) {
        Running *r = &w->jobs[i];
        Job *job = r->id ? job_find(r->id) : NULL;

        g_assert(!r->id || job);
        if (job) {
            g_assert_cmpint(job->progress_current, >=, r->progress);
            g_assert_cmpint(job->progress_current, <=, job->progress_total);
            g_assert(job->status != JOB_STATUS_CONCLUDED || job->ret < 0 ||
                     job->progress_current == job->progress_total);
            r->progress = job->progress_current;
        }
        if (job && r->mirrors && job->status == JOB_STATUS_READY) {
            qmp(co, "block-job-cancel", "{'device': '%s'}", r->id);
        }
        if (job && job->status == JOB_STATUS_PENDING) {
            qmp(co, "job-finalize", "{'id': '%s'}", r->id);
        }
        if (job && job->status == JOB_STATUS_CONCLUDED) {
            settle(co, w, r, job);
        }
    }
}

/* ---- what can be done ---- */

static const char *tuning(void)
{
    static const char *const all[] = {
        "", ", 'x-perf': {'max-workers': 1}",
        ", 'x-perf': {'max-workers': 3, 'max-chunk': 65536}",
        ", 'speed': 100000000", ", 'auto-finalize': false",
        ", 'x-perf': {'cbw-buffer': 0}", ", 'x-perf': {'cbw-buffer': 200000}",
        ", 'x-perf': {'cbw-buffer': 1048576, 'max-workers': 1}",
        ", 'compress': true",
        ", 'compress': true, 'x-perf': {'cbw-buffer': 200000}",
    };

    return all[sim_random(ARRAY_SIZE(all))];
}

static bool is_free(const World *w, const char *target)
{
    for (int i = 0; i < JOBS; i++) {
        if (w->jobs[i].id && g_strcmp0(w->jobs[i].target, target) == 0) {
            return false;
        }
    }
    return true;
}

/* A job is filling b1, which is kept from others. */
static bool bitmap_is_filled(const World *w)
{
    for (int i = 0; i < JOBS; i++) {
        if (w->jobs[i].id && w->jobs[i].fills) {
            return true;
        }
    }
    return false;
}

/* A slot for a job with this target (NULL: none); NULL if it has to wait. */
static Running *begin_job(World *w, const char *target)
{
    Running *r = running_free_slot(w);

    if (!r || (target && !is_free(w, target))) {
        return NULL;
    }
    r->id = g_strdup_printf("j%d", w->names++);
    r->target = target;
    r->fills = r->shadow = NULL;
    r->clears = r->cancelled = r->always = r->mirrors = false;
    r->first_cut = guest_cuts(w->guest);
    r->progress = 0;
    return r;
}

static void started(World *w, Running *r, bool ok)
{
    r->last_cut = guest_cuts(w->guest);
    if (!ok) {
        g_clear_pointer(&r->id, g_free);
    }
}

static void do_full(Co *co, World *w)
{
    Running *r = begin_job(w, "t1");
    bool ok;

    if (!r) {
        return;
    }
    ok = qmp(co, "blockdev-backup", "{'job-id': '%s', 'device': 'disk',"
             "'target': 't1', 'sync': 'full', 'auto-dismiss': false%s}",
             r->id, tuning());
    started(w, r, ok);
}

static void do_mirror(Co *co, World *w)
{
    Running *r = begin_job(w, "t1");
    const char *mode;
    bool ok;

    if (!r) {
        return;
    }
    r->mirrors = true;
    mode = sim_one_in(2) ? "background" : "write-blocking";
    ok = qmp(co, "blockdev-mirror", "{'job-id': '%s', 'device': 'disk',"
             "'target': 't1', 'sync': 'full', 'copy-mode': '%s',"
             "'granularity': %d, 'auto-dismiss': false}", r->id, mode,
             4096 << sim_random(5));
    started(w, r, ok);
}

/* A full backup, and a bitmap that begins with it: one point in time. */
static void do_first(Co *co, World *w)
{
    Shadow *s = guest_find(w->guest, "b0");
    Running *r = s ? begin_job(w, "t0") : NULL;
    bool ok;

    if (!r) {
        return;
    }
    guest_mark(w->guest, s);
    ok = qmp(co, "transaction", "{'actions': [{'type':"
             "'block-dirty-bitmap-clear', 'data': {'node': 'disk', 'name':"
             "'b0'}}, {'type': 'blockdev-backup', 'data': {'job-id': '%s',"
             "'device': 'disk', 'target': 't0', 'sync': 'full',"
             "'auto-dismiss': false%s}}]}", r->id, tuning());
    if (ok) {
        guest_returned(w->guest, s);
        guest_cleared(s);
        r->shadow = s;
        r->clears = true;
        w->lineage = false;
    } else {
        guest_kept(s);
    }
    started(w, r, ok);
}

static void do_incremental(Co *co, World *w)
{
    Shadow *s = guest_find(w->guest, "b0");
    Running *r = s && s->recording && w->lineage ? begin_job(w, "t0") : NULL;
    bool ok;

    if (!r) {
        return;
    }
    r->always = sim_one_in(2);
    guest_mark(w->guest, s);
    ok = qmp(co, "blockdev-backup", "{'job-id': '%s', 'device': 'disk',"
             "'target': 't0', 'sync': 'bitmap', 'bitmap': 'b0',"
             "'bitmap-mode': '%s', 'auto-dismiss': false%s}", r->id,
             r->always ? "always" : "on-success", tuning());
    if (ok) {
        guest_returned(w->guest, s);
        r->shadow = s;
    } else {
        guest_kept(s);
    }
    started(w, r, ok);
}

static void do_add(Co *co, World *w)
{
    const char *name = sim_one_in(2) ? "b0" : "b1", *persistent;
    Shadow *s;

    if (guest_find(w->guest, name)) {
        return;
    }
    /* It records from some moment of the command on. */
    s = guest_shadow(w->guest, name);
    persistent = sim_one_in(2) ? "true" : "false";
    if (!qmp(co, "block-dirty-bitmap-add", "{'node': 'disk', 'name': '%s',"
             "'granularity': %d, 'persistent': %s}", name,
             512 << sim_random(6), persistent)) {
        guest_forget(w->guest, s);
        return;
    }
    guest_mark(w->guest, s);
    guest_returned(w->guest, s);
    g_free(s->must);
    s->must = g_steal_pointer(&s->must_next);
    guest_kept(s);
}

/* A bitmap has forgotten what t0 lacks. */
static void break_lineage(World *w, const char *bitmap)
{
    if (!g_str_equal(bitmap, "b0")) {
        return;
    }
    w->lineage = false;
    for (int i = 0; i < JOBS; i++) {
        w->jobs[i].shadow = NULL;
    }
}

static void do_remove(Co *co, World *w)
{
    const char *name = sim_one_in(4) ? "b0" : "b1";
    Shadow *s = guest_find(w->guest, name);

    if (s && !bitmap_is_filled(w) &&
        qmp(co, "block-dirty-bitmap-remove",
            "{'node': 'disk', 'name': '%s'}", name)) {
        guest_forget(w->guest, s);
        break_lineage(w, name);
    }
}

static void do_clear(Co *co, World *w)
{
    const char *name = sim_one_in(4) ? "b0" : "b1";
    Shadow *s = guest_find(w->guest, name);

    if (!s || s->may_next || bitmap_is_filled(w)) {
        return;
    }
    guest_mark(w->guest, s);
    if (!qmp(co, "block-dirty-bitmap-clear",
             "{'node': 'disk', 'name': '%s'}", name)) {
        guest_kept(s);
        return;
    }
    guest_returned(w->guest, s);
    guest_cleared(s);
    break_lineage(w, name);
}

static void do_switch(Co *co, World *w)
{
    Shadow *s = guest_find(w->guest, "b1");
    bool was;

    if (!s || bitmap_is_filled(w)) {
        return;
    }
    was = s->recording;
    s->recording = false;
    if (qmp(co, was ? "block-dirty-bitmap-disable"
                    : "block-dirty-bitmap-enable",
            "{'node': 'disk', 'name': 'b1'}")) {
        s->recording = !was;
        guest_under_way(w->guest);
    } else {
        s->recording = was;
    }
}

static void do_merge(Co *co, World *w)
{
    Shadow *from = guest_find(w->guest, "b0"),
           *to = guest_find(w->guest, "b1");
    g_autofree bool *must = NULL;

    if (!from || !to || from->may_next || to->may_next ||
        bitmap_is_filled(w)) {
        return;
    }
    must = g_memdup2(from->must, guest_sectors(w->guest));
    if (qmp(co, "block-dirty-bitmap-merge", "{'node': 'disk', 'target': 'b1',"
            "'bitmaps': ['b0']}")) {
        for (int64_t i = 0; i < guest_sectors(w->guest); i++) {
            to->must[i] |= must[i];
            to->may[i] = true;
        }
    }
}

/* Several bitmap actions of which the last one fails: nothing has happened. */
static void do_fail(Co *co, World *w)
{
    g_assert_false(qmp(co, "transaction", "{'actions': [{'type':"
                       "'block-dirty-bitmap-add', 'data': {'node': 'disk',"
                       "'name': 'b7'}}, {'type': 'block-dirty-bitmap-clear',"
                       "'data': {'node': 'disk', 'name': 'b0'}}, {'type':"
                       "'block-dirty-bitmap-clear', 'data': {'node': 'disk',"
                       "'name': 'b1'}}, {'type': 'abort', 'data': {}}]}"));
}

static void do_populate(Co *co, World *w)
{
    static const char *const patterns[] = { "allocation-top", "non-zero" };
    Shadow *s = guest_find(w->guest, "b1");
    Running *r = s && !bitmap_is_filled(w) ? begin_job(w, NULL) : NULL;
    bool ok;

    if (!r) {
        return;
    }
    r->fills = s;
    r->content = guest_content(w->guest);
    ok = qmp(co, "block-dirty-bitmap-populate", "{'job-id': '%s', 'node':"
             "'disk', 'name': 'b1', 'pattern': '%s', 'auto-dismiss': false}",
             r->id, patterns[sim_random(2)]);
    started(w, r, ok);
    if (!ok) {
        g_clear_pointer(&r->content, g_free);
    }
}

static void do_drain(Co *co, World *w)
{
    control_lock(co);
    drain_begin(co, node("disk"));
    if (sim_one_in(2)) {
        sim_pause(co);
    }
    drain_end(node("disk"));
    co_move(co, loop_main());
    control_unlock(co);
}

static void do_verb(Co *co, World *w)
{
    static const char *const verbs[] = {
        "job-pause", "job-resume", "job-cancel", "job-resume", "job-finalize",
    };
    Running *r = &w->jobs[sim_random(JOBS)];
    const char *verb = verbs[sim_random(ARRAY_SIZE(verbs))];

    if (!r->id) {
        return;
    }
    if (sim_one_in(4)) {
        static const int64_t odd[] = { 0, INT64_MAX, INT64_MAX / 1000 };

        qmp(co, "block-job-set-speed", "{'device': '%s', 'speed': %" PRId64
            "}", r->id, sim_one_in(4) ? odd[sim_random(ARRAY_SIZE(odd))] :
            INT64_C(1000000) * (1 + sim_random(200)));
        return;
    }
    r->cancelled |= g_str_equal(verb, "job-cancel");
    if (g_str_equal(verb, "job-cancel") && sim_one_in(2)) {
        qmp(co, "block-job-cancel", "{'device': '%s'}", r->id);
    } else {
        qmp(co, verb, "{'id': '%s'}", r->id);
    }
}

static void do_check_bitmaps(Co *co, World *w)
{
    for (int i = 0; i < 2; i++) {
        Shadow *s = guest_find(w->guest, i ? "b1" : "b0");

        /* A frozen one stands still. */
        if (s && !s->may_next && !(i && bitmap_is_filled(w))) {
            guest_check_bitmap(co, w->guest, node("disk"), s);
        }
    }
}

static void do_wait(Co *co, World *w)
{
    co_sleep(co, sim_random(20 * 1000 * 1000));
}

static void (*const doings[])(Co *co, World *w) = {
    do_full, do_mirror, do_first, do_first, do_incremental, do_incremental,
    do_incremental, do_add, do_add, do_remove, do_clear, do_switch, do_merge,
    do_fail, do_populate, do_drain, do_verb, do_verb, do_check_bitmaps, do_wait, do_wait,
};

/* ---- a run ---- */

static void add_image(Co *co, const char *name, int64_t size, bool create,
                      const char *more)
{
    static const char *const options[] = {
        "", ", 'cluster-size': 512", ", 'cluster-size': 4096",
        ", 'cluster-size': 16384, 'extended-l2': true",
        ", 'cluster-size': 2048, 'refcount-bits': 64",
        ", 'lazy-refcounts': true, 'cluster-size': 4096",
    };
    g_autofree char *text = NULL;
    g_autoptr(BlockdevCreateOptions) opts = NULL;
    g_autoptr(json_t) tree = NULL;

    qmp(co, "blockdev-add", "{'driver': 'null-co', 'node-name': '%s-file',"
        "'size': %d}", name, 0);
    if (create) {
        text = g_strdup_printf("{'driver': 'qcow2', 'file': '%s-file',"
                               "'size': %" PRId64 "%s}", name, size,
                               options[sim_random(ARRAY_SIZE(options))]);
        g_string_append_printf(history, "# create %s\n", text);
        tree = json_parse_str(text, &error_abort);
        opts = BlockdevCreateOptions_from_json(tree, QAPI_STRICT,
                                               &error_abort);
        control_lock(co);
        g_assert_true(qcow2_driver.image->create(co, opts, &error_abort));
        co_move(co, loop_main());
        control_unlock(co);
    }
    g_assert_true(qmp(co, "blockdev-add", "{'driver': 'qcow2', 'node-name':"
                      "'%s', 'file': '%s-file', 'discard': '%s'%s%s}", name,
                      name, sim_one_in(2) ? "unmap" : "ignore",
                      sim_one_in(3) ? ", 'l2-cache-size': 1024" : "", more));
}

static void add_target(Co *co, const char *name, int64_t size)
{
    if (sim_one_in(2)) {
        add_image(co, name, size, true, "");
    } else {
        qmp(co, "blockdev-add", "{'driver': 'null-co', 'node-name': '%s',"
            "'size': %" PRId64 "}", name, size);
    }
}

static void settle_all(Co *co, World *w)
{
    for (bool left = true; left; ) {
        left = false;
        for (int i = 0; i < JOBS; i++) {
            Job *job = w->jobs[i].id ? job_find(w->jobs[i].id) : NULL;

            if (job && job->user_paused) {
                qmp(co, "job-resume", "{'id': '%s'}", w->jobs[i].id);
            }
            left |= job != NULL;
        }
        reap(co, w);
        sim_pause(co);
    }
}

static void check_image(Co *co, World *w)
{
    CheckOptions opts = { 0 };
    CheckResult res = { 0 };
    Node *disk = node("disk");

    control_lock(co);
    g_assert_cmpint(disk->drv->image->check(co, disk, &opts, &res), ==, 0);
    control_unlock(co);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
    if (!sim_disk_failures()) {
        g_assert_cmpint(res.leaks, ==, 0);
    }
}

static void close_all(Co *co)
{
    control_lock(co);
    job_cancel_all(co);
    node_unref_named(co);
    co_move(co, loop_main());
    g_assert_null(node_first());
    control_unlock(co);
}

static void reopen_and_check(Co *co, World *w, int64_t size)
{
    Root *root;

    add_image(co, "disk", size, false, "");
    control_lock(co);
    root = look(co, "disk");
    control_unlock(co);
    guest_check(co, w->guest, root);
    control_lock(co);
    root_free(co, root);
    control_unlock(co);
    check_image(co, w);
}

/* ---- fleecing: the disk as it was, beside the guest that writes ---- */

/* The guest goes on above a filter that keeps what it overwrites. */
static void add_fleecing(Co *co, World *w)
{
    static const char *const buffers[] = {
        "", ", 'cbw-buffer': 0", ", 'cbw-buffer': 200000",
        ", 'cbw-buffer': 1048576",
        ", 'on-cbw-error': 'break-snapshot', 'cbw-buffer': 200000",
        ", 'cbw-timeout': 1, 'cbw-buffer': 1048576",
    };

    guest_start(w->guest, 3, 10);
    guest_wait(co, w->guest);
    control_lock(co);
    guest_leave(co, w->guest);
    control_unlock(co);
    add_target(co, "scratch", guest_sectors(w->guest) * SECTOR);
    g_assert_true(qmp(co, "blockdev-add", "{'driver': 'copy-before-write',"
                      "'node-name': 'cbw', 'file': 'disk', 'target':"
                      "'scratch'%s}", buffers[sim_random(
                          ARRAY_SIZE(buffers))]));
    g_assert_true(qmp(co, "blockdev-add", "{'driver': 'snapshot-access',"
                      "'node-name': 'snap', 'file': 'cbw', 'discard':"
                      "'unmap'}"));
    control_lock(co);
    guest_enter(co, w->guest, node("cbw"));
    w->snap = look(co, "snap");
    g_assert_true(root_set_perms(co, w->snap, PERM_CONSISTENT_READ |
                                 PERM_WRITE, PERM_ALL, &error_abort));
    control_unlock(co);
    w->snap_cut = guest_cut(w->guest);
    w->readers = 1 + sim_random(3);
}

/* The same with a job and an overlay of the disk, which is read. */
static void add_overlay(Co *co, World *w)
{
    guest_start(w->guest, 3, 10);
    guest_wait(co, w->guest);
    add_image(co, "scratch", guest_sectors(w->guest) * SECTOR, true,
              ", 'backing': 'disk'");
    g_assert_true(qmp(co, "blockdev-backup", "{'job-id': 'pull', 'device':"
                      "'disk', 'target': 'scratch', 'sync': 'none'}"));
    control_lock(co);
    w->snap = look(co, "scratch");
    control_unlock(co);
    w->snap_cut = guest_cut(w->guest);
    w->readers = 1 + sim_random(3);
    w->pulling = true;
}

/* It has been fetched, whatever it is. */
static void snap_give_up(Co *co, World *w)
{
    int64_t first = sim_random(guest_sectors(w->guest));
    int64_t n = 1 + sim_random(guest_sectors(w->guest) - first);

    w->gave_up = true;
    root_discard(co, w->snap, first * SECTOR, n * SECTOR);
}

static void snap_reader(Co *co, void *opaque)
{
    World *w = opaque;

    do {
        int ret = guest_look(co, w->guest, w->snap, w->snap_cut);

        g_assert(ret == 0 || w->failing || (w->gave_up && ret == -EACCES));
        if (!w->pulling && sim_one_in(20)) {
            snap_give_up(co, w);
        }
        if (sim_one_in(2)) {
            sim_pause(co);
        }
    } while (guest_is_writing(w->guest));
    w->readers--;
}

static void start_readers(World *w)
{
    for (int i = 0; i < w->readers; i++) {
        co_spawn(loop_main(), snap_reader, w);
    }
}

static void end_fleecing(Co *co, World *w)
{
    while (w->readers) {
        sim_pause(co);
    }
    control_lock(co);
    root_free(co, w->snap);
    control_unlock(co);
    if (w->pulling) {
        g_assert_true(qmp(co, "job-cancel", "{'id': 'pull'}"));
        while (job_find("pull")) {
            sim_pause(co);
        }
    }
}

static void work(Co *co, World *w)
{
    int n = 10 + sim_random(30);
    int writers = 1 + sim_random(5);

    guest_start(w->guest, writers, 10 + sim_random(50));
    start_readers(w);
    for (int i = 0; i < n; i++) {
        doings[sim_random(ARRAY_SIZE(doings))](co, w);
        reap(co, w);
        if (sim_one_in(2)) {
            sim_pause(co);
        }
    }
    guest_wait(co, w->guest);
    end_fleecing(co, w);
    settle_all(co, w);
    sim_disk_fail(0);
    do_check_bitmaps(co, w);
    guest_check(co, w->guest, guest_root(w->guest));
}

static void live(Co *co, World *w)
{
    int64_t size = SECTOR * (64 + sim_random(sim_one_in(8) ? 6000 : 800));

    sim_disk_forget();
    g_string_truncate(history, 0);
    add_image(co, "disk", size, true, "");
    add_target(co, "t0", size);
    add_target(co, "t1", size);
    control_lock(co);
    w->guest = guest_new(co, node("disk"));
    control_unlock(co);
    if (sim_one_in(3)) {
        add_fleecing(co, w);
    } else if (sim_one_in(3)) {
        add_overlay(co, w);
    }
    w->failing = sim_one_in(4);
    sim_disk_fail(w->failing ? 60 : 0);
    work(co, w);
    control_lock(co);
    guest_leave(co, w->guest);
    control_unlock(co);
    close_all(co);
    reopen_and_check(co, w, size);
    control_lock(co);
    guest_free(co, w->guest);
    control_unlock(co);
    close_all(co);
}

typedef struct Runs {
    uint32_t first, n;
} Runs;

static void run(Co *co, void *opaque)
{
    Runs *runs = opaque;

    for (uint32_t i = 0; i < runs->n; i++) {
        World w = { .seed = runs->first + i };

        seed = w.seed;
        sim_seed(seed);
        live(co, &w);
    }
    printf("ok 1 %u seeds from %u on\n", runs->n, runs->first);
    loop_stop(loop_main());
}

int main(int argc, char **argv)
{
    Runs runs = { 1, 100 };

    for (int i = 1; i + 1 < argc; i += 2) {
        if (g_str_equal(argv[i], "--seed")) {
            runs.first = g_ascii_strtoull(argv[i + 1], NULL, 10);
            runs.n = 1;
        } else if (g_str_equal(argv[i], "--seeds")) {
            runs.n = g_ascii_strtoull(argv[i + 1], NULL, 10);
        } else {
            fprintf(stderr, "usage: schedule [--seed N] [--seeds N]\n");
            return 2;
        }
    }
    printf("1..1\n");
    history = g_string_new(NULL);
    signal(SIGABRT, tell_abort);
    signal(SIGTRAP, tell_abort);
    signal(SIGSEGV, tell_abort);
    setlinebuf(stdout);
    sim_init();
    driver_register(&sim_disk_driver);
    driver_register(&qcow2_driver);
    driver_register(&raw_driver);
    driver_register(&copy_before_write_driver);
    driver_register(&snapshot_access_driver);
    loop_init_main(&error_abort);
    co_spawn(loop_main(), run, &runs);
    loop_run(loop_main());
    g_string_free(history, true);
    return 0;
}
