/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Inside of qemu-img: one function a subcommand, each in a file of its own, and
 * what they share.
 *
 * A subcommand gets its own name as argv[0], holds the control lock, reports its
 * errors itself and returns the exit code.
 */
#ifndef TOOLS_IMG_IMG_H
#define TOOLS_IMG_IMG_H

#include <getopt.h>

#include "block/graph.h"
#include "block/open.h"
#include "block/root.h"
#include "tools/tool.h"

typedef int ImgCommandFn(Co *co, int argc, char **argv);

ImgCommandFn img_amend, img_bench, img_bitmap, img_check, img_commit,
    img_compare, img_convert, img_create, img_dd, img_info, img_map,
    img_measure, img_rebase, img_resize, img_snapshot;

/* create --bitmaps: the bitmaps of its base for an image that has just been
 * made; it is deleted if they can't be had. */
bool img_create_bitmaps(Co *co, const char *filename, const char *format,
                        Error **errp);
/* bitmap --check */
ImgCommandFn img_bitmap_check;

/* Usage, parameters, formats: to stdout (qemu-img.c). */
void img_help(void);

/* ---- arguments ---- */

/*
 * getopt_long(), with 'h' already answered by the help and ':' and '?' by a
 * complaint: the caller ends with img_getopt_code() of these.
 */
int img_getopt(int argc, char **argv, const char *shortopts,
               const struct option *longopts);
int img_getopt_code(int c);

/* Long options that nearly all have, for img_take_source(); a subcommand's own
 * begin at IMG_OPT_OWN, or are letters, or small. */
enum { IMG_OPT_OBJECT = 256, IMG_OPT_IMAGE_OPTS, IMG_OPT_OWN };

#define IMG_LONGOPTS                                            \
    { "help", no_argument, 0, 'h' },                            \
    { "object", required_argument, 0, IMG_OPT_OBJECT },         \
    { "image-opts", no_argument, 0, IMG_OPT_IMAGE_OPTS }
#define IMG_LONGOPT_SHARE { "force-share", no_argument, 0, 'U' }
#define IMG_LONGOPT_FORMAT { "format", required_argument, 0, 'f' }

/* Takes an option: -1 to go on, else the exit code. */
typedef int ImgTakeFn(Co *co, void *args, int c);
/* All of them to @take: -1 if the rest of the arguments is to be looked at,
 * else the exit code. */
int img_parse_options(Co *co, int argc, char **argv, const char *shortopts,
                      const struct option *longopts, ImgTakeFn *take,
                      void *args);

/* The same for a subcommand of which one file name is left, which goes to
 * *@name. */
int img_parse_file(Co *co, int argc, char **argv, const char *shortopts,
                   const struct option *longopts, ImgTakeFn *take,
                   void *args, const char **name);

/* "qemu-img: ...", and where to find help; returns 1. */
int img_usage_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* A size of bytes in [min, max]; @what is in the complaint: "image size". */
bool img_parse_size(const char *what, const char *value, int64_t min,
                    int64_t max, int64_t *ret);
/* A plain number in [min, max]; no complaint. */
bool img_parse_number(const char *value, int64_t min, int64_t max,
                      int64_t *ret);

/* -o: appends to *@list with a comma; false with a complaint if @value is no
 * list. */
bool img_add_options(char **list, const char *value);
bool img_wants_help(const char *list);

/* --object; -1 to go on, else the exit code. */
int img_object(Co *co, const char *arg);

/* -t and -T, with QEMU's complaints. */
bool img_target_cache(const char *mode, OpenFlags *flags, bool *write_through);
bool img_source_cache(const char *mode, OpenFlags *flags, bool *write_through);

typedef enum ImgOutput { IMG_OUTPUT_HUMAN, IMG_OUTPUT_JSON } ImgOutput;
/* NULL: human. */
bool img_parse_output(const char *value, ImgOutput *ret);
/* Pretty JSON in QEMU's order; consumes @value. */
void img_print_json(json_t *value);

/* ---- images ---- */

typedef struct ImgSource {
    const char *name;       /* a file name, or a list if image_opts */
    const char *format;     /* NULL: probe */
    bool image_opts;
    OpenFlags flags;
    bool write_through;
    bool alone;             /* nobody may write it meanwhile */
} ImgSource;

/* An ImgTakeFn for what nobody else has taken: -f, -U, --image-opts, --object,
 * the help and what is wrong. A subcommand has those of its tables. */
int img_take_source(Co *co, ImgSource *src, int c);
/* --image-opts and -f exclude each other; complains. */
bool img_check_source(bool image_opts, const char *format);

/* "Could not open 'x': ..." in @errp. root_free() closes it. */
Root *img_try_open(Co *co, const ImgSource *src, Error **errp);
/* NULL after a complaint. */
Root *img_open(Co *co, const ImgSource *src);

void img_print_snapshots(const SnapshotInfoList *list);
/* -l: "snapshot.id=1,snapshot.name=x", or an ID or a name. False after a
 * complaint; the first checks the syntax (NULL is fine), the second makes
 * @node, which is read-only, show the snapshot. */
bool img_check_snapshot(const char *param);
bool img_load_snapshot(Co *co, Node *node, const char *param);

/* ---- pictures ---- */

/* --output=png of map and bitmap; the exit code. Control lock; suspend. */
int img_map_picture(Co *co, Node *top, int64_t start, int64_t end);
/* Of all images of @names, which are opened as @like says. */
int img_bitmap_picture(Co *co, const ImgSource *like, char **names, int n);

/* ---- progress ---- */

/*
 * "    (12.34/100%)", in place: with -p on its way, else when SIGUSR1 asks for
 * it (to stderr's neighbour stdout, as QEMU does). One at a time.
 */
typedef struct ImgProgress {
    bool enabled;
    double percent, shown;
    struct Signals *signals;
} ImgProgress;

void img_progress_begin(ImgProgress *p, bool enabled);
void img_progress_set(ImgProgress *p, double percent);
/* The line ends. */
void img_progress_end(ImgProgress *p);

#endif
