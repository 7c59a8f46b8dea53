/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * One line of qemu-io: words, split at blanks, the first of which names a
 * command. What every command needs is checked here: that there is one of this
 * name, the count of its arguments, an open file, and permissions on it, which
 * are asked for when the first command needs them.
 */
#include "util/osdep.h"

#include "tools/io/io.h"

static int io_quit(Co *co, Io *io, int argc, char **argv);

static const IoCommand io_basic_commands[] = {
    {
        .name = "help", .altname = "?", .fn = io_command_help,
        .max_args = 1, .no_file = true,
        .args = "[command]", .oneline = "help for one or all commands",
    }, {
        .name = "quit", .altname = "q", .fn = io_quit, .max_args = -1,
        .no_file = true, .oneline = "exit the program",
    },
    { 0 }
};

static const IoCommand *const io_tables[] = {
    io_basic_commands, io_rw_commands, io_vector_commands, io_disk_commands,
    io_file_commands, io_reopen_commands, io_debug_commands,
};

static const IoCommand *io_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(io_tables); i++) {
        for (const IoCommand *c = io_tables[i]; c->name; c++) {
            if (!strcmp(c->name, name) || !g_strcmp0(c->altname, name)) {
                return c;
            }
        }
    }
    return NULL;
}

static int io_quit(Co *co, Io *io, int argc, char **argv)
{
    io->quit = true;
    return 0;
}

/* ---- help ---- */

static void io_print_oneline(const char *name, const IoCommand *c)
{
    printf("%s ", name);
    if (c->args) {
        printf("%s ", c->args);
    }
    printf("-- %s\n", c->oneline);
}

static int io_compare_commands(const void *a, const void *b)
{
    const IoCommand *const *x = a;
    const IoCommand *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void io_help_all(void)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (size_t i = 0; i < ARRAY_SIZE(io_tables); i++) {
        for (const IoCommand *c = io_tables[i]; c->name; c++) {
            g_ptr_array_add(all, (gpointer)c);
        }
    }
    g_ptr_array_sort(all, io_compare_commands);
    for (guint i = 0; i < all->len; i++) {
        const IoCommand *c = g_ptr_array_index(all, i);

        io_print_oneline(c->name, c);
    }
    printf("\nUse 'help commandname' for extended help.\n");
}

int io_command_help(Co *co, Io *io, int argc, char **argv)
{
    const IoCommand *c;

    if (argc < 2) {
        io_help_all();
        return 0;
    }
    c = io_find(argv[1]);
    if (!c) {
        printf("command %s not found\n", argv[1]);
        return -EINVAL;
    }
    io_print_oneline(argv[1], c);
    if (c->help) {
        printf("%s", c->help);
    }
    return 0;
}

int io_command_usage(const char *name)
{
    io_print_oneline(name, io_find(name));
    return -EINVAL;
}

/* ---- running ---- */

static bool io_check_count(const IoCommand *c, const char *name, int n)
{
    if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args)) {
        return true;
    }
    fprintf(stderr, "bad argument count %d to %s, expected ", n, name);
    if (c->max_args < 0) {
        fprintf(stderr, "at least %d arguments\n", c->min_args);
    } else if (c->min_args == c->max_args) {
        fprintf(stderr, "%d arguments\n", c->min_args);
    } else {
        fprintf(stderr, "between %d and %d arguments\n", c->min_args,
                c->max_args);
    }
    return false;
}

static bool io_take_perms(Co *co, Io *io, uint64_t perms)
{
    uint64_t need = io->root->need | perms;
    Error *err = NULL;

    if ((perms & ~PERM_CONSISTENT_READ) && root_node(io->root)->read_only) {
        error_report("Block node is read-only");
        return false;
    }
    if (need != io->root->need &&
        !root_set_perms(co, io->root, need, io->root->share, &err)) {
        error_report_err(err);
        return false;
    }
    return true;
}

static int io_run_words(Co *co, Io *io, int argc, char **argv)
{
    const IoCommand *c = io_find(argv[0]);
    int ret;

    if (!c) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return -EINVAL;
    }
    if (!c->no_file && !io->root) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -EINVAL;
    }
    if (!io_check_count(c, argv[0], argc - 1) ||
        (c->perms && !io_take_perms(co, io, c->perms))) {
        return -EINVAL;
    }
    optind = 0;
    opterr = 1;
    ret = c->fn(co, io, argc, argv);
    fflush(stdout);
    return ret;
}

int io_command_run(Co *co, Io *io, const char *line)
{
    g_auto(GStrv) parts = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) words = g_ptr_array_new();

    for (size_t i = 0; parts[i]; i++) {
        if (parts[i][0]) {
            g_ptr_array_add(words, parts[i]);
        }
    }
    if (words->len == 0) {
        return 0;
    }
    g_ptr_array_add(words, NULL);
    return io_run_words(co, io, words->len - 1, (char **)words->pdata);
}
