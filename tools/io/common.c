/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Numbers in, buffers, and reports out: what the commands of qemu-io share.
 */
#include "util/osdep.h"

#include <ctype.h>

#include "tools/io/io.h"
#include "util/bytes.h"

#define MISALIGN 16

/* ---- arguments ---- */

int64_t io_parse_size(const char *str)
{
    uint64_t n;
    int ret = size_parse(str, 'B', NULL, &n);

    if (ret == -ERANGE || (ret == 0 && n > INT64_MAX)) {
        printf("Parsing error: argument too large -- %s\n", str);
        return -ERANGE;
    }
    if (ret < 0) {
        printf("Parsing error: non-numeric argument, or "
               "extraneous/unrecognized suffix -- %s\n", str);
        return -EINVAL;
    }
    return n;
}

int io_parse_pattern(const char *str)
{
    char *end;
    long n = strtol(str, &end, 0);

    if (n < 0 || n > 255 || end == str || *end) {
        printf("%s is not a valid pattern byte\n", str);
        return -1;
    }
    return n;
}

/* ---- buffers ---- */

void *io_alloc(const Io *io, int64_t len, int pattern)
{
    int64_t skip = io->misalign ? MISALIGN : 0;
    size_t align = MAX(4096, root_node(io->root)->limits.mem_alignment);
    uint8_t *buf = aligned_alloc_io(align, len + skip);

    memset(buf, pattern, len + skip);
    return buf + skip;
}

void io_free(const Io *io, void *buf)
{
    if (buf) {
        aligned_free((uint8_t *)buf - (io->misalign ? MISALIGN : 0));
    }
}

void io_dump(const uint8_t *buf, int64_t off, int64_t len)
{
    for (int64_t pos = 0; pos < len; pos += 16) {
        int64_t n = MIN(16, len - pos);

        printf("%08" PRIx64 ":  ", (uint64_t)(off + pos));
        for (int64_t i = 0; i < n; i++) {
            printf("%02x ", buf[pos + i]);
        }
        printf(" ");
        for (int64_t i = 0; i < n; i++) {
            printf("%c", isalnum(buf[pos + i]) ? buf[pos + i] : '.');
        }
        printf("\n");
    }
}

/* ---- numbers ---- */

char *io_size_str(double value)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {
        { 0x1p60, " EiB" }, { 0x1p50, " PiB" }, { 0x1p40, " TiB" },
        { 0x1p30, " GiB" }, { 0x1p20, " MiB" }, { 0x1p10, " KiB" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (value >= units[i].unit) {
            g_autofree char *number = g_strdup_printf("%.3f",
                                                      value / units[i].unit);
            char *zeroes = g_str_has_suffix(number, ".000") ?
                strchr(number, '.') : NULL;

            if (zeroes) {
                *zeroes = '\0';
            }
            return g_strconcat(number, units[i].name, NULL);
        }
    }
    if (value == (int64_t)value) {
        return g_strdup_printf("%d bytes", (int)value);
    }
    return g_strdup_printf("%f bytes", value);
}

static char *io_time_str(int64_t ns, bool fixed)
{
    unsigned hundredths = ns / 10000000 % 100;
    int64_t sec = ns / 1000000000;
    unsigned hours = sec / 3600, minutes = sec / 60 % 60;

    if (fixed || hours || minutes) {
        return g_strdup_printf("%u:%02u:%02u.%02u", hours, minutes,
                               (unsigned)(sec % 60), hundredths);
    }
    return g_strdup_printf("%02u.%02u sec", (unsigned)sec, hundredths);
}

/* ---- reports ---- */

void io_report_start(IoReport *r)
{
    r->start_ns = clock_ns();
}

void io_report(const IoReport *r, const char *verb, int64_t off,
               int64_t len, int64_t total)
{
    int64_t ns = MAX(clock_ns() - r->start_ns, 1);
    double per_sec = 1e9 / ns;
    g_autofree char *size = io_size_str(total);
    g_autofree char *rate = io_size_str(total * per_sec);
    g_autofree char *duration = io_time_str(ns, r->machine);

    if (r->quiet) {
        return;
    }
    if (r->machine) {
        printf("%" PRId64 ",%d,%s,%.3f,%.3f\n", total, 1, duration,
               total * per_sec, per_sec);
        return;
    }
    printf("%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n"
           "%s, %d ops; %s (%s/sec and %.4f ops/sec)\n", verb, total, len, off,
           size, 1, duration, rate, per_sec);
}
