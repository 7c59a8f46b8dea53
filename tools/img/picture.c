/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What a picture shows: bytes of the disk summed up in columns. A column is a
 * piece of the disk that may be smaller than a byte or larger than a cluster,
 * so it holds shares; picture-png.c sees to it that none is too small to be
 * seen.
 */
#include "util/osdep.h"

#include "tools/img/picture.h"

PictureColour picture_colour(int n)
{
    return PICTURE_FIRST + n % (PICTURE_COLOURS - PICTURE_FIRST);
}

static void band_free(gpointer data)
{
    PictureBand *band = data;

    g_free(band->label);
    g_free(band);
}

static void legend_free(gpointer data)
{
    PictureLegend *legend = data;

    g_free(legend->text);
    g_free(legend);
}

Picture *picture_new(int64_t start, int64_t len, char *title)
{
    Picture *p = g_new0(Picture, 1);

    p->title = title;
    p->start = start;
    p->len = len;
    p->bands = g_ptr_array_new_with_free_func(band_free);
    p->legend = g_ptr_array_new_with_free_func(legend_free);
    return p;
}

void picture_free(Picture *p)
{
    if (p) {
        g_free(p->title);
        g_ptr_array_free(p->bands, true);
        g_ptr_array_free(p->legend, true);
        g_free(p);
    }
}

PictureBand *picture_band(Picture *p, const char *label)
{
    PictureBand *band = g_new0(PictureBand, 1);

    band->label = g_strdup(label);
    g_ptr_array_add(p->bands, band);
    return band;
}

void picture_mark(const Picture *p, PictureBand *band, int64_t off,
                  int64_t len, PictureColour colour)
{
    int64_t end = MIN(off + len, p->start + p->len);
    double from, to;

    off = MAX(off, p->start);
    if (off >= end) {
        return;
    }
    band->bytes += colour == PICTURE_ZERO ? 0 : end - off;
    from = (double)(off - p->start) / p->len * PICTURE_COLUMNS;
    to = (double)(end - p->start) / p->len * PICTURE_COLUMNS;
    for (int c = from; c < PICTURE_COLUMNS && c < to; c++) {
        band->share[c][colour] += MIN(to, c + 1) - MAX(from, c);
    }
}

void picture_legend(Picture *p, PictureColour colour, char *text)
{
    PictureLegend *legend = g_new(PictureLegend, 1);

    *legend = (PictureLegend) { colour, text };
    g_ptr_array_add(p->legend, legend);
}
