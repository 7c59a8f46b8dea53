/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The clock and the scoped file descriptor. */
#include "util/osdep.h"

#include <time.h>

int64_t (*clock_simulated)(void);

int64_t clock_ns(void)
{
    struct timespec ts;

    if (clock_simulated) {
        return clock_simulated();
    }
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void fd_cleanup(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;

        close(*fd);
        errno = saved;
        *fd = -1;
    }
}
