/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img bitmap --output=png: what the persistent bitmaps of some images
 * record, one band each, in the order of the images and of their creation.
 */
#include "util/osdep.h"

#include "block/dirty-bitmap.h"
#include "tools/img/img.h"
#include "tools/img/picture.h"
#include "util/bytes.h"

static bool mark_bits(Co *co, const Picture *p, PictureBand *band,
                      DirtyBitmap *bm, PictureColour colour)
{
    int64_t granularity = bitmap_granularity(bm);
    Error *err = NULL;
    const Bitset *bits = bitmap_bits(co, bm, &err);
    int64_t first = 0, n;

    if (!bits) {
        error_report_err(err);
        return false;
    }
    while (bitset_next_run(bits, first, bitset_size(bits), INT64_MAX, &first,
                           &n)) {
        picture_mark(p, band, first * granularity,
                     MIN(n * granularity,
                         bm->node->length - first * granularity), colour);
        first += n;
    }
    return true;
}

static bool mark_bitmap(Co *co, Picture *p, const char *file, DirtyBitmap *bm)
{
    PictureColour colour = picture_colour(p->bands->len);
    PictureBand *band = picture_band(p, bm->name);
    g_autofree char *unit = size_to_str(bitmap_granularity(bm));
    bool broken = bm->state == BITMAP_INCONSISTENT;

    if (!broken && !mark_bits(co, p, band, bm, colour)) {
        return false;
    }
    picture_legend(p, colour, g_strdup_printf(
        "%s in %s: %s%s", bm->name, file, broken ? "inconsistent, of no use" :
        bitmap_is_recording(bm) ? "recording, in units of " :
        "disabled, in units of ", broken ? "" : unit));
    return true;
}

static bool mark_image(Co *co, Picture *p, const char *file, Node *node)
{
    g_autofree char *base = g_path_get_basename(file);
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        g_ptr_array_add(all, bm);
    }
    /* From the oldest to the newest: the order of the image's directory. */
    for (guint i = all->len; i > 0; i--) {
        DirtyBitmap *bm = g_ptr_array_index(all, i - 1);

        if (bm->name && !mark_bitmap(co, p, base, bm)) {
            return false;
        }
    }
    return true;
}

static int draw_images(Co *co, Root **roots, char **names, int n)
{
    g_autoptr(Picture) p = NULL;
    g_autofree char *size = NULL;
    Error *err = NULL;
    int64_t len = 0;

    for (int i = 0; i < n; i++) {
        len = MAX(len, root_length(roots[i]));
    }
    size = size_to_str(len);
    p = picture_new(0, len, g_strdup_printf("dirty bitmaps of a disk of %s",
                                            size));
    for (int i = 0; i < n; i++) {
        if (!mark_image(co, p, names[i], root_node(roots[i]))) {
            return 1;
        }
    }
    if (!picture_write(p, &err)) {
        error_report_err(err);
        return 1;
    }
    return 0;
}

int img_bitmap_picture(Co *co, const ImgSource *like, char **names, int n)
{
    g_autofree Root **roots = g_new0(Root *, n);
    int opened = 0;
    int ret = 1;

    for (; opened < n; opened++) {
        ImgSource src = *like;

        src.name = names[opened];
        roots[opened] = img_open(co, &src);
        if (!roots[opened]) {
            break;
        }
    }
    if (opened == n) {
        ret = draw_images(co, roots, names, n);
    }
    while (opened > 0) {
        root_free(co, roots[--opened]);
    }
    return ret;
}
