/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img: one table of subcommands. Options before the subcommand are read
 * here, all others by the subcommand's own file in tools/img/.
 */
#include "util/osdep.h"

#include "tools/img/img.h"
#include "tools/tool.h"
#include "util/program.h"
#include "util/trace-option.h"

typedef struct ImgCommand {
    const char *name;
    ImgCommandFn *fn;
    const char *usage;
} ImgCommand;

#define SOURCE "[--object objectdef] [--image-opts] "

static const ImgCommand commands[] = {
    { "amend", img_amend,
      SOURCE "[-p] [-q] [-f fmt] [-t cache] [--force] -o options filename" },
    { "bench", img_bench,
      "[-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] "
      "[-i aio] [-n] [--no-drain] [-o offset] [--pattern=pattern] [-q] "
      "[-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename" },
    { "bitmap", img_bitmap,
      "(--merge SOURCE | --add | --remove | --clear | --enable | "
      "--disable)... [-b source_file [-F source_fmt]] [-g granularity] "
      "[--if-exists fail|keep|replace] "
      "[--object objectdef] [--image-opts | -f fmt] filename bitmap\n"
      "  bitmap " SOURCE "--check [--output=ofmt] [-f fmt] [-U] filename "
      "[bitmap]\n"
      "  bitmap " SOURCE "--output=png [-f fmt] [-U] filename..." },
    { "check", img_check,
      SOURCE "[-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] "
      "[-T src_cache] [-U] filename" },
    { "commit", img_commit,
      SOURCE "[-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] "
      "[--no-bitmaps] [--auto [--final-name name]] filename" },
    { "compare", img_compare,
      SOURCE "[-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] "
      "filename1 filename2" },
    { "convert", img_convert,
      SOURCE "[--target-image-opts] [--target-is-zero] [--bitmaps "
      "[--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] "
      "[-t cache] [-T src_cache] [-O output_fmt] [-B backing_file "
      "[-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] "
      "[-r rate_limit] [-m num_coroutines] [-W] [--salvage] "
      "[--incremental bitmap] filename [filename2 [...]] output_filename" },
    { "create", img_create,
      "[--object objectdef] [-q] [-f fmt] [-b backing_file "
      "[-F backing_fmt] [--bitmaps]] [-u] [-o options] filename [size]" },
    { "dd", img_dd,
      "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] "
      "[count=blocks] [skip=blocks] if=input of=output" },
    { "info", img_info,
      SOURCE "[-f fmt] [--output=ofmt] [--backing-chain] [-U] filename" },
    { "map", img_map,
      SOURCE "[-f fmt] [--start-offset=offset] [--max-length=len] "
      "[--output=ofmt] [-U] filename" },
    { "measure", img_measure,
      "[--output=ofmt] [-O output_fmt] [-o options] [--size N | "
      "[--object objectdef] [--image-opts] [--bitmaps] [-f fmt] "
      "[-l snapshot_param] filename]" },
    { "snapshot", img_snapshot,
      SOURCE "[-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] "
      "filename" },
    { "rebase", img_rebase,
      SOURCE "[-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] "
      "[-c] -b backing_file [-F backing_fmt] filename" },
    { "resize", img_resize,
      SOURCE "[-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename "
      "[+ | -]size" },
};

static const ImgCommand *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* ---- help ---- */

static void print_version(void)
{
    printf("qemu-img version " QEMU_VERSION "\n"
           "Copyright (c) 2026 The project's contributors\n");
}

static const char parameters_help[] =
"Parameters:\n"
"  filename      a file, an nbd: or nbd:// address, json:{...}, or with\n"
"                --image-opts a list like driver=qcow2,file.filename=x\n"
"  objectdef     an object as in --object type,id=name,key=value\n"
"  fmt, ofmt     the format of an image (found out if not given); with\n"
"                --output it is 'human' or 'json', of map and bitmap also 'png'\n"
"  cache         none, writeback (default), writethrough, directsync or\n"
"                unsafe (default of convert's target)\n"
"  size          in bytes, or with a suffix: k, M, G, T, P, E (powers of "
"1024)\n"
"  options       name=value,...; '-o help' lists what a format takes\n"
"  snapshot_param  snapshot.id=[ID],snapshot.name=[NAME], or ID or NAME\n"
"  -h            this help        -p  show progress\n"
"  -q            print errors only\n"
"  -U            share the image with those who write it\n"
"  -u            create, rebase: don't open the backing file\n"
"\n"
"bitmap: -g is the granularity for --add, -b and -F name the image that\n"
"        --merge takes its source from; actions run in the order given;\n"
"        --if-exists keep adds it unless it is there and sound, replace\n"
"        puts an empty one in its place; --check tells whether incremental\n"
"        backups may rest on the bitmaps of the chain: exit code 0 if so,\n"
"        1 if not\n"
"check:  -r leaks frees leaked clusters, -r all repairs whatever it can\n"
"commit: -b goes further down than the backing file, -d leaves the image as\n"
"        it is, -r limits bytes a second, --no-bitmaps leaves bitmaps behind,\n"
"        --auto moves data down or up, where there are fewer of them, and\n"
"        gives what is left the name --final-name\n"
"compare: -s also compares lengths and allocation\n"
"convert: -c compresses, -S is the shortest run of zeroes to leave out (4k;\n"
"        0: write everything), -n writes into an image that is there,\n"
"        -m is how many requests run at once (8), -W lets them write out of\n"
"        order, -C lets the host copy, --bitmaps copies persistent bitmaps\n"
"        and --skip-broken-bitmaps leaves out inconsistent ones\n"
"create: --bitmaps gives an overlay the recording bitmaps of its base, empty\n"
"snapshot: -l lists, -c creates, -a goes back to, -d deletes\n"
"\n";

void img_help(void)
{
    const BlockDriver *const *all;
    size_t n;

    print_version();
    printf("usage: qemu-img [standard options] command [command options]\n"
           "QEMU disk image utility\n"
           "\n"
           "    '-h', '--help'       display this help and exit\n"
           "    '-V', '--version'    output version information and exit\n"
           "    '-T', '--trace'      [[enable=]<pattern>][,events=<file>]"
           "[,file=<file>]\n"
           "                         accepted; there are no trace events\n"
           "\n"
           "Command syntax:\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        printf("  %s %s\n", commands[i].name, commands[i].usage);
    }
    printf("\n%s", parameters_help);
    printf("Supported formats:");
    all = driver_all(&n);
    for (size_t i = 0; i < n; i++) {
        printf(" %s", all[i]->name);
    }
    printf("\n");
}

/* ---- dispatch ---- */

/* -1 to go on, else the exit code. */
static int parse_global(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, 0, 'h' },
        { "version", no_argument, 0, 'V' },
        { "trace", required_argument, 0, 'T' },
        { 0 }
    };
    int c, ret;

    while ((c = img_getopt(argc, argv, "+:hVT:", longopts)) != -1) {
        switch (c) {
        case 'V':
            print_version();
            return 0;
        case 'T':
            ret = trace_option(optarg);
            if (ret >= 0) {
                return ret;
            }
            break;
        default:
            return img_getopt_code(c);
        }
    }
    return -1;
}

static int qemu_img(Co *co, int argc, char **argv)
{
    const ImgCommand *command;
    int ret;

    block_init();
    if (argc < 2) {
        return img_usage_error("Not enough arguments");
    }
    opterr = 0;
    ret = parse_global(argc, argv);
    if (ret >= 0) {
        return ret;
    }
    if (optind == argc) {
        return 0;                       /* options alone are fine */
    }
    command = find_command(argv[optind]);
    if (!command) {
        return img_usage_error("Command not found: %s", argv[optind]);
    }
    argc -= optind;
    argv += optind;
    optind = 0;                         /* begins anew */
    control_lock(co);
    ret = command->fn(co, argc, argv);
    control_unlock(co);
    /* With 1 compare says that images differ. */
    return tool_exit_code(ret, command->fn == img_compare ? 2 : 1);
}

int main(int argc, char **argv)
{
    return program_run(argc, argv, qemu_img);
}
