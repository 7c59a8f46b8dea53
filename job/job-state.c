/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The life of a job as two tables: which status may follow which, and which
 * verb is taken in which status (QMP reference, JobStatus and JobVerb).
 *
 *     created --> running <--> paused
 *                   |  \
 *                   |   ready <--> standby
 *                   |   /
 *                 waiting --> pending --> concluded --> null
 *
 * Any of them but the last two may go to aborting, which goes to concluded. A
 * job that never started goes from created to null.
 */

#include "job/job.h"
#include "qapi/qapi-events.h"

#define S(name) (1u << JOB_STATUS_##name)

static const unsigned transitions[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = S(CREATED),
    [JOB_STATUS_CREATED] = S(RUNNING) | S(ABORTING) | S(NULL),
    [JOB_STATUS_RUNNING] = S(PAUSED) | S(READY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_PAUSED] = S(RUNNING),
    [JOB_STATUS_READY] = S(STANDBY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_STANDBY] = S(READY),
    [JOB_STATUS_WAITING] = S(PENDING) | S(ABORTING),
    [JOB_STATUS_PENDING] = S(ABORTING) | S(CONCLUDED),
    [JOB_STATUS_ABORTING] = S(ABORTING) | S(CONCLUDED),
    [JOB_STATUS_CONCLUDED] = S(NULL),
};

static const unsigned verbs[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL] = S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) |
                        S(STANDBY) | S(WAITING) | S(PENDING),
    [JOB_VERB_PAUSE] = S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) |
                       S(STANDBY),
    [JOB_VERB_RESUME] = S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) |
                        S(STANDBY),
    [JOB_VERB_SET_SPEED] = S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) |
                           S(STANDBY),
    [JOB_VERB_COMPLETE] = S(READY) | S(STANDBY),
    [JOB_VERB_FINALIZE] = S(PENDING),
    [JOB_VERB_DISMISS] = S(CONCLUDED),
    [JOB_VERB_CHANGE] = S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) |
                        S(STANDBY),
};

void job_set_status(Job *job, JobStatus status)
{
    g_assert(transitions[job->status] & (1u << status));
    if (job->status == status) {
        return;
    }
    job->status = status;
    if (job->id) {
        qapi_event_send_job_status_change(job->id, status);
    }
}

bool job_verb_allowed(const Job *job, JobVerb verb, Error **errp)
{
    if (verbs[verb] & (1u << job->status)) {
        return true;
    }
    error_setg(errp, "Job '%s' in state '%s' cannot accept command verb '%s'",
               job->id, JobStatus_str(job->status), JobVerb_str(verb));
    return false;
}
