/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Pictures of disks: --output=png. A picture is a row of bands, one below the
 * other, each the whole disk from left to right; a column of a band shows which
 * part of its piece of the disk is marked in which colour. What is drawn is
 * chosen by map.c and bitmap-picture.c, collected in picture.c, and becomes
 * pixels in picture-png.c.
 */
#ifndef TOOLS_IMG_PICTURE_H
#define TOOLS_IMG_PICTURE_H

#include "util/error.h"

#define PICTURE_COLUMNS 960

typedef enum PictureColour {
    PICTURE_ZERO,               /* grey */
    PICTURE_FIRST,              /* the first of the others, which differ */
    PICTURE_COLOURS = PICTURE_FIRST + 8,
} PictureColour;

typedef struct PictureBand {
    char *label;
    int64_t bytes;              /* marked in other colours than ZERO */
    float share[PICTURE_COLUMNS][PICTURE_COLOURS];  /* 0 .. 1 */
} PictureBand;

typedef struct PictureLegend {
    PictureColour colour;
    char *text;
} PictureLegend;

typedef struct Picture {
    char *title;
    int64_t start, len;         /* the part of the disk, in bytes */
    GPtrArray *bands;           /* of PictureBand */
    GPtrArray *legend;          /* of PictureLegend */
} Picture;

/* The colour for the nth of what is to be told apart; they come again. */
PictureColour picture_colour(int n);

Picture *picture_new(int64_t start, int64_t len, char *title);
void picture_free(Picture *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Picture, picture_free)

/* Bands from top to bottom. The band is the picture's. */
PictureBand *picture_band(Picture *p, const char *label);
/* [off, off + len) of the disk; what lies outside of the picture is left out.
 * Ranges of one band do not overlap. */
void picture_mark(const Picture *p, PictureBand *band, int64_t off,
                  int64_t len, PictureColour colour);
/* Consumes @text. */
void picture_legend(Picture *p, PictureColour colour, char *text);

/* Fails where it would come out on a terminal, or the build has no pictures:
 * to be asked before the work. */
bool picture_check(Error **errp);
/* To stdout. */
bool picture_write(const Picture *p, Error **errp);

#endif
