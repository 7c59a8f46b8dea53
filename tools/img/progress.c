/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How far a subcommand has come. With -p a line is rewritten in place as it
 * grows; without, nothing is shown until somebody sends SIGUSR1.
 */
#include "util/osdep.h"

#include <signal.h>

#include "tools/img/img.h"
#include "util/signals.h"

/* Steps smaller than this are not worth a line. */
#define PROGRESS_STEP 1.0

static void img_progress_print(ImgProgress *p)
{
    printf("    (%3.2f/100%%)\r", p->percent);
    fflush(stdout);
    p->shown = p->percent;
}

static void img_progress_signal(int sig, void *opaque)
{
    img_progress_print(opaque);
}

void img_progress_begin(ImgProgress *p, bool enabled)
{
    static const int sigs[] = { SIGUSR1 };

    *p = (ImgProgress) { .enabled = enabled };
    if (enabled) {
        img_progress_print(p);
    } else {
        p->signals = signals_watch(loop_main(), sigs, 1, img_progress_signal,
                                   p, NULL);
    }
}

void img_progress_set(ImgProgress *p, double percent)
{
    p->percent = MIN(percent, 100.0);
    if (p->enabled && (p->percent >= p->shown + PROGRESS_STEP ||
                       (p->percent == 100.0 && p->shown != 100.0))) {
        img_progress_print(p);
    }
}

void img_progress_end(ImgProgress *p)
{
    if (p->enabled) {
        printf("\n");
    }
    signals_free(p->signals);
    p->signals = NULL;
}
