/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img check: the format's driver looks for damage and repairs it; here
 * is what comes of it: a report and an exit code.
 *
 *     0   nothing wrong (any more)       3   leaked clusters
 *     1   the check itself failed       63   the format knows no checks
 *     2   corruptions
 *
 * After a repair the image is looked at a second time.
 */
#include "util/osdep.h"

#include "tools/img/img.h"

typedef struct CheckArgs {
    ImgSource src;
    const char *output_arg;     /* NULL: human */
    const char *cache;
    ImgOutput output;
    CheckOptions fix;
    bool quiet;
} CheckArgs;

static const struct option check_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_FORMAT,
    { "repair", required_argument, 0, 'r' },
    { "output", required_argument, 0, 1 },
    IMG_LONGOPT_SHARE,
    { 0 }
};

static bool check_parse_repair(CheckArgs *a, const char *value)
{
    a->src.flags |= OPEN_RDWR;
    a->fix.fix_leaks = true;
    if (!strcmp(value, "all")) {
        a->fix.fix_errors = true;
    } else if (strcmp(value, "leaks")) {
        img_usage_error("Unknown option value for -r (expecting 'leaks' or "
                        "'all'): %s", value);
        return false;
    }
    return true;
}

static int check_take(Co *co, void *opaque, int c)
{
    CheckArgs *a = opaque;

    switch (c) {
    case 'r':
        if (!check_parse_repair(a, optarg)) {
            return 1;
        }
        return -1;
    case 'T':
        a->cache = optarg;
        return -1;
    case 'q':
        a->quiet = true;
        return -1;
    case 1:
        a->output_arg = optarg;
        return -1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

static int check_parse(Co *co, CheckArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":hf:r:T:qU", check_longopts,
                             check_take, a, &a->src.name);

    if (ret >= 0) {
        return ret;
    }
    return img_parse_output(a->output_arg, &a->output) &&
           img_source_cache(a->cache ? a->cache : "writeback",
                            &a->src.flags, &a->src.write_through) ? -1 : 1;
}

/* ---- the report ---- */

static void check_print_counts(const CheckResult *res)
{
    if (!res->corruptions && !res->leaks && !res->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (res->corruptions) {
        printf("\n%" PRId64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may "
               "corrupt it.\n", res->corruptions);
    }
    if (res->leaks) {
        printf("\n%" PRId64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               res->leaks);
    }
    if (res->check_errors) {
        printf("\n%" PRId64 " internal errors have occurred during the "
               "check.\n", res->check_errors);
    }
}

static void check_print_human(const CheckResult *res)
{
    check_print_counts(res);
    if (res->total_clusters != 0 && res->allocated_clusters != 0) {
        double allocated = res->allocated_clusters;

        printf("%" PRId64 "/%" PRId64 " = %0.2f%% allocated, "
               "%0.2f%% fragmented, %0.2f%% compressed clusters\n",
               res->allocated_clusters, res->total_clusters,
               allocated * 100.0 / res->total_clusters,
               res->fragmented_clusters * 100.0 / allocated,
               res->compressed_clusters * 100.0 / allocated);
    }
    if (res->image_end_offset > 0) {
        printf("Image end offset: %" PRId64 "\n", res->image_end_offset);
    }
}

static void check_print_json(const CheckArgs *a, const Node *node,
                             const CheckResult *res)
{
    ImageCheck info = {
        .filename = (char *)a->src.name,
        .format = (char *)node->drv->name,
        .check_errors = res->check_errors,
#define COUNT(member, from) .has_##member = (from) != 0, .member = (from)
        COUNT(image_end_offset, res->image_end_offset),
        COUNT(corruptions, res->corruptions),
        COUNT(leaks, res->leaks),
        COUNT(corruptions_fixed, res->corruptions_fixed),
        COUNT(leaks_fixed, res->leaks_fixed),
        COUNT(total_clusters, res->total_clusters),
        COUNT(allocated_clusters, res->allocated_clusters),
        COUNT(fragmented_clusters, res->fragmented_clusters),
        COUNT(compressed_clusters, res->compressed_clusters),
#undef COUNT
    };

    img_print_json(ImageCheck_to_json(&info));
}

static int check_exit_code(const CheckResult *res)
{
    if (res->check_errors) {
        return 1;
    }
    return res->corruptions ? 2 : res->leaks ? 3 : 0;
}

/* ---- the run ---- */

static bool check_once(Co *co, Node *node, const CheckOptions *opts,
                       CheckResult *res)
{
    int ret;

    *res = (CheckResult) { 0 };
    ret = node->drv->image->check(co, node, opts, res);
    if (ret < 0) {
        error_report("Check failed: %s", strerror(-ret));
    }
    return ret >= 0;
}

/* What the repair has done, then how the image is now. */
static bool check_again(Co *co, const CheckArgs *a, Node *node,
                        CheckResult *res)
{
    static const CheckOptions look = { 0 };
    int64_t leaks = res->leaks_fixed, corruptions = res->corruptions_fixed;

    if (a->output == IMG_OUTPUT_HUMAN && !a->quiet) {
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRId64 " leaked clusters\n"
               "    %" PRId64 " corruptions\n\n"
               "Double checking the fixed image now...\n", leaks,
               corruptions);
        fflush(stdout);
    }
    if (!check_once(co, node, &look, res)) {
        return false;
    }
    res->leaks_fixed = leaks;
    res->corruptions_fixed = corruptions;
    return true;
}

static int check_image(Co *co, const CheckArgs *a, Node *node)
{
    CheckResult res;

    if (!node->drv->image || !node->drv->image->check) {
        error_report("This image format does not support checks");
        return 63;
    }
    if (!check_once(co, node, &a->fix, &res)) {
        return 1;
    }
    if ((res.leaks_fixed || res.corruptions_fixed) &&
        !check_again(co, a, node, &res)) {
        return 1;
    }
    if (!a->quiet) {
        if (a->output == IMG_OUTPUT_JSON) {
            check_print_json(a, node, &res);
        } else {
            check_print_human(&res);
        }
    }
    if (res.check_errors) {
        error_report("Check failed");
    }
    return check_exit_code(&res);
}

int img_check(Co *co, int argc, char **argv)
{
    CheckArgs a = { .src.flags = OPEN_UNMAP | OPEN_CHECK };
    int ret = check_parse(co, &a, argc, argv);
    Root *root;

    if (ret >= 0) {
        return ret;
    }
    if (!img_check_source(a.src.image_opts, a.src.format)) {
        return 1;
    }
    root = img_open(co, &a.src);
    if (!root) {
        return 1;
    }
    ret = check_image(co, &a, root_node(root));
    root_free(co, root);
    return ret;
}
