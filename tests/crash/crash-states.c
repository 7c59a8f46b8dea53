/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Makes the states in which a power loss may leave an image out of the log that
 * `blklogwrites` wrote, and judges each.
 *
 *     crash-states --image FILE --log FILE --model FILE [--node JSON]
 *                  [--states N] [--seed N] [--only N] [--save FILE] [--witness N]
 *
 * A state is a point of the log, that is a number of entries. Those up to the
 * last flush before it are there. Those after it are all there (every point of
 * the log is tried so), or, sector by sector, there or not, by a seed; as any
 * of several writes to a sector may be the last, that makes up for their order.
 *
 * In each state the image is opened, checked (leaks at most), read, and its
 * bitmaps are looked at; then it is repaired, has to be without fault, and is
 * read again. An image that is marked dirty may be found at odds with itself;
 * the next open to write has to mend it. The model says what may be read, in lines of words:
 *
 *     w START DONE OFF LEN FILE AT    written: LEN bytes of FILE from AT on, or
 *                                     zeroes where FILE is "-"
 *     m START DONE OFF LEN            may have been zeroed
 *     f START DONE                    flushed
 *     size BYTES                      a length that the disk may have, beside
 *                                     that at the beginning
 *     bitmap NAME POS                 must be there, trusted, from POS on
 *     damaged                         corruptions may be found and mended
 *
 * START of w and m and DONE of f are lengths of the log when the guest sent the
 * request and when the flush was answered; DONE of w and m and START of f are
 * numbers on the guest's own clock. A bitmap that is not marked in use has to
 * hold every sector that differs from what was there in the beginning.
 */
#include "../unit/mem-driver.h"

#include "block/dirty-bitmap.h"
#include "block/open.h"
#include "util/bytes.h"

#define SECTOR 512
#define SLACK (4 * MiB)

#define LOG_FLUSH 1
#define LOG_DISCARD 4

typedef struct Entry {
    int64_t off, len, flags;
    int64_t end;                /* the length of the log with it */
    const uint8_t *data;        /* NULL: discarded, or a flush */
} Entry;

typedef struct Op {
    int64_t start, done, off, len;
    bool maybe;
    const uint8_t *data;        /* NULL: zeroes */
} Op;

typedef struct Flush {
    int64_t start, done;
} Flush;

typedef struct WantedBitmap {
    char *name;
    int64_t pos;
} WantedBitmap;

typedef struct Test {
    char *image, *log, *model, *node, *save;
    int states, seed, only, witness;
    uint8_t *initial;
    gsize initial_len;
    gchar *log_data;
    gsize log_len;
    GArray *entries, *ops, *flushes, *sizes, *bitmaps;
    GHashTable *files;          /* contents by name */
    int64_t capacity;
    uint8_t *disk, *first;      /* the state; the content at the beginning */
    int64_t first_len;
    int64_t pos;
    bool damaged;
    const char *what;           /* is being tried in this state */
    int number;                 /* of the state; -1: the beginning */
    bool failed;
} Test;

static void fail(Test *t, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void fail(Test *t, const char *fmt, ...)
{
    va_list ap;

    if (!t->failed) {
        printf("# FAILED state %d at %" PRId64 ", seed %d, %s: ", t->number,
               t->pos, t->seed, t->what);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        printf("\n");
    }
    t->failed = true;
}

/* ---- what is read in ---- */

/* Says of itself that its counts and flags can't be trusted. */
static bool is_dirty(const Test *t)
{
    return t->disk[7] >= 3 && (t->disk[79] & 1);
}

/* All whole entries, also those that the super block does not count yet. */
static void read_log(Test *t)
{
    const uint8_t *p;
    gsize at = SECTOR;

    if (!g_file_get_contents(t->log, &t->log_data, &t->log_len, NULL)) {
        return;
    }
    p = (uint8_t *)t->log_data;
    while (at + SECTOR <= t->log_len) {
        Entry e = { .off = ldq_le_p(p + at) * SECTOR,
                    .len = ldq_le_p(p + at + 8) * SECTOR,
                    .flags = ldq_le_p(p + at + 16) };

        at += SECTOR;
        if (!(e.flags & (LOG_DISCARD | LOG_FLUSH))) {
            e.data = p + at;
            at += e.len;
        }
        e.end = at;
        if (at > t->log_len) {
            break;
        }
        g_array_append_val(t->entries, e);
        t->capacity = MAX(t->capacity, e.off + e.len);
    }
}

static const uint8_t *model_data(Test *t, const char *name, int64_t at)
{
    char *data;

    if (!strcmp(name, "-")) {
        return NULL;
    }
    data = g_hash_table_lookup(t->files, name);
    if (!data) {
        g_autoptr(GError) err = NULL;

        if (!g_file_get_contents(name, &data, NULL, &err)) {
            g_error("%s", err->message);
        }
        g_hash_table_insert(t->files, g_strdup(name), data);
    }
    return (uint8_t *)data + at;
}

static void model_line(Test *t, char *const *w)
{
    guint n = g_strv_length((char **)w);
    int64_t v[4] = { 0 };

    for (guint i = 1; i < n && i < 5; i++) {
        v[i - 1] = g_ascii_strtoll(w[i], NULL, 10);
    }
    if ((!strcmp(w[0], "w") && n == 7) || (!strcmp(w[0], "m") && n == 5)) {
        Op op = { v[0], v[1], v[2], v[3], n == 5, NULL };

        if (n == 7) {
            op.data = model_data(t, w[5], g_ascii_strtoll(w[6], NULL, 10));
        }
        g_array_append_val(t->ops, op);
    } else if (!strcmp(w[0], "f") && n == 3) {
        Flush f = { v[0], v[1] };

        g_array_append_val(t->flushes, f);
    } else if (!strcmp(w[0], "size") && n == 2) {
        g_array_append_val(t->sizes, v[0]);
    } else if (!strcmp(w[0], "bitmap") && n == 3) {
        WantedBitmap b = { g_strdup(w[1]), v[1] };

        g_array_append_val(t->bitmaps, b);
    } else if (!strcmp(w[0], "damaged")) {
        t->damaged = true;
    } else {
        g_error("%s: what is \"%s\"?", t->model, w[0]);
    }
}

static void read_model(Test *t)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(t->model, &text, NULL, NULL)) {
        g_error("%s can't be read", t->model);
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l; l++) {
        g_auto(GStrv) words = g_strsplit(*l, " ", -1);

        if (words[0] && *words[0]) {
            model_line(t, words);
        }
    }
}

/* ---- making a state ---- */

static void apply(const Entry *e, int64_t off, int64_t len, uint8_t *disk)
{
    if (e->data) {
        memcpy(disk + off, e->data + (off - e->off), len);
    } else {
        memset(disk + off, 0, len);
    }
}

static void apply_torn(const Entry *e, GRand *rand, uint8_t *disk)
{
    int how = g_rand_int_range(rand, 0, 3);

    for (int64_t off = e->off; off < e->off + e->len; off += SECTOR) {
        if (how == 1 || (how == 2 && g_rand_boolean(rand))) {
            apply(e, off, SECTOR, disk);
        }
    }
}

/* Returns the length of the file. */
static int64_t make_state(Test *t, guint count, GRand *torn)
{
    int64_t len = t->initial_len;
    guint durable = 0;

    memset(t->disk, 0, t->capacity);
    memcpy(t->disk, t->initial, t->initial_len);
    for (guint i = 0; i < count; i++) {
        if (g_array_index(t->entries, Entry, i).flags & LOG_FLUSH) {
            durable = i;
        }
    }
    for (guint i = 0; i < count; i++) {
        const Entry *e = &g_array_index(t->entries, Entry, i);

        if (i < durable || !torn) {
            apply(e, e->off, e->len, t->disk);
        } else {
            apply_torn(e, torn, t->disk);
        }
        len = MAX(len, e->off + e->len);
    }
    t->pos = count ? g_array_index(t->entries, Entry, count - 1).end : 0;
    return len;
}

/* ---- judging it ---- */

static bool sector_is(const Op *op, int64_t off, const uint8_t *buf)
{
    return op->data ? !memcmp(buf, op->data + (off - op->off), SECTOR)
                    : buffer_is_zero(buf, SECTOR);
}

static int64_t flushed_until(const Test *t)
{
    int64_t ret = -1;

    for (guint i = 0; i < t->flushes->len; i++) {
        const Flush *f = &g_array_index(t->flushes, Flush, i);

        if (f->done <= t->pos) {
            ret = MAX(ret, f->start);
        }
    }
    return ret;
}

/* Whether @buf may be at @off, given the last flush. */
static bool sector_ok(const Test *t, int64_t off, const uint8_t *buf,
                      int64_t flushed)
{
    for (guint i = t->ops->len; i-- > 0;) {
        const Op *op = &g_array_index(t->ops, Op, i);

        if (off < op->off || off >= op->off + op->len ||
            op->start >= t->pos) {
            continue;
        }
        if (sector_is(op, off, buf)) {
            return true;
        }
        if (op->done <= flushed && !op->maybe) {
            return false;
        }
    }
    return off >= t->first_len ? buffer_is_zero(buf, SECTOR)
                               : !memcmp(buf, t->first + off, SECTOR);
}

static void judge_content(Test *t, const uint8_t *buf, int64_t len)
{
    int64_t flushed = flushed_until(t);
    bool known = len == t->first_len;

    for (guint i = 0; i < t->sizes->len; i++) {
        known = known || len == g_array_index(t->sizes, int64_t, i);
    }
    if (!known) {
        fail(t, "a disk of %" PRId64 " bytes", len);
    }
    for (int64_t off = 0; off < len && !t->failed; off += SECTOR) {
        if (!sector_ok(t, off, buf + off, flushed)) {
            fail(t, "at %" PRId64 " is %016" PRIx64 ", flushed until %" PRId64,
                 off, GUINT64_FROM_BE(*(uint64_t *)(buf + off)), flushed);
        }
    }
}

static void judge_bitmap(Co *co, Test *t, DirtyBitmap *bm,
                         const uint8_t *buf, int64_t len)
{
    Error *err = NULL;
    const Bitset *bits;

    if (bm->state == BITMAP_INCONSISTENT || !bm->persistent) {
        return;
    }
    bits = bitmap_bits(co, bm, &err);
    if (!bits) {
        fail(t, "bitmap %s: %s", bm->name, error_get_pretty(err));
        error_free(err);
        return;
    }
    for (int64_t off = 0; off < MIN(len, t->first_len) && !t->failed;
         off += SECTOR) {
        if (memcmp(buf + off, t->first + off, SECTOR) &&
            !bitset_test(bits, off >> bm->granularity_shift)) {
            fail(t, "bitmap %s is trusted and lacks %" PRId64, bm->name, off);
        }
    }
}

static void judge_bitmaps(Co *co, Test *t, Node *node, const uint8_t *buf,
                          int64_t len)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm && !t->failed;
         bm = bitmap_next(bm)) {
        judge_bitmap(co, t, bm, buf, len);
    }
    for (guint i = 0; i < t->bitmaps->len; i++) {
        const WantedBitmap *w = &g_array_index(t->bitmaps, WantedBitmap, i);
        DirtyBitmap *bm = bitmap_find(node, w->name);

        if (t->pos >= w->pos &&
            (!bm || bm->state == BITMAP_INCONSISTENT)) {
            fail(t, "bitmap %s is %s", w->name, bm ? "in use" : "not there");
        }
    }
}

/* Corruptions never, but before the repair of a damaged image; leaks only if
 * @leaks. */
static void judge_check(Co *co, Test *t, Node *node, bool repair, bool leaks)
{
    CheckOptions fix = { repair, repair };
    CheckResult res = { 0 };
    int ret = node->drv->image->check(co, node, &fix, &res);

    if (t->damaged && leaks && ret >= 0) {
        return;
    }
    if (ret < 0 || res.corruptions || res.check_errors ||
        res.corruptions_fixed || (res.leaks && !leaks)) {
        fail(t, "check says %d: %" PRId64 " corruptions, %" PRId64
             " mended, %" PRId64 " errors, %" PRId64 " leaks", ret,
             res.corruptions, res.corruptions_fixed, res.check_errors,
             res.leaks);
    }
}

static Node *state_node(Test *t, int64_t len)
{
    Node *mem = mem_file(&mem_driver, t->disk, t->capacity, t->capacity, 1);

    mem->length = len;
    return mem;
}

static Node *state_open(Co *co, Test *t, OpenFlags flags)
{
    json_t *json = json_parse_str(t->node, &error_abort);
    BlockdevOptions *opts;
    Error *err = NULL;
    Node *node;

    if (!(flags & OPEN_RDWR)) {
        json_object_set_new(json, "read-only", json_true());
    }
    opts = BlockdevOptions_from_json(json, QAPI_STRICT, &error_abort);
    json_decref(json);
    node = open_with_flags(co, opts, flags, &err);
    if (!node) {
        fail(t, "open: %s", error_get_pretty(err));
        error_free(err);
    }
    return node;
}

/* The content; the caller frees it. */
static uint8_t *state_read(Co *co, Test *t, Node *top, int64_t *len)
{
    Root *root = mem_root(co, top, PERM_CONSISTENT_READ);
    uint8_t *buf;
    int ret;

    *len = root_length(root);
    buf = g_malloc(*len + SECTOR);
    ret = *len ? root_pread(co, root, 0, *len, buf) : 0;
    if (ret < 0) {
        fail(t, "read: %s", g_strerror(-ret));
    }
    root_free(co, root);
    return buf;
}

static void judge_as_found(Co *co, Test *t)
{
    Node *top = state_open(co, t, 0);
    g_autofree uint8_t *buf = NULL;
    int64_t len;

    if (!top) {
        return;
    }
    buf = state_read(co, t, top, &len);
    if (t->number < 0) {
        t->first = g_steal_pointer(&buf);
        t->first_len = len;
    } else if (!t->failed) {
        Node *node = node_find("state");

        if (!is_dirty(t)) {
            judge_check(co, t, node, false, true);
        }
        judge_content(t, buf, len);
        judge_bitmaps(co, t, node, buf, len);
    }
    node_unref(co, top);
}

static void judge_repaired(Co *co, Test *t)
{
    Node *top = state_open(co, t, OPEN_RDWR |
                           (is_dirty(t) ? 0 : OPEN_CHECK));
    g_autofree uint8_t *buf = NULL;
    int64_t len;

    if (!top) {
        return;
    }
    judge_check(co, t, node_find("state"), true, true);
    t->what = "repaired";
    judge_check(co, t, node_find("state"), false, false);
    buf = state_read(co, t, top, &len);
    judge_content(t, buf, len);
    node_unref(co, top);
}

static void save(const Test *t, const char *path, int64_t len)
{
    g_autoptr(GError) err = NULL;

    if (!g_file_set_contents(path, (char *)t->disk, len, &err)) {
        g_error("%s", err->message);
    }
}

/* Debian's opinion of every so manieth state. */
static void judge_witness(Test *t, int64_t len)
{
    g_autofree char *path = g_strdup_printf("%s.state", t->log);
    g_autofree char *cmd = g_strdup_printf(
        "/usr/bin/qemu-img check -f qcow2 %s %s >%s.out 2>&1",
        is_dirty(t) ? "-r all" : "", path, path);
    int status;

    save(t, path, len);
    status = system(cmd);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != 3)) {
        fail(t, "Debian's qemu-img check says %d", WEXITSTATUS(status));
    }
}

static void judge(Co *co, Test *t, int64_t len)
{
    Node *mem;

    control_lock(co);
    mem = state_node(t, len);
    t->what = "as found";
    judge_as_found(co, t);
    if (!t->failed && t->number >= 0) {
        judge_repaired(co, t);
    }
    node_unref(co, mem);
    control_unlock(co);
    if (!t->failed && !t->damaged && t->witness && t->number >= 0 &&
        t->number % t->witness == 0) {
        judge_witness(t, len);
    }
}

/* ---- all of them ---- */

static void test_main(Co *co, void *arg)
{
    Test *t = arg;
    int points = t->entries->len + 1;
    int exact = MIN(points, MAX(1, t->states / 2));

    t->number = -1;
    judge(co, t, make_state(t, 0, NULL));
    for (int i = 0; i < t->states && !t->failed; i++) {
        GRand *rand = g_rand_new_with_seed(t->seed + i);
        bool torn = i >= exact;
        int count = torn ? g_rand_int_range(rand, 0, points)
                         : (int)((int64_t)i * points / exact);

        t->number = i;
        if (t->only < 0 || t->only == i) {
            int64_t len = make_state(t, count, torn ? rand : NULL);

            judge(co, t, len);
            if (t->save && (t->failed || t->only == i)) {
                save(t, t->save, len);
            }
        }
        g_rand_free(rand);
    }
    loop_stop(loop_main());
}

static bool parse(Test *t, int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "image", 0, 0, G_OPTION_ARG_FILENAME, &t->image,
          "before the first entry", "FILE" },
        { "log", 0, 0, G_OPTION_ARG_FILENAME, &t->log, "blklogwrites'",
          "FILE" },
        { "model", 0, 0, G_OPTION_ARG_FILENAME, &t->model,
          "what may be read", "FILE" },
        { "node", 0, 0, G_OPTION_ARG_STRING, &t->node,
          "opens node \"state\" over \"mem\"", "JSON" },
        { "states", 0, 0, G_OPTION_ARG_INT, &t->states, "how many", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &t->seed, "of the torn ones", "N" },
        { "only", 0, 0, G_OPTION_ARG_INT, &t->only, "this state", "N" },
        { "save", 0, 0, G_OPTION_ARG_FILENAME, &t->save,
          "the state that failed", "FILE" },
        { "witness", 0, 0, G_OPTION_ARG_INT, &t->witness,
          "Debian checks each Nth state", "N" },
        { NULL },
    };
    GOptionContext *ctx = g_option_context_new(NULL);
    bool ok;

    g_option_context_add_main_entries(ctx, entries, NULL);
    ok = g_option_context_parse(ctx, &argc, &argv, NULL) && t->image &&
         t->log && t->model;
    g_option_context_free(ctx);
    return ok;
}

static void test_free(Test *t)
{
    GArray *arrays[] = { t->entries, t->ops, t->flushes, t->sizes,
                         t->bitmaps };
    void *blocks[] = { t->image, t->log, t->model, t->node, t->save,
                       t->initial, t->log_data, t->disk, t->first };

    for (guint i = 0; i < t->bitmaps->len; i++) {
        g_free(g_array_index(t->bitmaps, WantedBitmap, i).name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++) {
        g_array_unref(arrays[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(blocks); i++) {
        g_free(blocks[i]);
    }
    g_hash_table_unref(t->files);
}

int main(int argc, char **argv)
{
    Test t = { .states = 200, .only = -1 };
    gsize len;

    error_init(argv[0]);
    if (!parse(&t, argc, argv)) {
        fprintf(stderr, "usage: --image, --log, --model\n");
        return 2;
    }
    if (!t.node) {
        t.node = g_strdup("{\"driver\": \"qcow2\", \"node-name\": \"state\", "
                          "\"file\": \"mem\"}");
    }
    t.entries = g_array_new(false, false, sizeof(Entry));
    t.ops = g_array_new(false, false, sizeof(Op));
    t.flushes = g_array_new(false, false, sizeof(Flush));
    t.sizes = g_array_new(false, false, sizeof(int64_t));
    t.bitmaps = g_array_new(false, false, sizeof(WantedBitmap));
    t.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (!g_file_get_contents(t.image, (char **)&t.initial, &len, NULL)) {
        g_error("%s can't be read", t.image);
    }
    t.initial_len = len;
    t.capacity = len;
    read_log(&t);
    t.capacity = ROUND_UP(t.capacity, SECTOR) + SLACK;
    t.disk = g_malloc0(t.capacity);
    read_model(&t);
    loop_init_main(&error_abort);
    block_init();
    co_spawn(loop_main(), test_main, &t);
    loop_run(loop_main());
    if (!t.failed) {
        printf("%d states of %u entries\n", t.states, t.entries->len);
    }
    test_free(&t);
    return t.failed ? 1 : 0;
}
