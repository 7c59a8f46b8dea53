/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img compare: whether two disks have the same content, whatever their
 * formats.
 *
 *     0 identical   1 different   2 can't open   3 no status   4 can't read
 *
 * Both are asked for the status of the same range; what is zero in both need
 * not be read. A disk that is longer is the same if its rest is zero, but in
 * strict mode, where lengths and allocation must be the same as well.
 */
#include "util/osdep.h"

#include "block/io.h"
#include "tools/img/img.h"
#include "util/bytes.h"

#define COMPARE_BUFFER (2 * MiB)
/* What stays in the processor's cache until it is compared: where data come at
 * once. Where several reads in a row have waited, more are read at a time. */
#define COMPARE_PIECE (128 * KiB)
#define COMPARE_WAITS 4
/* Differences are told in units of this. */
#define COMPARE_UNIT 512

typedef struct CompareSide {
    ImgSource src;
    Root *root;
    uint8_t *buf;
    int64_t len;
} CompareSide;

typedef struct Compare {
    CompareSide side[2];
    bool strict, quiet;
    int waits;                          /* reads in a row that did */
    ImgProgress progress;
    bool show_progress;
} Compare;

static const struct option compare_longopts[] = {
    { "help", no_argument, 0, 'h' },
    { "object", required_argument, 0, 1 },
    { "image-opts", no_argument, 0, 2 },
    { "force-share", no_argument, 0, 'U' },
    { 0 }
};

/* What the options say goes into @both. */
static int compare_parse_options(Co *co, Compare *c, ImgSource *both,
                                 const char **cache, int argc, char **argv)
{
    int opt, ret;

    while ((opt = img_getopt(argc, argv, ":hf:F:T:pqsU",
                             compare_longopts)) != -1) {
        switch (opt) {
        case 'f':
            c->side[0].src.format = optarg;
            break;
        case 'F':
            c->side[1].src.format = optarg;
            break;
        case 'T':
            *cache = optarg;
            break;
        case 'p':
            c->show_progress = true;
            break;
        case 'q':
            c->quiet = true;
            break;
        case 's':
            c->strict = true;
            break;
        case 'U':
            both->flags |= OPEN_FORCE_SHARE;
            break;
        case 1:
            ret = img_object(co, optarg);
            if (ret >= 0) {
                return ret == 0 ? 0 : 2;
            }
            break;
        case 2:
            both->image_opts = true;
            break;
        default:
            return img_getopt_code(opt);
        }
    }
    return -1;
}

static int compare_parse(Co *co, Compare *c, int argc, char **argv)
{
    ImgSource both = { 0 };
    const char *cache = "writeback";
    int ret = compare_parse_options(co, c, &both, &cache, argc, argv);

    if (ret >= 0) {
        return ret;
    }
    if (optind != argc - 2) {
        return img_usage_error("Expecting two image file names");
    }
    for (int i = 0; i < 2; i++) {
        if (!img_check_source(both.image_opts, c->side[i].src.format)) {
            return 2;
        }
    }
    if (!img_source_cache(cache, &both.flags, &both.write_through)) {
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        both.format = c->side[i].src.format;
        both.name = argv[optind + i];
        c->side[i].src = both;
    }
    return -1;
}

/* ---- reading ---- */

static void compare_say(const Compare *c, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

static void compare_say(const Compare *c, const char *fmt, ...)
{
    va_list ap;

    if (!c->quiet) {
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
    }
}

static int compare_read(Co *co, CompareSide *s, int64_t off, int64_t len)
{
    int64_t there = CLAMP(s->len - off, 0, len);
    int ret = there ? root_pread(co, s->root, off, there, s->buf) : 0;

    if (ret < 0) {
        error_report("Error while reading offset %" PRId64 " of %s: %s", off,
                     s->src.name, strerror(-ret));
        return 4;
    }
    memset(s->buf + there, 0, len - there);
    return 0;
}

static int compare_status(Co *co, CompareSide *s, int64_t off, int64_t len,
                          Extent *ext)
{
    int ret = status_above(co, root_node(s->root), NULL, false, true, off, len,
                           ext);

    if (ret < 0) {
        error_report("Sector allocation test failed for %s", s->src.name);
        return 3;
    }
    return 0;
}

/* ---- comparing ---- */

static int compare_mismatch(const Compare *c, int64_t off)
{
    compare_say(c, "Content mismatch at offset %" PRId64 "!\n", off);
    return 1;
}

/* The first unit in which the buffers differ, or @len. */
static int64_t compare_find(const uint8_t *a, const uint8_t *b, int64_t len)
{
    if (!memcmp(a, b, len)) {
        return len;
    }
    for (int64_t pos = 0; pos < len; pos += COMPARE_UNIT) {
        if (memcmp(a + pos, b + pos, MIN(COMPARE_UNIT, len - pos))) {
            return pos;
        }
    }
    g_assert_not_reached();
}

typedef struct CompareJoint {
    CompareSide *side;
    int64_t off, len;
    bool waited;
    int ret;
} CompareJoint;

static void compare_note_wait(Compare *c, bool waited)
{
    if (c->waits < COMPARE_WAITS) {
        c->waits = waited ? c->waits + 1 : 0;
    }
}

static int compare_read_other(Co *co, void *opaque)
{
    CompareJoint *j = opaque;
    unsigned waits = co_waits(co);

    j->ret = compare_read(co, j->side, j->off, j->len);
    j->waited = co_waits(co) != waits;
    return 0;
}

/* Both are read at the same time. */
static int compare_data(Co *co, Compare *c, int64_t off, int64_t len)
{
    CompareJoint other = { &c->side[1], off, len, false, 0 };
    unsigned waits = co_waits(co);
    CoGroup group;
    int64_t pos;
    bool waited;
    int ret;

    co_group_init(&group, co_loop(co), 1);
    co_group_start(co, &group, compare_read_other, &other);
    ret = compare_read(co, &c->side[0], off, len);
    waited = co_waits(co) != waits;
    co_group_wait(co, &group);
    compare_note_wait(c, waited || other.waited);
    if (ret || other.ret) {
        return ret ? ret : other.ret;
    }
    pos = compare_find(c->side[0].buf, c->side[1].buf, len);
    return pos < len ? compare_mismatch(c, off + pos) : 0;
}

/* The range of one side, which the other one has as zeroes. */
static int compare_with_zeroes(Co *co, Compare *c, CompareSide *s,
                               int64_t off, int64_t len)
{
    unsigned waits = co_waits(co);
    int ret = compare_read(co, s, off, len);

    if (ret) {
        return ret;
    }
    compare_note_wait(c, co_waits(co) != waits);
    for (int64_t pos = 0; pos < len; pos += COMPARE_UNIT) {
        if (!buffer_is_zero(s->buf + pos, MIN(COMPARE_UNIT, len - pos))) {
            return compare_mismatch(c, off + pos);
        }
    }
    return 0;
}

static int64_t compare_step(const Compare *c)
{
    return c->waits < COMPARE_WAITS ? COMPARE_PIECE : COMPARE_BUFFER;
}

static int compare_chunk(Co *co, Compare *c, int64_t off, int64_t *len)
{
    const int alike = EXTENT_DATA | EXTENT_ZERO | EXTENT_ALLOCATED;
    Extent ext[2];
    bool zero[2];

    for (int i = 0; i < 2; i++) {
        int ret = compare_status(co, &c->side[i], off, *len, &ext[i]);

        if (ret) {
            return ret;
        }
        zero[i] = ext[i].flags & EXTENT_ZERO;
    }
    *len = MIN(ext[0].len, ext[1].len);
    if (c->strict && ((ext[0].flags ^ ext[1].flags) & alike)) {
        compare_say(c, "Strict mode: Offset %" PRId64
                    " block status mismatch!\n", off);
        return 1;
    }
    if (zero[0] && zero[1]) {
        return 0;
    }
    *len = MIN(*len, compare_step(c));
    if (!zero[0] && !zero[1]) {
        return compare_data(co, c, off, *len);
    }
    return compare_with_zeroes(co, c, &c->side[zero[0]], off, *len);
}

/* What the longer side has beyond the other's end. */
static int compare_rest(Co *co, Compare *c, CompareSide *s, int64_t off)
{
    while (off < s->len) {
        int64_t len = s->len - off;
        Extent ext;
        int ret = compare_status(co, s, off, len, &ext);

        if (ret) {
            return ret;
        }
        len = ext.len;
        if (!(ext.flags & EXTENT_ZERO)) {
            len = MIN(len, compare_step(c));
            ret = compare_with_zeroes(co, c, s, off, len);
            if (ret) {
                return ret;
            }
        }
        off += len;
        img_progress_set(&c->progress, 100.0 * off / s->len);
    }
    return 0;
}

static int compare_disks(Co *co, Compare *c)
{
    CompareSide *a = &c->side[0], *b = &c->side[1];
    int64_t common = MIN(a->len, b->len), total = MAX(a->len, b->len);
    int ret = 0;

    if (c->strict && a->len != b->len) {
        compare_say(c, "Strict mode: Image size mismatch!\n");
        return 1;
    }
    for (int64_t off = 0; off < common && !ret;) {
        int64_t len = common - off;

        ret = compare_chunk(co, c, off, &len);
        off += len;
        if (!ret) {
            img_progress_set(&c->progress, 100.0 * off / total);
        }
    }
    if (!ret && a->len != b->len) {
        compare_say(c, "Warning: Image size mismatch!\n");
        ret = compare_rest(co, c, a->len > b->len ? a : b, common);
    }
    if (!ret) {
        compare_say(c, "Images are identical.\n");
    }
    return ret;
}

/* ---- the run ---- */

static bool compare_open(Co *co, CompareSide *s)
{
    s->root = img_open(co, &s->src);
    if (!s->root) {
        return false;
    }
    s->len = root_length(s->root);
    s->buf = aligned_alloc_io(4096, COMPARE_BUFFER);
    return true;
}

static void compare_close(Co *co, CompareSide *s)
{
    root_free(co, s->root);
    aligned_free(s->buf);
}

int img_compare(Co *co, int argc, char **argv)
{
    Compare c = { 0 };
    int ret = compare_parse(co, &c, argc, argv);

    if (ret >= 0) {
        return ret;
    }
    img_progress_begin(&c.progress, c.show_progress && !c.quiet);
    if (compare_open(co, &c.side[0]) && compare_open(co, &c.side[1])) {
        ret = compare_disks(co, &c);
    } else {
        ret = 2;
    }
    compare_close(co, &c.side[1]);
    compare_close(co, &c.side[0]);
    img_progress_end(&c.progress);
    return ret;
}
