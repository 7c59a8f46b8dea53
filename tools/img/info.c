/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img info: what is known of an image, or of each image of its chain.
 *
 * An image is opened alone, without its backing file: so it can be described
 * even where that is missing. With --backing-chain the names in the headers are
 * followed, one image open at a time; a name that comes twice is a loop.
 */
#include "util/osdep.h"

#include <time.h>

#include "block/info.h"
#include "tools/img/img.h"
#include "util/bytes.h"
#include "util/json.h"

typedef struct InfoArgs {
    ImgSource src;
    const char *output_arg;     /* NULL: human */
    ImgOutput output;
    bool chain;
} InfoArgs;

static const struct option info_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_FORMAT,
    { "output", required_argument, 0, 1 },
    { "backing-chain", no_argument, 0, 2 },
    IMG_LONGOPT_SHARE,
    { 0 }
};

static int info_take(Co *co, void *opaque, int c)
{
    InfoArgs *a = opaque;

    switch (c) {
    case 1:
        a->output_arg = optarg;
        return -1;
    case 2:
        a->chain = true;
        return -1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

static int info_parse(Co *co, InfoArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":hf:U", info_longopts,
                             info_take, a, &a->src.name);

    if (ret >= 0) {
        return ret;
    }
    return img_parse_output(a->output_arg, &a->output) ? -1 : 1;
}

/* ---- for people ---- */

void img_print_snapshots(const SnapshotInfoList *list)
{
    printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
           "VM CLOCK", "ICOUNT");
    for (; list; list = list->next) {
        const SnapshotInfo *sn = list->value;
        g_autofree char *size = size_to_str(sn->vm_state_size);
        g_autofree char *clock = g_strdup_printf(
            "%02d:%02d:%02d.%03d", (int)(sn->vm_clock_sec / 3600),
            (int)(sn->vm_clock_sec / 60 % 60), (int)(sn->vm_clock_sec % 60),
            (int)(sn->vm_clock_nsec / 1000000));
        g_autofree char *icount = sn->has_icount ?
            g_strdup_printf("%" PRId64, sn->icount) : g_strdup("");
        time_t when = sn->date_sec;
        struct tm tm;
        char date[32];

        localtime_r(&when, &tm);
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        printf("%-9s %-16s %8s%20s%13s%11s\n", sn->id, sn->name, size, date,
               clock, icount);
    }
}

static void info_print_sizes(const ImageInfo *info)
{
    g_autofree char *length = size_to_str(info->virtual_size);
    g_autofree char *disk = info->has_actual_size ?
        size_to_str(info->actual_size) : g_strdup("unavailable");

    printf("virtual size: %s (%" PRId64 " bytes)\n"
           "disk size: %s\n", length, info->virtual_size, disk);
}

static void info_print_backing(const ImageInfo *info)
{
    if (info->backing_filename) {
        printf("backing file: %s", info->backing_filename);
        if (!info->full_backing_filename) {
            printf(" (cannot determine actual path)");
        } else if (strcmp(info->backing_filename,
                          info->full_backing_filename)) {
            printf(" (actual path: %s)", info->full_backing_filename);
        }
        printf("\n");
    }
    if (info->backing_filename_format) {
        printf("backing file format: %s\n", info->backing_filename_format);
    }
}

static void info_print(const ImageInfo *info)
{
    printf("image: %s\n"
           "file format: %s\n", info->filename, info->format);
    info_print_sizes(info);
    if (info->encrypted) {
        printf("encrypted: yes\n");
    }
    if (info->has_cluster_size) {
        printf("cluster_size: %" PRId64 "\n", info->cluster_size);
    }
    if (info->dirty_flag) {
        printf("cleanly shut down: no\n");
    }
    info_print_backing(info);
    if (info->has_snapshots) {
        printf("Snapshot list:\n");
        img_print_snapshots(info->snapshots);
    }
    if (info->format_specific) {
        printf("Format specific information:\n");
        tool_print_specific(info->format_specific);
    }
}

/* ---- collecting ---- */

static ImageInfo *info_of(Co *co, const ImgSource *src)
{
    Error *err = NULL;
    ImageInfo *info;
    Root *root = img_open(co, src);

    if (!root) {
        return NULL;
    }
    info = info_image(co, root_node(root), false, &err);
    root_free(co, root);
    if (!info) {
        error_report_err(err);
        return NULL;
    }
    if (info->format_specific &&
        info->format_specific->type == IMAGE_INFO_SPECIFIC_KIND_FILE) {
        qapi_free_ImageInfoSpecific(info->format_specific);
        info->format_specific = NULL;
    }
    return info;
}

static bool info_next(const ImageInfo *info, ImgSource *src)
{
    if (!info->full_backing_filename) {
        if (info->backing_filename) {
            error_report("Could not determine the name of the backing file "
                         "'%s'", info->backing_filename);
            return false;
        }
        src->name = NULL;
        return true;
    }
    src->name = info->full_backing_filename;
    src->format = info->backing_filename_format;
    src->image_opts = false;
    return true;
}

/* False after a complaint; *@list holds what there is either way. */
static bool info_collect(Co *co, const InfoArgs *a, GPtrArray *list)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    ImgSource src = a->src;

    while (src.name) {
        ImageInfo *info;

        if (!g_hash_table_add(seen, (gpointer)src.name)) {
            error_report("Backing file '%s' creates an infinite loop.",
                         src.name);
            return false;
        }
        info = info_of(co, &src);
        if (!info) {
            return false;
        }
        g_ptr_array_add(list, info);
        if (!a->chain) {
            return true;
        }
        if (!info_next(info, &src)) {
            return false;
        }
    }
    return true;
}

static void info_output_json(const InfoArgs *a, const GPtrArray *list)
{
    json_t *array;

    if (!a->chain) {
        img_print_json(ImageInfo_to_json(g_ptr_array_index(list, 0)));
        return;
    }
    array = json_array();
    for (guint i = 0; i < list->len; i++) {
        json_array_append_new(
            array, ImageInfo_to_json(g_ptr_array_index(list, i)));
    }
    img_print_json(array);
}

static void info_output_human(const GPtrArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        if (i > 0) {
            printf("\n");
        }
        info_print(g_ptr_array_index(list, i));
    }
}

int img_info(Co *co, int argc, char **argv)
{
    g_autoptr(GPtrArray) list =
        g_ptr_array_new_with_free_func((GDestroyNotify)qapi_free_ImageInfo);
    InfoArgs a = { .src.flags = OPEN_NO_BACKING | OPEN_NO_IO };
    int ret = info_parse(co, &a, argc, argv);

    if (ret >= 0) {
        return ret;
    }
    if (!img_check_source(a.src.image_opts, a.src.format) ||
        !info_collect(co, &a, list)) {
        return 1;
    }
    if (a.output == IMG_OUTPUT_JSON) {
        info_output_json(&a, list);
    } else {
        info_output_human(list);
    }
    return 0;
}
