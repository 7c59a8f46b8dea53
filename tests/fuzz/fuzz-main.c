/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A libFuzzer target without libFuzzer, so that every compiler, every sanitizer
 * and every run of the tests can try it:
 *
 *     fuzz-TARGET-replay [--seconds N] [--seed N] [--keep FILE] CORPUS...
 *
 * First each file of the corpora (files, or folders of them); then, until the
 * time is over, mutations of them by the seed. The input that is being tried
 * stands in --keep's file, which is left behind where the process dies.
 */
#include "util/osdep.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "util/loop.h"
#include "fuzz.h"

#define KEEP_MAX (1 << 20)

static GPtrArray *inputs;       /* of GBytes */
static uint8_t *kept;           /* the file, mapped */
static int keep_fd;
static char *keep_path;

/* ---- inputs ---- */

static void take_file(const char *path)
{
    g_autoptr(GError) err = NULL;
    char *data;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, &err)) {
        g_error("%s", err->message);
    }
    g_ptr_array_add(inputs, g_bytes_new_take(data, len));
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take(const char *path)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    if (!dir) {
        take_file(path);
        return;
    }
    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_build_filename(path, name, NULL));
    }
    g_dir_close(dir);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        take_file(names->pdata[i]);
    }
}

static void try_one(const uint8_t *data, size_t len)
{
    len = MIN(len, KEEP_MAX);
    if (kept) {
        if (ftruncate(keep_fd, len) < 0) {
            abort();
        }
        memcpy(kept, data, len);
    }
    LLVMFuzzerTestOneInput(data, len);
}

/* ---- mutations ---- */

static void put_number(GRand *rand, GByteArray *in, guint at)
{
    static const uint64_t numbers[] = {
        0, 1, 2, 512, 4096, 65536, INT32_MAX, UINT32_MAX, INT64_MAX,
        UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 62 | 1024, 1 << 30,
    };
    uint64_t n = numbers[g_rand_int_range(rand, 0, G_N_ELEMENTS(numbers))] +
                 g_rand_int_range(rand, -1, 2);
    int bytes = 1 << g_rand_int_range(rand, 0, 4);

    for (int i = 0; i < bytes && at + i < in->len; i++) {
        in->data[at + i] = n >> 8 * (bytes - 1 - i);
    }
}

/* A piece of another input, here. */
static void splice_in(GRand *rand, GByteArray *in, guint at)
{
    GBytes *other = inputs->pdata[g_rand_int_range(rand, 0, inputs->len)];
    gsize len;
    const uint8_t *data = g_bytes_get_data(other, &len);
    gsize from = len ? g_rand_int_range(rand, 0, len) : 0;
    gsize n = g_rand_int_range(rand, 0, 64);

    n = MIN(n, len - from);
    for (gsize i = 0; i < n && at + i < in->len; i++) {
        in->data[at + i] = data[from + i];
    }
}

/* A piece of the same, at the end once more. */
static void repeat(GByteArray *in, guint at, guint n)
{
    uint8_t piece[32];

    n = MIN(n, MIN(in->len - at, sizeof(piece)));
    memcpy(piece, in->data + at, n);
    g_byte_array_append(in, piece, n);
}

static void mutate_once(GRand *rand, GByteArray *in)
{
    guint at = in->len ? g_rand_int_range(rand, 0, in->len) : 0;
    uint8_t byte = g_rand_int(rand);

    if (!in->len) {
        g_byte_array_append(in, &byte, 1);
        return;
    }
    switch (g_rand_int_range(rand, 0, 7)) {
    case 0:
        in->data[at] ^= 1 << (byte & 7);
        break;
    case 1:
        in->data[at] = byte;
        break;
    case 2:
        put_number(rand, in, at);
        break;
    case 3:
        put_number(rand, in, ROUND_DOWN(at, 8));
        break;
    case 4:
        splice_in(rand, in, at);
        break;
    case 5:
        g_byte_array_remove_range(in, at, MIN(in->len - at, byte % 9));
        break;
    default:
        repeat(in, at, byte % 33);
        break;
    }
}

static void mutate(GRand *rand)
{
    GBytes *from = inputs->pdata[g_rand_int_range(rand, 0, inputs->len)];
    g_autoptr(GByteArray) in = g_byte_array_new();
    gsize len;
    const uint8_t *data = g_bytes_get_data(from, &len);
    int n = 1 << g_rand_int_range(rand, 0, 5);

    g_byte_array_append(in, data, len);
    for (int i = 0; i < n; i++) {
        mutate_once(rand, in);
    }
    try_one(in->data, in->len);
}

/* ---- */

static void keep_open(void)
{
    keep_fd = open(keep_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (keep_fd < 0) {
        g_error("%s: %s", keep_path, g_strerror(errno));
    }
    kept = mmap(NULL, KEEP_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, keep_fd,
                0);
    g_assert(kept != MAP_FAILED);
}

/* What is said of broken images is not of interest; what sanitizers say goes
 * to the descriptor. */
static void be_silent(void)
{
    FILE *null = fopen("/dev/null", "w");

    if (!null || dup2(fileno(null), STDOUT_FILENO) < 0) {
        abort();
    }
    stderr = null;
}

int main(int argc, char **argv)
{
    int seconds = 0, seed = 0;
    int64_t end, tried = 0;
    const GOptionEntry entries[] = {
        { "seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "of mutations", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "0: by the clock", "N" },
        { "keep", 0, 0, G_OPTION_ARG_FILENAME, &keep_path,
          "what is being tried", "FILE" },
        { NULL },
    };
    GOptionContext *ctx = g_option_context_new("CORPUS...");
    GRand *rand;

    g_option_context_add_main_entries(ctx, entries, NULL);
    if (!g_option_context_parse(ctx, &argc, &argv, NULL)) {
        return 2;
    }
    g_option_context_free(ctx);
    seed = seed ? seed : (int)(clock_ns() & INT_MAX);
    inputs = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (int i = 1; i < argc; i++) {
        take(argv[i]);
    }
    fprintf(stderr, "seed %d\n", seed);
    if (keep_path) {
        keep_open();
    }
    be_silent();
    LLVMFuzzerInitialize(&argc, &argv);
    for (guint i = 0; i < inputs->len; i++) {
        gsize len;
        const uint8_t *data = g_bytes_get_data(inputs->pdata[i], &len);

        try_one(data, len);
    }
    rand = g_rand_new_with_seed(seed);
    for (end = clock_ns() + seconds * INT64_C(1000000000);
         inputs->len && clock_ns() < end; tried++) {
        mutate(rand);
    }
    g_rand_free(rand);
    if (keep_path) {
        unlink(keep_path);
    }
    dprintf(STDERR_FILENO, "%u inputs, %" PRId64 " mutations\n", inputs->len,
            tried);
    g_ptr_array_unref(inputs);
    return 0;
}
