/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Asking an NBD server for TLS. Nothing that it says is to be trusted yet: what is
 * not as the protocol has it is refused, in QEMU's words.
 */
#include "util/osdep.h"

#include "block/nbd-starttls.h"
#include "nbd/proto.h"
#include "util/bytes.h"

#define OPT_SIZE 16             /* of an option, and of a reply, without data */
#define REP_SIZE 20
#define ANSWER_SIZE 4
#define TEXT_MAX (64 * 1024)

static bool starttls_read(Co *co, Channel *ch, void *buf, size_t len,
                          const char *what, Error **errp)
{
    int ret = channel_read_all(co, ch, buf, len);

    if (ret == 0 || ret == -EPIPE) {
        error_setg(errp, "Failed to read %s: Unexpected end-of-file before "
                   "all data were read", what);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read %s: Unable to read from "
                         "socket", what);
    }
    return ret == 1;
}

static bool starttls_take_greeting(Co *co, Channel *ch, uint8_t *greeting,
                                   Error **errp)
{
    if (!starttls_read(co, ch, greeting, 8, "initial magic", errp)) {
        return false;
    }
    if (ldq_be_p(greeting) != NBD_INIT_MAGIC) {
        error_setg(errp, "Bad initial magic received: 0x%016" PRIx64,
                   ldq_be_p(greeting));
        return false;
    }
    if (!starttls_read(co, ch, greeting + 8, 8, "server magic", errp)) {
        return false;
    }
    if (ldq_be_p(greeting + 8) == NBD_OLDSTYLE_MAGIC) {
        error_setg(errp, "Server does not support STARTTLS");
        return false;
    }
    if (ldq_be_p(greeting + 8) != NBD_OPTS_MAGIC) {
        error_setg(errp, "Bad server magic received: 0x%016" PRIx64,
                   ldq_be_p(greeting + 8));
        return false;
    }
    return starttls_read(co, ch, greeting + 16, 2, "server flags", errp);
}

static bool starttls_ask(Co *co, Channel *ch, uint16_t flags, Error **errp)
{
    uint8_t out[ANSWER_SIZE + OPT_SIZE];
    int ret;

    stl_be_p(out, flags & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    stq_be_p(out + ANSWER_SIZE, NBD_OPTS_MAGIC);
    stl_be_p(out + ANSWER_SIZE + 8, NBD_OPT_STARTTLS);
    stl_be_p(out + ANSWER_SIZE + 12, 0);
    ret = channel_write_all(co, ch, out, sizeof(out));
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to send clientflags field: Unable "
                         "to write to socket");
    }
    return ret == 0;
}

/* What a server may say instead of yes. */
typedef struct Refusal {
    uint32_t type;
    const char *name, *words;
} Refusal;

#define UNKNOWN_WORDS "Unknown error code when asking for"

static const Refusal refusals[] = {
    { NBD_REP_ERR_UNSUP, "unsupported", NULL },
    { NBD_REP_ERR_POLICY, "denied by policy", "Denied by server for" },
    { NBD_REP_ERR_INVALID, "invalid", "Invalid parameters for" },
    { NBD_REP_ERR_PLATFORM, "platform lacks support",
      "Server lacks support for" },
    { NBD_REP_ERR_TLS_REQD, "TLS required",
      "TLS negotiation required before" },
    { NBD_REP_ERR_UNKNOWN, "export unknown", UNKNOWN_WORDS },
    { NBD_REP_ERR_SHUTDOWN, "server shutting down",
      "Server shutting down before" },
    { NBD_REP_ERR_BLOCK_SIZE_REQD, "block size required",
      "Server requires INFO_BLOCK_SIZE for" },
};

/* It says no, and perhaps why. */
static void starttls_refused(Co *co, Channel *ch, uint32_t type, uint32_t len,
                             Error **errp)
{
    ERRP_GUARD();
    g_autofree char *text = NULL;
    Refusal r = { type, "<unknown>", UNKNOWN_WORDS };

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        r = refusals[i].type == type ? refusals[i] : r;
    }
    if (len > TEXT_MAX) {
        error_setg(errp, "server error %" PRIu32 " (%s) message is too long",
                   type, r.name);
        return;
    }
    if (!r.words) {
        error_setg(errp, "Server don't support STARTTLS option");
        return;
    }
    text = g_malloc0(len + 1);
    if (len && !starttls_read(co, ch, text, len, "option error message",
                              errp)) {
        return;
    }
    error_setg(errp, "%s option 5 (starttls)", r.words);
    if (len) {
        error_append_hint(errp, "server reported: %s\n", text);
    }
}

static bool starttls_take_reply(Co *co, Channel *ch, Error **errp)
{
    uint8_t head[REP_SIZE];
    uint32_t option, type, len;

    if (!starttls_read(co, ch, head, sizeof(head), "option reply", errp)) {
        return false;
    }
    option = ldl_be_p(head + 8);
    type = ldl_be_p(head + 12);
    len = ldl_be_p(head + 16);
    if (ldq_be_p(head) != NBD_REP_MAGIC) {
        error_setg(errp, "Unexpected option reply magic");
    } else if (option != NBD_OPT_STARTTLS) {
        error_setg(errp, "Unexpected option type %" PRIu32 ", expected 5 "
                   "(starttls)", option);
    } else if (type & NBD_REP_ERR(0)) {
        starttls_refused(co, ch, type, len, errp);
    } else if (type != NBD_REP_ACK) {
        error_setg(errp, "Server answered option 5 (starttls) with unexpected "
                   "reply %" PRIu32, type);
    } else if (len) {
        error_setg(errp, "Option 5 ('starttls') response length is %" PRIu32
                   " (it should be zero)", len);
    } else {
        return true;
    }
    return false;
}

bool nbd_starttls(Co *co, Channel *ch, uint8_t greeting[NBD_GREETING_SIZE],
                  Error **errp)
{
    uint16_t flags;

    if (!starttls_take_greeting(co, ch, greeting, errp)) {
        return false;
    }
    flags = lduw_be_p(greeting + 16);
    if (!(flags & NBD_FLAG_FIXED_NEWSTYLE)) {
        error_setg(errp, "Server does not support STARTTLS");
        return false;
    }
    return starttls_ask(co, ch, flags, errp) &&
           starttls_take_reply(co, ch, errp);
}
