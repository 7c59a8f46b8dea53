/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img convert: from one or several images to a new one, or into one that
 * is there (-n).
 *
 *     arguments -> sources open -> target made and open -> copy -> bitmaps
 *
 * What an argument makes impossible is found before anything is written, as far
 * as it can be known.
 */
#include "util/osdep.h"

#include "block/create.h"
#include "block/info.h"
#include "block/io.h"
#include "tools/img/convert.h"
#include "util/json.h"
#include "util/keyval.h"

#define DEFAULT_WORKERS 8
#define DEFAULT_SPARSE 4096
#define MAX_SPARSE (16 * MiB)
#define SECTOR 512

typedef struct ConvertArgs {
    ImgSource src;              /* what is alike in all sources */
    ImgSource out;
    char **names;
    int n_names;
    char *options;
    const char *backing, *backing_format, *snapshot;
    const char *cache, *src_cache;
    int64_t min_sparse, rate, workers;
    bool has_sparse, compress, copy_range, out_of_order, salvage;
    bool skip_create, target_is_zero, progress, quiet;
    bool bitmaps, skip_broken;
    const char *incremental;    /* a bitmap of the NBD source */
} ConvertArgs;

typedef struct ConvertRun {
    ConvertArgs args;
    ConvertCopy copy;
    const BlockDriver *drv;     /* of a target that is created */
    ImgProgress progress;
    GArray *dirty;              /* with --incremental */
} ConvertRun;

/* ---- arguments ---- */

enum { OPT_TARGET_IMAGE_OPTS = IMG_OPT_OWN, OPT_SALVAGE,
       OPT_TARGET_IS_ZERO, OPT_BITMAPS, OPT_SKIP_BROKEN, OPT_INCREMENTAL };

static const struct option convert_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_SHARE,
    { "target-image-opts", no_argument, 0, OPT_TARGET_IMAGE_OPTS },
    { "salvage", no_argument, 0, OPT_SALVAGE },
    { "target-is-zero", no_argument, 0, OPT_TARGET_IS_ZERO },
    { "bitmaps", no_argument, 0, OPT_BITMAPS },
    { "incremental", required_argument, 0, OPT_INCREMENTAL },
    { "rate-limit", required_argument, 0, 'r' },
    { "skip-broken-bitmaps", no_argument, 0, OPT_SKIP_BROKEN },
    { 0 }
};

static bool convert_take_sparse(ConvertArgs *a)
{
    a->has_sparse = true;
    if (!img_parse_size("buffer size for sparse output", optarg, 0, INT64_MAX,
                        &a->min_sparse)) {
        return false;
    }
    if (a->min_sparse % SECTOR || a->min_sparse > MAX_SPARSE) {
        error_report("Invalid buffer size for sparse output specified. Valid "
                     "sizes are multiples of %d up to %" PRId64 ". Select 0 "
                     "to disable sparse detection (fully allocates output).",
                     SECTOR, MAX_SPARSE);
        return false;
    }
    return true;
}

static bool convert_take_workers(ConvertArgs *a)
{
    if (!img_parse_number(optarg, 1, CONVERT_MAX_WORKERS, &a->workers)) {
        error_report("Invalid number of coroutines. Allowed number of "
                     "coroutines is between 1 and %d", CONVERT_MAX_WORKERS);
        return false;
    }
    return true;
}

/* Options that only set something; false if @c is none. */
static bool convert_take_flag(ConvertArgs *a, int c)
{
    switch (c) {
    case 'C':
        a->copy_range = true;
        return true;
    case 'c':
        a->compress = true;
        return true;
    case 'n':
        a->skip_create = true;
        return true;
    case 'p':
        a->progress = true;
        return true;
    case 'q':
        a->quiet = true;
        return true;
    case 'W':
        a->out_of_order = true;
        return true;
    case OPT_TARGET_IMAGE_OPTS:
        a->out.image_opts = true;
        return true;
    case OPT_SALVAGE:
        a->salvage = true;
        return true;
    case OPT_TARGET_IS_ZERO:
        a->target_is_zero = true;
        return true;
    case OPT_BITMAPS:
        a->bitmaps = true;
        return true;
    case OPT_SKIP_BROKEN:
        a->skip_broken = true;
        return true;
    default:
        return false;
    }
}

/* Options with a name or a word; false if @c is none. */
static bool convert_take_word(ConvertArgs *a, int c)
{
    switch (c) {
    case 'B':
        a->backing = optarg;
        return true;
    case 'F':
        a->backing_format = optarg;
        return true;
    case 'l':
        a->snapshot = optarg;
        return true;
    case 'O':
        a->out.format = optarg;
        return true;
    case 'T':
        a->src_cache = optarg;
        return true;
    case 't':
        a->cache = optarg;
        return true;
    case OPT_INCREMENTAL:
        a->incremental = optarg;
        return true;
    default:
        return false;
    }
}

/* -1 to go on, else the exit code. */
static int convert_take(Co *co, void *opaque, int c)
{
    ConvertArgs *a = opaque;

    if (convert_take_flag(a, c) || convert_take_word(a, c)) {
        return -1;
    }
    switch (c) {
    case 'm':
        return convert_take_workers(a) ? -1 : 1;
    case 'o':
        return img_add_options(&a->options, optarg) ? -1 : 1;
    case 'r':
        return img_parse_size("rate limit", optarg, 0, INT64_MAX, &a->rate)
               ? -1 : 1;
    case 'S':
        return convert_take_sparse(a) ? -1 : 1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

/* What does not go together. */
static const char *convert_complaint(const ConvertArgs *a)
{
    if (a->skip_broken && !a->bitmaps) {
        return "Use of --skip-broken-bitmaps requires --bitmaps";
    }
    if (a->compress && a->copy_range) {
        return "Cannot enable copy offloading when -c is used";
    }
    if (a->has_sparse && a->copy_range) {
        return "Cannot enable copy offloading when -S is used";
    }
    if (a->salvage && a->copy_range) {
        return "Cannot use copy offloading in salvaging mode";
    }
    if (a->out.image_opts && !a->skip_create) {
        return "--target-image-opts requires use of -n flag";
    }
    if (a->skip_create && a->options) {
        return "-o has no effect when skipping image creation";
    }
    if (a->target_is_zero && !a->skip_create) {
        return "--target-is-zero requires use of -n flag";
    }
    if (a->n_names < 1 || !a->out.name) {
        return "Must specify image file name";
    }
    if (a->backing && a->n_names > 1) {
        return "Having a backing file for the target makes no sense when "
               "concatenating multiple input images";
    }
    if (a->bitmaps && a->n_names > 1) {
        return "Copying bitmaps only possible with single source";
    }
    if (a->incremental && (a->n_names > 1 || a->copy_range || a->compress ||
                           a->salvage || a->bitmaps || a->snapshot)) {
        return "--incremental copies from one export, plainly";
    }
    if (a->incremental && !a->skip_create && !a->backing) {
        return "--incremental needs -n, or -B for what has been copied before";
    }
    if (a->snapshot && a->n_names > 1) {
        return "No support for concatenating multiple snapshot";
    }
    return NULL;
}

static bool convert_check_args(ConvertArgs *a)
{
    const char *complaint;

    if (!img_check_source(a->src.image_opts, a->src.format)) {
        return false;
    }
    complaint = convert_complaint(a);
    if (complaint) {
        error_report("%s", complaint);
        return false;
    }
    if (!img_check_source(a->out.image_opts, a->out.format)) {
        return false;
    }
    if (!a->out.format && !a->out.image_opts) {
        a->out.format = "raw";
    }
    return img_source_cache(a->src_cache, &a->src.flags,
                            &a->src.write_through);
}

static int convert_parse(Co *co, ConvertArgs *a, int argc, char **argv)
{
    int ret = img_parse_options(co, argc, argv,
                                ":hf:O:B:Cco:l:S:pt:T:qnm:WUF:r:",
                                convert_longopts, convert_take, a);

    if (ret >= 0) {
        return ret;
    }
    a->names = argv + optind;
    a->n_names = argc - optind - 1;
    a->out.name = a->n_names >= 0 ? argv[argc - 1] : NULL;
    if (img_wants_help(a->options)) {
        Error *err = NULL;

        if (!create_print_help(a->out.format ? a->out.format : "raw",
                               a->n_names > 0 ? a->out.name : NULL, &err)) {
            error_report_err(err);
            return 1;
        }
        return 0;
    }
    return convert_check_args(a) ? -1 : 1;
}

/* ---- sources ---- */

static bool convert_open_sources(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    ConvertCopy *c = &run->copy;

    c->sources = g_new0(ConvertSource, a->n_names);
    for (int i = 0; i < a->n_names; i++) {
        ConvertSource *s = &c->sources[i];
        ImgSource src = a->src;

        src.name = a->names[i];
        s->root = img_open(co, &src);
        if (!s->root) {
            return false;
        }
        c->n_sources++;
        if (a->snapshot && !img_load_snapshot(co, root_node(s->root),
                                              a->snapshot)) {
            return false;
        }
        s->start = c->total;
        s->len = root_length(s->root);
        s->span = ROUND_UP(s->len, SECTOR);
        c->total += s->span;
    }
    return true;
}

static bool convert_has_bitmaps(Node *node)
{
    const BitmapStoreOps *ops = node->drv->bitmap_store;

    return ops && (!ops->supported || ops->supported(node));
}

static bool convert_check_source_bitmaps(const ConvertRun *run)
{
    Node *src = root_node(run->copy.sources[0].root);

    if (!run->args.bitmaps) {
        return true;
    }
    if (!convert_has_bitmaps(src)) {
        error_report("Source lacks bitmap support");
        return false;
    }
    return convert_check_bitmaps(src, run->args.skip_broken);
}

/* ---- target ---- */

static bool convert_can_create(const BlockDriver *drv, const char *what)
{
    if (!drv->image || !drv->image->create_options) {
        error_report("%s driver '%s' does not support image creation", what,
                     drv->name);
        return false;
    }
    return true;
}

static bool convert_find_drivers(ConvertRun *run)
{
    const BlockDriver *protocol;
    Error *err = NULL;

    run->drv = driver_find(run->args.out.format);
    if (!run->drv) {
        error_report("Unknown file format '%s'", run->args.out.format);
        return false;
    }
    protocol = open_protocol_driver(run->args.out.name, &err);
    if (!protocol) {
        error_report_err(err);
        return false;
    }
    return convert_can_create(run->drv, "Format") &&
           convert_can_create(protocol, "Protocol");
}

static const char *convert_option(const json_t *options, const char *name)
{
    return json_string_value(json_object_get(options, name));
}

/* -o, -B and -c against what the format can. */
static bool convert_check_options(ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    Error *err = NULL;
    g_autoptr(json_t) options = keyval_parse_flat(a->options ? a->options : "",
                                                  NULL, NULL, NULL);
    const char *prealloc = convert_option(options, "preallocation");

    if (a->backing && !run->drv->supports_backing) {
        error_report("Backing file not supported for file format '%s'",
                     run->drv->name);
        return false;
    }
    if (a->backing_format && !run->drv->supports_backing) {
        error_report("Backing file format not supported for file format '%s'",
                     run->drv->name);
        return false;
    }
    if (!create_check_options(run->drv, a->out.name, a->options, &err)) {
        error_report_err(err);
        return false;
    }
    if (!a->backing) {
        a->backing = convert_option(options, "backing_file");
        a->backing = a->backing ? g_intern_string(a->backing) : NULL;
    }
    if (!a->backing_format) {
        a->backing_format = convert_option(options, "backing_fmt");
        a->backing_format = a->backing_format ?
            g_intern_string(a->backing_format) : NULL;
    }
    if (a->backing && !a->backing_format) {
        error_report("Use of backing file requires explicit backing format");
        return false;
    }
    if (a->backing && a->n_names > 1) {
        error_report("Having a backing file for the target makes no sense "
                     "when concatenating multiple input images");
        return false;
    }
    if (a->compress && prealloc && strcmp(prealloc, "off")) {
        error_report("Compression and preallocation not supported at the same "
                     "time");
        return false;
    }
    return true;
}

static bool convert_create(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    Error *err = NULL;

    if (!convert_find_drivers(run) || !convert_check_options(run)) {
        return false;
    }
    if (a->compress && !run->drv->supports_compressed) {
        error_report("Compression not supported for this file format");
        return false;
    }
    if (!create_image_sized(co, a->out.name, run->drv->name, a->backing,
                            a->backing_format, a->options, run->copy.total,
                            &err)) {
        error_reportf_err(err, "%s: error while converting %s: ",
                          a->out.name, run->drv->name);
        return false;
    }
    return true;
}

static bool convert_open_target(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    ConvertCopy *c = &run->copy;
    int64_t len;

    c->target = img_open(co, &a->out);
    if (!c->target) {
        return false;
    }
    if (a->bitmaps && !convert_has_bitmaps(root_node(c->target))) {
        error_report("Format driver '%s' does not support bitmaps",
                     root_node(c->target)->drv->name);
        return false;
    }
    if (a->compress && !root_node(c->target)->drv->supports_compressed) {
        error_report("Compression not supported for this file format");
        return false;
    }
    len = ROUND_UP(root_length(c->target), SECTOR);
    if (len < c->total) {
        error_report("output file is smaller than input file");
        return false;
    }
    /* The padding of a source has no place in a target of odd length. */
    c->total = MIN(c->total, root_length(c->target));
    return true;
}

/* What the target is like where nothing has been written. */
static bool convert_look_at_target(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    ConvertCopy *c = &run->copy;
    Node *target = root_node(c->target);
    Node *backing = node_backing_chain_next(target);
    BlockDriverInfo info = { 0 };

    c->cluster_size = 1;
    if (info_driver(co, target, &info) >= 0 && info.cluster_size > 0) {
        c->cluster_size = a->compress || !info.subcluster_size ?
                          info.cluster_size : info.subcluster_size;
    }
    if (a->target_is_zero && (a->backing || backing)) {
        error_report("Cannot use --target-is-zero when the destination image "
                     "has a backing file");
        return false;
    }
    c->backing_len = a->backing && backing ? backing->length : -1;
    c->target_is_zero = a->target_is_zero ||
                        (!a->skip_create && info.zeroes_new &&
                         (a->backing || !backing));
    return true;
}

/* ---- the run ---- */

static int convert_copy_all(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;
    ConvertCopy *c = &run->copy;
    Node *target = root_node(c->target);
    int ret;

    c->min_sparse = a->min_sparse;
    c->compressed = a->compress;
    c->copy_range = a->copy_range;
    c->salvage = a->salvage;
    c->quiet = a->quiet;
    c->in_order = !a->out_of_order;
    c->n_workers = a->workers;
    c->progress = &run->progress;
    ratelimit_set_speed(&c->limit, a->rate);
    ret = run->dirty ? convert_incremental(co, c, run->dirty)
                     : convert_copy(co, c);
    if (ret < 0) {
        return 1;
    }
    if (a->bitmaps && !convert_copy_bitmaps(co, root_node(c->sources[0].root),
                                            target, a->skip_broken)) {
        return 1;
    }
    /* With cache mode unsafe this hands metadata over to the host, which must
     * not fail unnoticed either. */
    ret = io_flush(co, target);
    if (ret < 0) {
        error_report("error while flushing: %s", strerror(-ret));
        return 1;
    }
    img_progress_set(&run->progress, 100.0);
    return 0;
}

/* With --incremental: what is dirty, before anything is touched. */
static bool convert_look_for_dirty(Co *co, ConvertRun *run)
{
    ImgSource src = run->args.src;

    if (!run->args.incremental) {
        return true;
    }
    src.name = run->args.names[0];
    src.format = src.format || src.image_opts ? src.format : "raw";
    run->args.src.format = src.format;
    run->dirty = convert_find_dirty(co, &src, run->args.incremental);
    return run->dirty;
}

static int convert_run(Co *co, ConvertRun *run)
{
    ConvertArgs *a = &run->args;

    if (!convert_look_for_dirty(co, run) || !img_check_snapshot(a->snapshot) ||
        !convert_open_sources(co, run) ||
        !convert_check_source_bitmaps(run)) {
        return 1;
    }
    if (!a->skip_create && !convert_create(co, run)) {
        return 1;
    }
    if (!img_target_cache(a->cache, &a->out.flags, &a->out.write_through) ||
        !convert_open_target(co, run) ||
        !convert_look_at_target(co, run)) {
        return 1;
    }
    return convert_copy_all(co, run);
}

int img_convert(Co *co, int argc, char **argv)
{
    ConvertRun run = {
        .args = {
            .src.alone = true,
            .out.flags = OPEN_RDWR | OPEN_UNMAP,
            .cache = "unsafe",
            .src_cache = "writeback",
            .min_sparse = DEFAULT_SPARSE,
            .workers = DEFAULT_WORKERS,
        },
    };
    int ret = convert_parse(co, &run.args, argc, argv);

    if (ret < 0) {
        img_progress_begin(&run.progress,
                           run.args.progress && !run.args.quiet);
        ret = convert_run(co, &run);
        img_progress_end(&run.progress);
        root_free(co, run.copy.target);
        for (int i = 0; i < run.copy.n_sources; i++) {
            root_free(co, run.copy.sources[i].root);
        }
        g_free(run.copy.sources);
        g_clear_pointer(&run.dirty, g_array_unref);
    }
    g_free(run.args.options);
    return ret;
}
