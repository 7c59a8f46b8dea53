/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Large allocations that fail, for programs that are started with this library
 * in LD_PRELOAD.
 *
 * What asks for FAIL_ALLOC_MIN bytes or more is counted from 1 and noted in the
 * file FAIL_ALLOC_LOG, a line of its size each. The one with the number
 * FAIL_ALLOC_AT gets none, and with FAIL_ALLOC_ON=1 neither do those after it.
 * Smaller ones always succeed: a buffer whose size comes out of an image or
 * from a client has to be expected to fail, a few bytes for a list have not.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* glibc's own, below the names that are taken here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static size_t fail_min = SIZE_MAX;
static unsigned long fail_at;
static bool fail_on;
static int fail_log = -1;
static atomic_ulong fail_count;

__attribute__((constructor)) static void fail_start(void)
{
    const char *min = getenv("FAIL_ALLOC_MIN"), *at = getenv("FAIL_ALLOC_AT");
    const char *log = getenv("FAIL_ALLOC_LOG"), *on = getenv("FAIL_ALLOC_ON");

    fail_log = log ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)
                   : -1;
    fail_at = at ? strtoul(at, NULL, 10) : 0;
    fail_on = on && *on == '1';
    fail_min = min ? strtoul(min, NULL, 10) : SIZE_MAX;
}

/* Whether an allocation of @size bytes is to fail. */
static bool fail_now(size_t size)
{
    unsigned long number;
    char line[32];
    bool fails;
    int n;

    if (size < fail_min) {
        return false;
    }
    number = atomic_fetch_add(&fail_count, 1) + 1;
    fails = fail_at && (number == fail_at || (fail_on && number > fail_at));
    n = snprintf(line, sizeof(line), "%zu%s\n", size, fails ? " failed" : "");
    if (fail_log >= 0 && write(fail_log, line, n) != n) {
        abort();
    }
    errno = fails ? ENOMEM : errno;
    return fails;
}

void *malloc(size_t size)
{
    return fail_now(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    size_t sum;

    return !__builtin_mul_overflow(n, size, &sum) && fail_now(sum)
           ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fail_now(size) ? NULL : __libc_realloc(p, size);
}

void *memalign(size_t align, size_t size)
{
    return fail_now(size) ? NULL : __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
    int saved = errno;
    void *p = memalign(align, size);

    errno = saved;
    if (!p) {
        return ENOMEM;
    }
    *ret = p;
    return 0;
}
