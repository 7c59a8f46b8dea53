/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-io: questions about the disk as a whole, its length, flushing. */
#include "util/osdep.h"

#include "block/info.h"
#include "block/io.h"
#include "tools/io/io.h"

static int io_flush_command(Co *co, Io *io, int argc, char **argv)
{
    return root_flush(co, io->root);
}

static int io_length_command(Co *co, Io *io, int argc, char **argv)
{
    int64_t len = io_length(co, root_node(io->root));
    g_autofree char *str = NULL;

    if (len < 0) {
        printf("getlength: %s\n", strerror(-len));
        return len;
    }
    str = io_size_str(len);
    printf("%s\n", str);
    return 0;
}

static int io_truncate_command(Co *co, Io *io, int argc, char **argv)
{
    PreallocMode prealloc = PREALLOC_MODE_OFF;
    Error *err = NULL;
    int64_t len;
    int c;

    while ((c = getopt(argc, argv, "m:")) != -1) {
        int mode;

        if (c != 'm') {
            return io_command_usage("truncate");
        }
        mode = PreallocMode_parse(optarg, -1, NULL);
        if (mode < 0) {
            error_report("Invalid preallocation mode '%s'", optarg);
            return -EINVAL;
        }
        prealloc = mode;
    }
    if (optind >= argc) {
        return io_command_usage("truncate");
    }
    len = io_parse_size(argv[optind]);
    if (len < 0) {
        return len;
    }
    if (!root_resize(co, io->root, len, false, prealloc, 0, &err)) {
        error_report_err(err);
        return -EIO;
    }
    return 0;
}

static int io_info_command(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io->image;
    g_autoptr(ImageInfoSpecific) specific = NULL;
    g_autofree char *cluster = NULL, *vmstate = NULL;
    Error *err = NULL;
    BlockDriverInfo info;
    int ret;

    printf("format name: %s\n", node->drv->name);
    ret = info_driver(co, node, &info);
    if (ret < 0) {
        return ret;
    }
    cluster = io_size_str(info.cluster_size);
    vmstate = io_size_str(info.vm_state_offset);
    printf("cluster size: %s\nvm state offset: %s\n", cluster, vmstate);
    if (node->drv->specific_info) {
        specific = node->drv->specific_info(co, node, &err);
        if (!specific && err) {
            error_report_err(err);
            return -EIO;
        }
    }
    if (specific && specific->type != IMAGE_INFO_SPECIFIC_KIND_FILE) {
        printf("Format specific information:\n");
        tool_print_specific(specific);
    }
    return 0;
}

/* ---- allocation ---- */

static int io_alloc_command(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io->image;
    int64_t start = io_parse_size(argv[1]);
    int64_t count = 512, sum = 0, len = node->length;
    g_autofree char *where = NULL;

    if (start < 0) {
        return start;
    }
    if (argc == 3) {
        count = io_parse_size(argv[2]);
        if (count < 0) {
            return count;
        }
    }
    count = MIN(count, MAX(len - start, 0));
    for (int64_t off = start, n; off < start + count; off += n) {
        int ret = status_allocated(co, node, off, start + count - off, &n);

        if (ret < 0) {
            printf("is_allocated failed: %s\n", strerror(-ret));
            return ret;
        }
        sum += ret ? n : 0;
    }
    where = io_size_str(start);
    printf("%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", sum,
           count, where);
    return 0;
}

static void io_map_print(int64_t off, int64_t len, bool allocated)
{
    g_autofree char *length = io_size_str(len);
    g_autofree char *offset = io_size_str(off);

    printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64
           ")\n", length, (uint64_t)len, allocated ? "   " : "not", offset,
           (uint64_t)off);
}

static int io_map_command(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io->image;
    int64_t start = 0;
    int last = -1;

    for (int64_t off = 0, n; off < node->length; off += n) {
        int ret = status_allocated(co, node, off, node->length - off, &n);

        if (ret < 0) {
            error_report("Failed to get allocation status: %s",
                         strerror(-ret));
            return ret;
        }
        if (last >= 0 && ret != last) {
            io_map_print(start, off - start, last);
            start = off;
        }
        last = ret;
    }
    if (last >= 0) {
        io_map_print(start, node->length - start, last);
    }
    return 0;
}

const IoCommand io_disk_commands[] = {
    {
        .name = "flush", .altname = "f", .fn = io_flush_command,
        .oneline = "flush all in-core file state to disk",
    }, {
        .name = "length", .altname = "l", .fn = io_length_command,
        .oneline = "gets the length of the current file",
    }, {
        .name = "truncate", .altname = "t", .fn = io_truncate_command,
        .perms = PERM_WRITE | PERM_RESIZE, .min_args = 1, .max_args = 3,
        .args = "[-m prealloc_mode] off",
        .oneline = "truncates the current file at the given offset",
    }, {
        .name = "info", .altname = "i", .fn = io_info_command,
        .oneline = "prints information about the current file",
    }, {
        .name = "alloc", .altname = "a", .fn = io_alloc_command,
        .min_args = 1, .max_args = 2, .args = "offset [count]",
        .oneline = "checks if offset is allocated in the file",
    }, {
        .name = "map", .fn = io_map_command, .args = "",
        .oneline = "prints the allocated areas of a file",
    },
    { 0 }
};
