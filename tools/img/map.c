/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img map: where the data of a disk are, layer by layer.
 *
 * A layer is asked; if it says neither "data" nor "zero" the next one below is
 * asked for the same range. What comes out is a row of extents; neighbours that
 * say the same of storage that continues are one entry.
 */
#include "util/osdep.h"

#include "block/io.h"
#include "tools/img/img.h"
#include "tools/img/picture.h"

typedef struct MapArgs {
    ImgSource src;
    const char *output_arg;     /* NULL: human */
    ImgOutput output;
    bool picture;               /* --output=png */
    int64_t start, max;         /* max < 0: up to the end */
} MapArgs;

typedef struct MapRow {
    int64_t start, len;
    int64_t offset;
    int flags;                  /* ExtentFlags */
    int depth;
    const char *filename;       /* NULL: not in a file, not as it is */
} MapRow;

static const struct option map_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_FORMAT,
    { "output", required_argument, 0, 1 },
    IMG_LONGOPT_SHARE,
    { "start-offset", required_argument, 0, 's' },
    { "max-length", required_argument, 0, 'l' },
    { 0 }
};

static int map_take(Co *co, void *opaque, int c)
{
    MapArgs *a = opaque;

    switch (c) {
    case 's':
        if (!img_parse_size("start offset", optarg, 0, INT64_MAX,
                            &a->start)) {
            return 1;
        }
        return -1;
    case 'l':
        if (!img_parse_size("max length", optarg, 0, INT64_MAX,
                            &a->max)) {
            return 1;
        }
        return -1;
    case 1:
        a->output_arg = optarg;
        return -1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

static int map_parse(Co *co, MapArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":f:s:l:hU", map_longopts,
                             map_take, a, &a->src.name);

    if (ret >= 0) {
        return ret;
    }
    a->picture = !g_strcmp0(a->output_arg, "png");
    return a->picture || img_parse_output(a->output_arg, &a->output) ? -1 : 1;
}

/* ---- extents ---- */

static int map_get(Co *co, Node *node, int64_t start, int64_t len, MapRow *row)
{
    Extent ext = { .len = len };
    int depth = 0;
    int ret;

    for (;;) {
        ret = status_layer(co, node, true, start, ext.len, &ext);
        if (ret < 0) {
            return ret;
        }
        if (ext.flags & (EXTENT_DATA | EXTENT_ZERO)) {
            break;
        }
        node = node_backing_chain_next(node);
        if (!node) {
            ext.flags = 0;
            break;
        }
        depth++;
    }
    *row = (MapRow) {
        .start = start,
        .len = ext.len,
        .offset = ext.map,
        .flags = ext.flags & (EXTENT_DATA | EXTENT_ZERO | EXTENT_ALLOCATED |
                              EXTENT_COMPRESSED | EXTENT_OFFSET_VALID),
        .depth = depth,
    };
    if ((ext.flags & EXTENT_OFFSET_VALID) && ext.file) {
        row->filename = ext.file->filename;
    }
    return 0;
}

static bool map_continues(const MapRow *row, const MapRow *next)
{
    if (row->len == 0 || row->flags != next->flags ||
        row->depth != next->depth ||
        g_strcmp0(row->filename, next->filename)) {
        return false;
    }
    return !(row->flags & EXTENT_OFFSET_VALID) ||
           row->offset + row->len == next->offset;
}

/* ---- output ---- */

static bool map_print_human(const MapRow *row)
{
    if (!(row->flags & EXTENT_DATA) || (row->flags & EXTENT_ZERO)) {
        return true;
    }
    if (!(row->flags & EXTENT_OFFSET_VALID) || !row->filename) {
        error_report("File contains external, encrypted or compressed "
                     "clusters.");
        return false;
    }
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n",
           (uint64_t)row->start, (uint64_t)row->len, (uint64_t)row->offset,
           row->filename);
    return true;
}

/* An image may have millions of rows; printf() would take more time than all
 * the rest. These append to a row and return where it ends. */

static char *map_put_number(char *end, const char *name, int64_t value)
{
    char digits[24];
    char *p = digits + sizeof(digits);

    do {
        *--p = '0' + value % 10;
        value /= 10;
    } while (value > 0);
    end = stpcpy(end, name);
    return mempcpy(end, p, digits + sizeof(digits) - p);
}

static char *map_put_flag(char *end, const char *name, bool value)
{
    return stpcpy(stpcpy(end, name), value ? "true" : "false");
}

static void map_print_json(const MapRow *row, bool first)
{
    char text[320];
    char *end = stpcpy(text, first ? "[" : ",\n");

    end = map_put_number(end, "{ \"start\": ", row->start);
    end = map_put_number(end, ", \"length\": ", row->len);
    end = map_put_number(end, ", \"depth\": ", row->depth);
    end = map_put_flag(end, ", \"present\": ", row->flags & EXTENT_ALLOCATED);
    end = map_put_flag(end, ", \"zero\": ", row->flags & EXTENT_ZERO);
    end = map_put_flag(end, ", \"data\": ", row->flags & EXTENT_DATA);
    end = map_put_flag(end, ", \"compressed\": ",
                       row->flags & EXTENT_COMPRESSED);
    if (row->flags & EXTENT_OFFSET_VALID) {
        end = map_put_number(end, ", \"offset\": ", row->offset);
    }
    *end++ = '}';
    fwrite_unlocked(text, 1, end - text, stdout);
}

static bool map_print(const MapArgs *a, const MapRow *row, bool first)
{
    if (a->output == IMG_OUTPUT_JSON) {
        map_print_json(row, first);
        return true;
    }
    return map_print_human(row);
}

/* ---- the run ---- */

static int64_t map_end(const MapArgs *a, const Node *node)
{
    int64_t end = node->length;

    if (a->max >= 0 && a->start < end) {
        end = MIN(end, a->start + MIN(a->max, end - a->start));
    }
    return end;
}

static int map_rows(Co *co, const MapArgs *a, Node *node)
{
    int64_t end = map_end(a, node);
    MapRow row = { .start = a->start };
    bool first = true;

    while (row.start + row.len < end) {
        int64_t off = row.start + row.len;
        MapRow next;
        int ret = map_get(co, node, off, end - off, &next);

        if (ret < 0) {
            error_report("Could not read file metadata: %s", strerror(-ret));
            return 1;
        }
        if (map_continues(&row, &next)) {
            row.len += next.len;
            continue;
        }
        if (row.len > 0) {
            if (!map_print(a, &row, first)) {
                return 1;
            }
            first = false;
        }
        row = next;
    }
    return map_print(a, &row, first) ? 0 : 1;
}

static int map_tell(Co *co, const MapArgs *a, Node *node)
{
    int ret;

    if (a->picture) {
        return img_map_picture(co, node, a->start, map_end(a, node));
    }
    if (a->output == IMG_OUTPUT_HUMAN) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
               "File");
    }
    ret = map_rows(co, a, node);
    if (ret == 0 && a->output == IMG_OUTPUT_JSON) {
        printf("]\n");
    }
    return ret;
}

int img_map(Co *co, int argc, char **argv)
{
    MapArgs a = { .max = -1 };
    int ret = map_parse(co, &a, argc, argv);
    Error *err = NULL;
    Root *root;

    if (ret >= 0) {
        return ret;
    }
    if (!img_check_source(a.src.image_opts, a.src.format)) {
        return 1;
    }
    if (a.picture && !picture_check(&err)) {
        error_report_err(err);
        return 1;
    }
    root = img_open(co, &a.src);
    if (!root) {
        return 1;
    }
    ret = map_tell(co, &a, root_node(root));
    root_free(co, root);
    return ret;
}
