/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img commit: what an image holds goes down into its backing file, or into
 * one further below. It is the job behind block-commit, without anybody who
 * writes meanwhile. Afterwards the image is emptied, unless it is to be dropped
 * (-d) or the layers between would show through (-b). Its bitmaps go down with
 * the data, before it is emptied, so that nothing is lost if that fails.
 *
 * With --auto it is the job behind block-snapshot-delete: data go down or up,
 * where there are fewer of them, and what is left may take another's name. The
 * images that have left the chain stay as they are.
 */
#include "util/osdep.h"

#include "block/chain.h"
#include "block/mirror.h"
#include "block/snapshot-delete.h"
#include "tools/img/img.h"

#define COMMIT_POLL_NS (20 * 1000 * 1000)

typedef struct CommitArgs {
    ImgSource image;
    const char *base, *cache, *final_name;
    int64_t speed;
    bool drop, progress, quiet, no_bitmaps, automatic;
} CommitArgs;

enum {
    COMMIT_NO_BITMAPS = IMG_OPT_OWN, COMMIT_AUTO,
    COMMIT_FINAL_NAME,
};

static const struct option commit_longopts[] = {
    IMG_LONGOPTS,
    { "no-bitmaps", no_argument, 0, COMMIT_NO_BITMAPS },
    { "auto", no_argument, 0, COMMIT_AUTO },
    { "final-name", required_argument, 0, COMMIT_FINAL_NAME },
    { 0 }
};

/* ---- arguments ---- */

static int commit_take(Co *co, void *opaque, int c)
{
    CommitArgs *a = opaque;

    switch (c) {
    case 't':
        a->cache = optarg;
        return -1;
    case 'b':
        a->base = optarg;
        return -1;
    case 'd':
        a->drop = true;
        return -1;
    case 'p':
        a->progress = true;
        return -1;
    case 'q':
        a->quiet = true;
        return -1;
    case 'r':
        return img_parse_size("rate limit", optarg, 0, INT64_MAX, &a->speed)
               ? -1 : 1;
    case COMMIT_NO_BITMAPS:
        a->no_bitmaps = true;
        return -1;
    case COMMIT_AUTO:
        a->automatic = true;
        return -1;
    case COMMIT_FINAL_NAME:
        a->final_name = optarg;
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static int commit_parse(Co *co, CommitArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":f:ht:b:dpqr:", commit_longopts,
                             commit_take, a, &a->image.name);

    if (ret >= 0) {
        return ret;
    }
    if (a->final_name && !a->automatic) {
        return img_usage_error("--final-name goes with --auto only");
    }
    a->image.flags = OPEN_RDWR | OPEN_UNMAP;
    return img_check_source(a->image.image_opts, a->image.format) &&
           img_target_cache(a->cache ? a->cache : "writeback",
                            &a->image.flags, &a->image.write_through)
           ? -1 : 1;
}

/* ---- the work ---- */

static Node *commit_find_base(const CommitArgs *a, Node *top)
{
    Node *base = node_backing_chain_next(top);

    if (a->base) {
        base = chain_find_image(top, a->base);
        if (!base) {
            error_report("Did not find '%s' in the backing chain of '%s'",
                         a->base, a->image.name);
        }
    } else if (!base) {
        error_report("Image does not have a backing file");
    }
    return base;
}

typedef struct CommitPoll {
    Job *job;
    ImgProgress *progress;
    CoSleep sleep;
    bool over;
} CommitPoll;

/* Shows how far the job is, as long as commit_wait() waits for it. */
static int commit_poll(Co *co, void *opaque)
{
    CommitPoll *p = opaque;

    while (!p->over) {
        g_autoptr(JobInfo) info = job_query(p->job);

        if (info->total_progress > 0) {
            img_progress_set(p->progress, 100.0 * info->current_progress /
                                          info->total_progress);
        }
        co_sleep_ns(co, &p->sleep, COMMIT_POLL_NS);
    }
    return 0;
}

/* Until the job is over; gives back the reference. */
static bool commit_wait(Co *co, Job *job, ImgProgress *progress)
{
    CommitPoll poll = { .job = job, .progress = progress };
    Error *err = NULL;
    CoGroup group;
    int ret;

    job_ref(job);
    co_group_init(&group, co_loop(co), 1);
    co_group_start(co, &group, commit_poll, &poll);
    ret = job_wait(co, job, &err);
    poll.over = true;
    co_sleep_wake(&poll.sleep);
    co_group_wait(co, &group);
    job_unref(job);
    if (ret < 0) {
        error_prepend(&err, "Block job failed: ");
        error_report_err(err);
        return false;
    }
    img_progress_set(progress, 100.0);
    return true;
}

static bool commit_start(Co *co, Job *job, Error *err, ImgProgress *progress)
{
    if (!job) {
        error_report_err(err);
        return false;
    }
    job_ref(job);
    job_start(job);
    return commit_wait(co, job, progress);
}

static ChainJobOptions commit_options(const CommitArgs *a)
{
    return (ChainJobOptions) {
        .flags = JOB_INTERNAL,
        .speed = a->speed,
        .carry_bitmaps = !a->no_bitmaps,
    };
}

static bool commit_copy(Co *co, const CommitArgs *a, Node *top, Node *base,
                        ImgProgress *progress)
{
    MirrorOptions opts = {
        .common = commit_options(a),
        .stay = true,
    };
    Error *err = NULL;
    Job *job = commit_active_job_create(co, &opts, top, base, &err);

    return commit_start(co, job, err, progress);
}

static bool commit_empty(Co *co, const CommitArgs *a, Node *top)
{
    int ret = -ENOTSUP;

    if (top->drv->image && top->drv->image->make_empty) {
        ret = top->drv->image->make_empty(co, top);
    }
    if (ret < 0 && ret != -ENOTSUP) {
        error_report("Could not empty %s: %s", a->image.name,
                     strerror(-ret));
    }
    return ret >= 0 || ret == -ENOTSUP;
}

/* Whichever image is left, @image is on it in the end. */
static bool commit_auto(Co *co, const CommitArgs *a, Root *image, Node *base,
                        ImgProgress *progress)
{
    SnapshotDeleteOptions opts = {
        .common = commit_options(a),
        .direction = SNAPSHOT_DELETE_DIRECTION_AUTO,
        .final_name = a->final_name,
    };
    g_autoptr(SnapshotDeleteChoice) choice = NULL;
    Error *err = NULL;
    Job *job = snapshot_delete_create(co, &opts, root_node(image), base,
                                      &err);

    if (job) {
        choice = SnapshotDeleteChoice_clone(job->snapshot_delete);
    }
    if (!commit_start(co, job, err, progress)) {
        return false;
    }
    img_progress_end(progress);
    if (!a->quiet) {
        bool down = choice->direction == SNAPSHOT_DELETE_DIRECTION_COMMIT;

        open_refresh_filename(root_node(image));
        printf("Image %s: '%s' holds the disk (%s).\n",
               down ? "committed" : "streamed", root_node(image)->filename,
               choice->reason);
    }
    return true;
}

static bool commit_run(Co *co, CommitArgs *a, Root *image)
{
    Node *top = root_node(image);
    Node *base = commit_find_base(a, top);
    ImgProgress progress;
    bool ok;

    if (!base) {
        return false;
    }
    img_progress_begin(&progress, a->progress && !a->quiet);
    if (a->automatic) {
        return commit_auto(co, a, image, base, &progress);
    }
    ok = commit_copy(co, a, top, base, &progress);
    if (ok && !a->drop && base == node_backing_chain_next(top)) {
        ok = commit_empty(co, a, top);
    }
    img_progress_end(&progress);
    if (ok && !a->quiet) {
        printf("Image committed.\n");
    }
    return ok;
}

int img_commit(Co *co, int argc, char **argv)
{
    CommitArgs a = { 0 };
    int ret = commit_parse(co, &a, argc, argv);
    Root *image;

    if (ret >= 0) {
        return ret;
    }
    image = img_open(co, &a.image);
    if (!image) {
        return 1;
    }
    ret = !commit_run(co, &a, image);
    root_free(co, image);
    return ret;
}
