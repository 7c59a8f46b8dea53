/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The backup job. Its parts:
 *
 *     cbw        the copy-before-write filter on top of the source: from its
 *                insertion on, nothing of the source is lost
 *     copy       the filter's copy state: what is still to copy
 *     root       of the job, on the filter: counts its background chunks
 *     freeze     of the bitmap: stands still while a successor records
 *     keeper     on the bitmap's node, which the graph may come to leave out:
 *                it stays, and on this loop
 *
 * The job copies in the background what guests have not made the filter copy
 * before, until nothing is left (sync=none: it only waits), and flushes the
 * target: what is not durable there is not done. In the end the freeze is
 * committed or rolled back, as bitmap-mode says, and the filter goes.
 */

#include "block/backup.h"
#include "block/bitmap-sync.h"
#include "block/copy-before-write.h"
#include "block/copy-job.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/root.h"

#define NS_PER_S INT64_C(1000000000)
#define STOP_POLL_NS (10 * 1000 * 1000)

typedef struct BackupJob {
    Job common;
    MirrorSyncMode sync;
    BitmapSyncMode bitmap_mode;
    BlockdevOnError on_source_error, on_target_error;
    Node *cbw;
    CopyState *copy;
    Root *root;
    BitmapFreeze *freeze;       /* NULL: no bitmap */
    Root *keeper;               /* NULL: no bitmap */
    int64_t off, len;           /* the part that is copied: whole clusters */
    CopyRun run;                /* the run coroutine's */
    bool flushed;               /* the target has what is not left to copy */
} BackupJob;

/* ---- running ---- */

/* A cluster that the disk ends in counts as a whole one, as with QEMU. */
static int64_t whole_clusters(const BackupJob *b, int64_t bytes)
{
    return ROUND_UP(bytes, copy_cluster_size(b->copy));
}

static void backup_progress(void *opaque, int64_t bytes)
{
    BackupJob *b = opaque;

    job_progress_add(&b->common, whole_clusters(b, bytes));
}

static Node *backup_target(const BackupJob *b)
{
    return node_child(b->cbw, "target")->child;
}

static void backup_kick(Job *job)
{
    BackupJob *b = container_of(job, BackupJob, common);

    copy_run_kick(&b->run);
    if (job_is_forced(job)) {
        cbw_stop(b->cbw);
        copy_job_kick_target(job, backup_target(b));
    }
}

/* Until the user ends it, or the snapshot breaks: the filter does the work. */
static int backup_idle(Co *co, BackupJob *b)
{
    while (!job_is_cancelled(&b->common)) {
        int ret = cbw_snapshot_error(b->cbw);

        if (ret < 0) {
            return ret;
        }
        job_sleep_ns(co, &b->common, NS_PER_S / 2);
    }
    return -ECANCELED;
}

static int backup_flush(Co *co, BackupJob *b)
{
    int ret;

    copy_job_kick_target(&b->common, backup_target(b));
    root_begin(co, b->root);
    ret = io_flush(co, backup_target(b));
    root_end(b->root);
    b->flushed = ret == 0;
    return ret;
}

static int backup_copy(Co *co, BackupJob *b)
{
    while (true) {
        bool is_read = false;
        int ret;

        job_pause_point(co, &b->common);
        if (job_is_cancelled(&b->common)) {
            return -ECANCELED;
        }
        ret = copy_run_stretch(co, &b->run, &b->common, &is_read);
        if (cbw_snapshot_error(b->cbw) < 0) {
            return cbw_snapshot_error(b->cbw);
        }
        if (ret == 0) {
            ret = backup_flush(co, b);
        }
        if (ret == 0) {
            return 0;
        }
        ret = copy_run_error(co, &b->common, is_read ? b->on_source_error
                                                     : b->on_target_error,
                             is_read, ret);
        if (ret < 0) {
            return ret;
        }
    }
}

/* sync=top: what the layers below hold does not count. */
static int backup_leave_out_base(Co *co, BackupJob *b)
{
    Node *source = node_filter_child(b->cbw)->child;
    Node *base = node_backing_chain_next(b->cbw);

    for (int64_t off = b->off, end = off + b->len, n = 0; off < end;
         off += n) {
        int64_t before;
        int ret;

        job_pause_point(co, &b->common);
        if (job_is_cancelled(&b->common)) {
            return -ECANCELED;
        }
        root_begin(co, b->root);
        ret = status_allocated_above(co, source, base, false, off,
                                     MIN(end - off, GiB), &n);
        if (ret == 0) {
            before = whole_clusters(b, copy_bytes_todo(b->copy));
            copy_forget(b->copy, off, n);
            job_progress_grow(&b->common, whole_clusters(
                b, copy_bytes_todo(b->copy)) - before);
        }
        root_end(b->root);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int backup_work(Co *co, BackupJob *b)
{
    int ret;

    if (b->sync == MIRROR_SYNC_MODE_NONE) {
        return backup_idle(co, b);
    }
    ret = b->sync == MIRROR_SYNC_MODE_TOP ? backup_leave_out_base(co, b) : 0;
    return ret < 0 ? ret : backup_copy(co, b);
}

/* What guests are just having copied is over, one way or the other, before anybody
 * says what the target has. There is no drain: a target that does not answer holds
 * up the job, but no guest's other requests. */
static void backup_give_up(Co *co, BackupJob *b)
{
    while (!cbw_stop(b->cbw)) {
        copy_job_kick_target(&b->common, backup_target(b));
        co_sleep(co, STOP_POLL_NS);
    }
    copy_buffer_close(co, b->copy);
}

static int backup_run(Co *co, Job *job, Error **errp)
{
    BackupJob *b = container_of(job, BackupJob, common);
    int ret;

    co_move(co, b->root->loop);
    job_working_on(co, job);
    ret = backup_work(co, b);
    /* What sync=none has saved until it is cancelled is its result. */
    if (ret < 0 && (b->sync != MIRROR_SYNC_MODE_NONE ||
                    cbw_snapshot_error(b->cbw) < 0)) {
        backup_give_up(co, b);
    }
    if (ret < 0 && b->freeze && b->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS) {
        backup_flush(co, b);
    }
    return ret;
}

/* ---- the end ---- */

/* What was to be copied and has not been stays dirty. */
static void keep_what_is_left(Co *co, BackupJob *b, DirtyBitmap *bm)
{
    Bitset *bits = bitmap_bits_mut(co, bm, NULL);

    if (bits) {
        bitset_or_scaled(bits, bm->granularity_shift, copy_todo(b->copy),
                         __builtin_ctzll(copy_cluster_size(b->copy)));
    }
}

/* A copy of @bm's bits that do not lie in the job's part; NULL: all do. */
static Bitset *bits_elsewhere(Co *co, BackupJob *b, DirtyBitmap *bm)
{
    int64_t end = b->off + b->len, first, last;
    const Bitset *bits;
    Bitset *copy;

    if (b->off == 0 && end >= b->cbw->length) {
        return NULL;
    }
    bits = bitmap_bits(co, bm, NULL);
    if (!bits) {
        return NULL;
    }
    copy = bitset_new(bitset_size(bits));
    bitset_or(copy, bits);
    first = DIV_ROUND_UP(b->off, INT64_C(1) << bm->granularity_shift);
    last = end >= b->cbw->length ? bitset_size(bits)
                                 : end >> bm->granularity_shift;
    if (last > first) {
        bitset_clear(copy, first, last - first);
    }
    return copy;
}

/* What the job has nothing to do with stays dirty. */
static void commit_freeze(Co *co, BackupJob *b, DirtyBitmap *bm)
{
    Bitset *elsewhere = bits_elsewhere(co, b, bm);
    Bitset *bits;

    bitmap_freeze_commit(co, b->freeze);
    bits = elsewhere ? bitmap_bits_mut(co, bm, NULL) : NULL;
    if (bits) {
        bitset_or(bits, elsewhere);
    }
    bitset_free(elsewhere);
}

/* It is not known what the target has, and what the bitmap held before says
 * nothing about it: none of what was to be copied counts as there. */
static void lack_all(BackupJob *b, DirtyBitmap *bm)
{
    if (!bitmap_sync_copies(b->sync)) {
        bitmap_set_range(bm, b->off,
                         MIN(b->len, bm->node->length - b->off));
    }
}

static void settle_bitmap(Co *co, BackupJob *b, bool success)
{
    DirtyBitmap *bm;

    if (!b->freeze) {
        return;
    }
    co_move(co, b->cbw->loop);
    bm = bitmap_freeze_frozen(b->freeze);
    if ((b->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS && b->flushed) ||
        (b->bitmap_mode == BITMAP_SYNC_MODE_ON_SUCCESS && success)) {
        commit_freeze(co, b, bm);
        if (!success) {
            keep_what_is_left(co, b, bm);
        }
    } else {
        bitmap_freeze_rollback(co, b->freeze);
        if (b->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS) {
            lack_all(b, bm);
        }
    }
    b->freeze = NULL;
    co_move(co, loop_main());
}

static void backup_commit(Co *co, Job *job)
{
    settle_bitmap(co, container_of(job, BackupJob, common), true);
}

static void backup_abort(Co *co, Job *job)
{
    settle_bitmap(co, container_of(job, BackupJob, common), false);
}

static void backup_clean(Co *co, Job *job)
{
    BackupJob *b = container_of(job, BackupJob, common);

    root_free(co, b->root);
    root_free(co, b->keeper);
    b->cbw->busy--;
    cbw_drop(co, b->cbw);
}

static const JobDriver backup_driver = {
    .type = JOB_TYPE_BACKUP,
    .size = sizeof(BackupJob),
    .is_block_job = true,
    .run = backup_run,
    .commit = backup_commit,
    .abort = backup_abort,
    .clean = backup_clean,
    .kick = backup_kick,
};

/* ---- making ---- */

static bool check_nodes(const BackupCommon *arg, Node *source, Node *target,
                        Error **errp)
{
    if (source == target) {
        error_setg(errp, "Source and target cannot be the same");
        return false;
    }
    if (!node_check_busy(source, errp) || !node_check_busy(target, errp)) {
        return false;
    }
    if (arg->has_compress && arg->compress &&
        !node_skip_filters(target)->drv->supports_compressed) {
        error_setg(errp, "Compression is not supported for this drive %s", "");
        return false;
    }
    if (source->length != target->length) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

static bool check_part(const BackupCommon *arg, const Node *source,
                       Error **errp)
{
    int64_t off = arg->has_offset ? arg->offset : 0;
    int64_t len = arg->has_length ? arg->length : source->length - off;

    if (!arg->has_offset && !arg->has_length) {
        return true;
    }
    if (arg->sync == MIRROR_SYNC_MODE_NONE) {
        error_setg(errp, "A part of the disk makes no sense with sync mode "
                   "'none'");
        return false;
    }
    if (off < 0 || len <= 0 || off > source->length - len) {
        error_setg(errp, "'offset' and 'length' must name a part of the disk");
        return false;
    }
    return true;
}

static void choose_part(BackupJob *b, const BackupCommon *arg)
{
    int64_t size = copy_cluster_size(b->copy), length = b->cbw->length;
    int64_t off = arg->has_offset ? arg->offset : 0;
    int64_t end = arg->has_length ? off + arg->length : length;

    b->off = ROUND_DOWN(off, size);
    b->len = MIN(ROUND_UP(end, size), length) - b->off;
}

static void leave_out_the_rest(BackupJob *b, Bitset *todo)
{
    int64_t size = copy_cluster_size(b->copy), bits = bitset_size(todo);
    int64_t first = b->off / size;
    int64_t last = DIV_ROUND_UP(b->off + b->len, size);

    bitset_clear(todo, 0, first);
    bitset_clear(todo, last, bits - last);
}

/* Which part of the source the filter and the job are to copy. */
static bool choose_todo(Co *co, BackupJob *b, const BackupCommon *arg,
                        DirtyBitmap *bm, Error **errp)
{
    Bitset *todo = copy_todo(b->copy);
    const Bitset *bits;

    copy_set_compress(b->copy, arg->has_compress && arg->compress);
    if (arg->sync == MIRROR_SYNC_MODE_TOP) {
        copy_set_skip(b->copy, true,
                      node_backing_chain_next(b->cbw));
    }
    if (bitmap_sync_copies(arg->sync)) {
        bits = bitmap_bits(co, bm, errp);
        if (!bits) {
            return false;
        }
        bitset_clear_all(todo);
        bitset_or_scaled(todo, __builtin_ctzll(copy_cluster_size(b->copy)),
                         bits, bm->granularity_shift);
    }
    choose_part(b, arg);
    leave_out_the_rest(b, todo);
    return true;
}

static void set_run(BackupJob *b, const BackupPerf *perf)
{
    copy_run_init(&b->run, b->copy, b->root, b->cbw->length, &b->common);
    copy_set_progress(b->copy, backup_progress, b);
    if (perf) {
        copy_set_copy_range(b->copy, perf->has_use_copy_range &&
                                     perf->use_copy_range);
        b->run.call.max_workers = perf->has_max_workers ? perf->max_workers : 0;
        b->run.call.max_chunk = perf->has_max_chunk ? perf->max_chunk : 0;
    }
}

static bool check_perf(const BackupPerf *perf, Error **errp)
{
    if (!perf) {
        return true;
    }
    if (perf->has_max_workers &&
        (perf->max_workers < 1 || perf->max_workers > INT_MAX)) {
        error_setg(errp, "max-workers must be between 1 and %d", INT_MAX);
        return false;
    }
    if (perf->has_max_chunk && perf->max_chunk < 0) {
        error_setg(errp, "max-chunk must be zero (which means no limit) or "
                   "positive");
        return false;
    }
    return true;
}

static bool check_chunk(const CopyState *copy, const BackupPerf *perf,
                        Error **errp)
{
    int64_t chunk = perf && perf->has_max_chunk ? perf->max_chunk : 0;

    if (chunk && chunk < copy_cluster_size(copy)) {
        error_setg(errp, "Required max-chunk (%" PRIi64 ") is less than "
                   "backup cluster size (%" PRIi64 ")", chunk,
                   copy_cluster_size(copy));
        return false;
    }
    return true;
}

static Node *put_filter(Co *co, const BackupCommon *arg, Node *source,
                        Node *target, Error **errp)
{
    CbwSettings set = {
        .filter_node_name = arg->filter_node_name,
        .on_cbw_error = arg->has_on_cbw_error
                        ? arg->on_cbw_error : ON_CBW_ERROR_BREAK_GUEST_WRITE,
        .timeout_ns = arg->has_cbw_timeout
                      ? (int64_t)arg->cbw_timeout * NS_PER_S : 0,
        .discard_source = arg->has_discard_source && arg->discard_source,
        .buffer = CBW_BUFFER_DEFAULT,
    };

    if (arg->x_perf && arg->x_perf->has_min_cluster_size) {
        set.min_cluster_size = arg->x_perf->min_cluster_size;
    }
    if (arg->x_perf && arg->x_perf->has_cbw_buffer) {
        set.buffer = MIN(arg->x_perf->cbw_buffer, INT64_MAX);
    }
    if (arg->sync == MIRROR_SYNC_MODE_NONE) {
        set.buffer = 0;         /* its target is there to be read meanwhile */
    }
    return cbw_append(co, source, target, &set, errp);
}

static BackupJob *make_job(const BackupCommon *arg, JobTxn *txn, Error **errp)
{
    JobFlags flags = job_flags(arg->has_auto_finalize, arg->auto_finalize,
                               arg->has_auto_dismiss, arg->auto_dismiss);

    return job_create(arg->job_id, &backup_driver, txn, flags, errp);
}

static const RootOps keeper_ops = {
    .kind = "block job",
    .stay_at_node = true,
    .loop_can_change = root_refuse_loop,
};

static bool hold_graph(Co *co, BackupJob *b, const DirtyBitmap *bm,
                       Error **errp)
{
    b->root = copy_job_guard(co, &b->common, b->cbw, PERM_CONSISTENT_READ,
                             PERM_ALL, errp);
    if (b->root && bm) {
        b->keeper = root_open(co, bm->node, b->common.id, &keeper_ops, NULL, 0,
                              PERM_ALL, errp);
    }
    return b->root && (b->keeper || !bm);
}

static bool fill_job(Co *co, BackupJob *b, const BackupCommon *arg,
                     DirtyBitmap *bm, Error **errp)
{
    bool ok;

    b->sync = arg->sync;
    b->on_source_error = arg->has_on_source_error
                         ? arg->on_source_error : BLOCKDEV_ON_ERROR_REPORT;
    b->on_target_error = arg->has_on_target_error
                         ? arg->on_target_error : BLOCKDEV_ON_ERROR_REPORT;
    b->copy = cbw_copy_state(b->cbw);
    if (!check_chunk(b->copy, arg->x_perf, errp)) {
        return false;
    }
    if (arg->has_speed && !job_user_set_speed(&b->common, arg->speed, errp)) {
        return false;
    }
    if (!hold_graph(co, b, bm, errp)) {
        return false;
    }
    co_move(co, b->cbw->loop);
    set_run(b, arg->x_perf);
    ok = choose_todo(co, b, arg, bm, errp);
    if (ok && bm) {
        b->freeze = bitmap_freeze(bm, errp);
        ok = b->freeze != NULL;
    }
    co_move(co, loop_main());
    return ok;
}

Job *backup_job_create(Co *co, const BackupCommon *arg, Node *source,
                       Node *target, JobTxn *txn, Error **errp)
{
    BitmapSync bitmap;
    BackupJob *b;
    Node *cbw;

    control_assert();
    if (!bitmap_sync_choose(&bitmap, source, arg->bitmap, arg->sync,
                            arg->has_bitmap_mode, arg->bitmap_mode, errp) ||
        !check_nodes(arg, source, target, errp) ||
        !check_part(arg, source, errp) || !check_perf(arg->x_perf, errp)) {
        return NULL;
    }
    cbw = put_filter(co, arg, source, target, errp);
    if (!cbw) {
        return NULL;
    }
    b = make_job(arg, txn, errp);
    if (!b) {
        cbw_drop(co, cbw);
        return NULL;
    }
    b->cbw = cbw;
    b->bitmap_mode = bitmap.mode;
    if (!fill_job(co, b, arg, bitmap.bm, errp)) {
        backup_job_undo(co, &b->common);
        return NULL;
    }
    job_block_node(&b->common, target);
    /* Without a reference: it goes with the job, and not later. */
    b->cbw->busy++;
    b->cbw->busy_with = JobType_str(JOB_TYPE_BACKUP);
    job_progress_set_remaining(&b->common, whole_clusters(
        b, copy_bytes_todo(b->copy)));
    return &b->common;
}

void backup_job_undo(Co *co, Job *job)
{
    BackupJob *b = container_of(job, BackupJob, common);

    b->cbw->busy = 0;
    b->bitmap_mode = BITMAP_SYNC_MODE_NEVER;
    settle_bitmap(co, b, false);
    root_free(co, b->root);
    root_free(co, b->keeper);
    cbw_drop(co, b->cbw);
    job_early_fail(co, job);
}
