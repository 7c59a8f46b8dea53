/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The handshake: fixed newstyle, option by option, out of one table.
 *
 * Everything here runs on the main loop. An option's data are received whole
 * (up to a bound) before its handler looks at them, so a handler is a parser
 * and a reply, and a wrong length never leaves the stream out of step.
 */

#include "nbd/server-internal.h"
#include "util/authz.h"

/* Far above anything sensible: names and queries are up to 4 KiB each. */
#define OPT_DATA_MAX (1 * MiB)
#define OPT_DATA_OWN (64 * KiB)         /* the rest is taken from the server's */

typedef enum OptResult {
    OPT_GO_ON,
    OPT_END,                /* leave the client */
    OPT_TRANSMIT,
} OptResult;

/* ---- replies ---- */

static bool send_rep(Co *co, NbdConn *conn, uint32_t option, uint32_t type,
                     const void *data, size_t len)
{
    uint8_t head[NBD_REP_HEADER_SIZE];
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)data, len } };

    nbd_rep_pack(head, option, type, len);
    return channel_writev_all(co, conn->ch, iov, len ? 2 : 1) == 0;
}

static OptResult reply_ack(Co *co, NbdConn *conn, uint32_t option)
{
    return send_rep(co, conn, option, NBD_REP_ACK, NULL, 0) ? OPT_GO_ON
                                                            : OPT_END;
}

static OptResult G_GNUC_PRINTF(5, 6)
reply_err(Co *co, NbdConn *conn, uint32_t option, uint32_t type,
          const char *fmt, ...)
{
    g_autofree char *msg = NULL;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return send_rep(co, conn, option, type, msg, strlen(msg)) ? OPT_GO_ON
                                                              : OPT_END;
}

static NbdExport *find_export(NbdConn *conn, const char *name)
{
    return (NbdExport *)nbd_server_export(conn->server, name);
}

/* ---- options ---- */

static uint16_t negotiated_flags(const NbdConn *conn)
{
    return (conn->structured ? NBD_FLAG_SEND_DF : 0) |
           (conn->extended ? NBD_FLAG_BLOCK_STAT_PAYLOAD : 0);
}

static OptResult opt_export_name(Co *co, NbdConn *conn, NbdCursor *data)
{
    /* No bytes at all are the empty name, not no name. */
    g_autofree char *name = data->left
                            ? g_strndup((const char *)data->p, data->left)
                            : g_strdup("");
    NbdExport *exp = data->left <= NBD_MAX_STRING_SIZE
                     ? find_export(conn, name) : NULL;
    uint8_t reply[10 + 124] = { 0 };
    NbdExportFacts facts;

    if (!exp) {
        return OPT_END;
    }
    conn->exp = exp;
    nbd_export_enter(exp, conn);
    facts = nbd_export_facts(co, exp);
    facts.flags |= negotiated_flags(conn);
    stq_be_p(reply, facts.size);
    stw_be_p(reply + 8, facts.flags);
    if (channel_write_all(co, conn->ch, reply,
                          conn->no_zeroes ? 10 : sizeof(reply)) < 0) {
        conn->exp = NULL;
        nbd_export_leave(exp, conn);
        return OPT_END;
    }
    return OPT_TRANSMIT;
}

static OptResult opt_abort(Co *co, NbdConn *conn, NbdCursor *data)
{
    reply_ack(co, conn, NBD_OPT_ABORT);
    return OPT_END;
}

static bool send_list_entry(Co *co, NbdConn *conn, const NbdExport *exp)
{
    size_t name_len = strlen(exp->name);
    size_t desc_len = exp->description ? strlen(exp->description) : 0;
    g_autofree uint8_t *p = g_malloc(4 + name_len + desc_len);

    stl_be_p(p, name_len);
    memcpy(p + 4, exp->name, name_len);
    if (desc_len) {
        memcpy(p + 4 + name_len, exp->description, desc_len);
    }
    return send_rep(co, conn, NBD_OPT_LIST, NBD_REP_SERVER, p,
                    4 + name_len + desc_len);
}

static OptResult opt_list(Co *co, NbdConn *conn, NbdCursor *data)
{
    const GPtrArray *exports = conn->server->exports;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (data->left) {
        return reply_err(co, conn, NBD_OPT_LIST, NBD_REP_ERR_INVALID,
                         "option 'list' should have zero length");
    }
    for (guint i = 0; i < exports->len; i++) {
        const NbdExport *exp = g_ptr_array_index(exports, i);

        g_ptr_array_add(names, g_strdup(exp->name));
    }
    /* Exports may come and go while an entry is sent. */
    for (guint i = 0; i < names->len; i++) {
        const NbdExport *exp = find_export(conn, g_ptr_array_index(names, i));

        if (exp && !send_list_entry(co, conn, exp)) {
            return OPT_END;
        }
    }
    return reply_ack(co, conn, NBD_OPT_LIST);
}

static bool send_info(Co *co, NbdConn *conn, uint32_t option, uint16_t type,
                      const void *data, size_t len)
{
    g_autofree uint8_t *p = g_malloc(2 + len);

    stw_be_p(p, type);
    memcpy(p + 2, data, len);
    return send_rep(co, conn, option, NBD_REP_INFO, p, 2 + len);
}

static bool send_all_info(Co *co, NbdConn *conn, uint32_t option,
                          NbdExport *exp, const NbdExportFacts *facts,
                          bool want_name, uint32_t min_block)
{
    uint8_t sizes[12], info[10];

    if (want_name && !send_info(co, conn, option, NBD_INFO_NAME, exp->name,
                                strlen(exp->name))) {
        return false;
    }
    if (exp->description &&
        !send_info(co, conn, option, NBD_INFO_DESCRIPTION, exp->description,
                   strlen(exp->description))) {
        return false;
    }
    stl_be_p(sizes, min_block);
    stl_be_p(sizes + 4, MAX(4096, min_block));
    stl_be_p(sizes + 8, NBD_MAX_PAYLOAD);
    stq_be_p(info, facts->size);
    stw_be_p(info + 8, facts->flags | negotiated_flags(conn));
    return send_info(co, conn, option, NBD_INFO_BLOCK_SIZE, sizes,
                     sizeof(sizes)) &&
           send_info(co, conn, option, NBD_INFO_EXPORT, info, sizeof(info));
}

static OptResult info_or_go(Co *co, NbdConn *conn, uint32_t option,
                            NbdCursor *data)
{
    g_autofree char *name = nbd_cursor_str(data, NBD_MAX_STRING_SIZE);
    uint16_t n = nbd_cursor_u16(data);
    bool want_name = false, want_sizes = false;
    NbdExportFacts facts;
    NbdExport *exp;
    OptResult result = OPT_END;

    for (int i = 0; i < n && !data->bad; i++) {
        uint16_t type = nbd_cursor_u16(data);
        want_name |= type == NBD_INFO_NAME;
        want_sizes |= type == NBD_INFO_BLOCK_SIZE;
    }
    if (data->bad || data->left) {
        return reply_err(co, conn, option, NBD_REP_ERR_INVALID,
                         "malformed option '%s'", nbd_opt_name(option));
    }
    exp = find_export(conn, name);
    if (!exp) {
        return reply_err(co, conn, option, NBD_REP_ERR_UNKNOWN,
                         "export '%s' not present", name);
    }
    nbd_export_enter(exp, conn);
    facts = nbd_export_facts(co, exp);
    want_sizes |= facts.min_block == 1;
    if (send_all_info(co, conn, option, exp, &facts, want_name,
                      want_sizes || option == NBD_OPT_INFO ? facts.min_block
                                                           : 1)) {
        /* Who enters without having asked may do as he likes. */
        result = want_sizes || option == NBD_OPT_GO
                 ? reply_ack(co, conn, option)
                 : reply_err(co, conn, option, NBD_REP_ERR_BLOCK_SIZE_REQD,
                             "request NBD_INFO_BLOCK_SIZE to use this export");
    }
    if (result == OPT_GO_ON && option == NBD_OPT_GO) {
        conn->exp = exp;
        return OPT_TRANSMIT;
    }
    nbd_export_leave(exp, conn);
    return result;
}

static OptResult opt_info(Co *co, NbdConn *conn, NbdCursor *data)
{
    return info_or_go(co, conn, NBD_OPT_INFO, data);
}

static OptResult opt_go(Co *co, NbdConn *conn, NbdCursor *data)
{
    return info_or_go(co, conn, NBD_OPT_GO, data);
}

static OptResult opt_structured_reply(Co *co, NbdConn *conn, NbdCursor *data)
{
    if (data->left) {
        return reply_err(co, conn, NBD_OPT_STRUCTURED_REPLY,
                         NBD_REP_ERR_INVALID,
                         "option 'structured reply' should have zero length");
    }
    if (conn->extended) {
        return reply_err(co, conn, NBD_OPT_STRUCTURED_REPLY,
                         NBD_REP_ERR_EXT_HEADER_REQD,
                         "extended headers already negotiated");
    }
    if (conn->structured) {
        return reply_err(co, conn, NBD_OPT_STRUCTURED_REPLY,
                         NBD_REP_ERR_INVALID,
                         "structured reply already negotiated");
    }
    conn->structured = true;
    return reply_ack(co, conn, NBD_OPT_STRUCTURED_REPLY);
}

static OptResult opt_extended_headers(Co *co, NbdConn *conn, NbdCursor *data)
{
    if (data->left) {
        return reply_err(co, conn, NBD_OPT_EXTENDED_HEADERS,
                         NBD_REP_ERR_INVALID,
                         "option 'extended headers' should have zero length");
    }
    if (conn->extended) {
        return reply_err(co, conn, NBD_OPT_EXTENDED_HEADERS,
                         NBD_REP_ERR_INVALID,
                         "extended headers already negotiated");
    }
    conn->structured = conn->extended = true;
    return reply_ack(co, conn, NBD_OPT_EXTENDED_HEADERS);
}

static bool send_context(Co *co, NbdConn *conn, uint32_t option,
                         const NbdContext *ctx)
{
    size_t len = strlen(ctx->name);
    g_autofree uint8_t *p = g_malloc(4 + len);

    stl_be_p(p, ctx->id);
    memcpy(p + 4, ctx->name, len);
    return send_rep(co, conn, option, NBD_REP_META_CONTEXT, p, 4 + len);
}

/* As a client knows it: of the same name, it answers by the same number. Caller
 * frees. */
static char *context_key(const NbdContext *ctx)
{
    return g_strdup_printf("%" PRIu32 " %s", ctx->id, ctx->name);
}

/* Reads the queries; the contexts that any of them asks for, each once, in the
 * export's order. NULL if the data are malformed. */
static GPtrArray *select_contexts(NbdExport *exp, NbdCursor *data, bool listing)
{
    g_autoptr(GPtrArray) queries = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *chosen;
    uint32_t n = nbd_cursor_u32(data);

    for (uint32_t i = 0; i < n && !data->bad; i++) {
        char *query = nbd_cursor_str(data, NBD_MAX_STRING_SIZE);
        if (query) {
            g_ptr_array_add(queries, query);
        }
    }
    if (data->bad || data->left) {
        return NULL;
    }
    chosen = g_ptr_array_new();
    for (guint c = 0; c < exp->contexts->len; c++) {
        NbdContext *ctx = g_ptr_array_index(exp->contexts, c);
        bool wanted = listing && n == 0 && !ctx->unlisted;

        for (guint q = 0; q < queries->len && !wanted; q++) {
            wanted = nbd_context_matches(ctx, g_ptr_array_index(queries, q),
                                         listing);
        }
        if (wanted) {
            g_ptr_array_add(chosen, ctx);
        }
    }
    return chosen;
}

static OptResult meta_context(Co *co, NbdConn *conn, uint32_t option,
                              NbdCursor *data)
{
    bool listing = option == NBD_OPT_LIST_META_CONTEXT;
    g_autofree char *name = NULL;
    g_autoptr(GPtrArray) chosen = NULL;
    NbdExport *exp;
    OptResult result = OPT_END;
    bool ok = true;

    g_ptr_array_set_size(conn->meta_names, 0);
    if (!conn->structured) {
        return reply_err(co, conn, option, NBD_REP_ERR_INVALID,
                         "request option '%s' when structured reply is not "
                         "negotiated", nbd_opt_name(option));
    }
    name = nbd_cursor_str(data, NBD_MAX_STRING_SIZE);
    if (!name) {
        return reply_err(co, conn, option, NBD_REP_ERR_INVALID,
                         "malformed option '%s'", nbd_opt_name(option));
    }
    exp = find_export(conn, name);
    if (!exp) {
        return reply_err(co, conn, option, NBD_REP_ERR_UNKNOWN,
                         "export '%s' not present", name);
    }
    chosen = select_contexts(exp, data, listing);
    if (!chosen) {
        return reply_err(co, conn, option, NBD_REP_ERR_INVALID,
                         "malformed option '%s'", nbd_opt_name(option));
    }
    nbd_export_enter(exp, conn);
    for (guint i = 0; i < chosen->len && ok; i++) {
        ok = send_context(co, conn, option, g_ptr_array_index(chosen, i));
    }
    if (ok) {
        result = reply_ack(co, conn, option);
    }
    if (result == OPT_GO_ON && !listing) {
        g_free(conn->meta_export);
        conn->meta_export = g_steal_pointer(&name);
        for (guint i = 0; i < chosen->len; i++) {
            g_ptr_array_add(conn->meta_names,
                            context_key(g_ptr_array_index(chosen, i)));
        }
    }
    nbd_export_leave(exp, conn);
    return result;
}

static OptResult opt_list_meta(Co *co, NbdConn *conn, NbdCursor *data)
{
    return meta_context(co, conn, NBD_OPT_LIST_META_CONTEXT, data);
}

static OptResult opt_set_meta(Co *co, NbdConn *conn, NbdCursor *data)
{
    return meta_context(co, conn, NBD_OPT_SET_META_CONTEXT, data);
}

/* Whether the peer that the TLS handshake has shown may come in. */
static bool tls_peer_allowed(Co *co, NbdConn *conn)
{
    const char *authz = conn->server->set.tls_authz;
    g_autofree char *peer = channel_tls_peer(conn->ch);

    return !authz || (peer && authz_check(co, authz, peer, NULL) == 1);
}

static OptResult opt_starttls(Co *co, NbdConn *conn, NbdCursor *data)
{
    TlsCreds *tls = conn->server->set.tls;

    if (data->left) {
        return reply_err(co, conn, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
                         "option 'starttls' should have zero length");
    }
    if (channel_is_tls(conn->ch)) {
        return reply_err(co, conn, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
                         "TLS already enabled");
    }
    if (!tls) {
        return reply_err(co, conn, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY,
                         "TLS not configured");
    }
    if (reply_ack(co, conn, NBD_OPT_STARTTLS) != OPT_GO_ON ||
        !channel_start_tls(co, conn->ch, tls, NULL, NULL) ||
        !tls_peer_allowed(co, conn)) {
        return OPT_END;
    }
    return OPT_GO_ON;
}

typedef OptResult OptHandler(Co *co, NbdConn *conn, NbdCursor *data);

static OptHandler *const opt_handlers[] = {
    [NBD_OPT_EXPORT_NAME] = opt_export_name,
    [NBD_OPT_ABORT] = opt_abort,
    [NBD_OPT_LIST] = opt_list,
    [NBD_OPT_STARTTLS] = opt_starttls,
    [NBD_OPT_INFO] = opt_info,
    [NBD_OPT_GO] = opt_go,
    [NBD_OPT_STRUCTURED_REPLY] = opt_structured_reply,
    [NBD_OPT_LIST_META_CONTEXT] = opt_list_meta,
    [NBD_OPT_SET_META_CONTEXT] = opt_set_meta,
    [NBD_OPT_EXTENDED_HEADERS] = opt_extended_headers,
};

/* ---- the dialogue ---- */

/* With @data; NULL if there was no memory for so many. */
static OptResult option_run(Co *co, NbdConn *conn, NbdOptHeader opt,
                            const uint8_t *data)
{
    NbdCursor cursor;

    if (!conn->fixed && opt.option != NBD_OPT_EXPORT_NAME) {
        return OPT_END;
    }
    if (conn->server->set.tls && !channel_is_tls(conn->ch) &&
        opt.option != NBD_OPT_STARTTLS && opt.option != NBD_OPT_ABORT) {
        return opt.option == NBD_OPT_EXPORT_NAME
               ? OPT_END
               : reply_err(co, conn, opt.option, NBD_REP_ERR_TLS_REQD,
                           "Option 0x%" PRIx32 " not permitted before TLS",
                           opt.option);
    }
    if (opt.option >= ARRAY_SIZE(opt_handlers) || !opt_handlers[opt.option]) {
        return reply_err(co, conn, opt.option, NBD_REP_ERR_UNSUP,
                         "Unsupported option %" PRIu32 " (%s)", opt.option,
                         nbd_opt_name(opt.option));
    }
    if (!data) {
        return reply_err(co, conn, opt.option, NBD_REP_ERR_TOO_BIG,
                         "no memory for option '%s'",
                         nbd_opt_name(opt.option));
    }
    cursor = (NbdCursor) { data, opt.len, false };
    return opt_handlers[opt.option](co, conn, &cursor);
}

static bool skip_data(Co *co, NbdConn *conn, uint32_t len)
{
    uint8_t buf[4096];

    while (len) {
        size_t n = MIN(len, sizeof(buf));

        if (channel_read_all(co, conn->ch, buf, n) != 1) {
            return false;
        }
        len -= n;
    }
    return true;
}

static OptResult handle_option(Co *co, NbdConn *conn)
{
    uint8_t head[NBD_OPT_HEADER_SIZE];
    g_autofree uint8_t *data = NULL;
    NbdOptHeader opt;
    OptResult result = OPT_END;
    uint32_t taken;

    if (channel_read_all(co, conn->ch, head, sizeof(head)) != 1 ||
        !nbd_opt_unpack(head, &opt) || opt.len > OPT_DATA_MAX) {
        return OPT_END;
    }
    taken = opt.len > OPT_DATA_OWN ? opt.len - OPT_DATA_OWN : 0;
    if (!budget_take(conn->server->memory, taken)) {
        return skip_data(co, conn, opt.len)
               ? option_run(co, conn, opt, NULL) : OPT_END;
    }
    data = g_malloc(MAX(opt.len, 1));
    if (!opt.len || channel_read_all(co, conn->ch, data, opt.len) == 1) {
        result = option_run(co, conn, opt, data);
    }
    budget_give(conn->server->memory, taken);
    return result;
}

static bool greet(Co *co, NbdConn *conn)
{
    uint8_t hello[18], answer[4];
    uint32_t flags;

    stq_be_p(hello, NBD_INIT_MAGIC);
    stq_be_p(hello + 8, NBD_OPTS_MAGIC);
    stw_be_p(hello + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    if (channel_write_all(co, conn->ch, hello, sizeof(hello)) < 0 ||
        channel_read_all(co, conn->ch, answer, sizeof(answer)) != 1) {
        return false;
    }
    flags = ldl_be_p(answer);
    conn->fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
    conn->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    return !(flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
}

/*
 * Selected contexts count only for the export that they were selected of. They
 * are kept as words until now, since an export may go and come again before
 * transmission. False if it has come without one of them, or with other numbers:
 * the client would take one for another.
 */
static bool resolve_contexts(NbdConn *conn)
{
    GPtrArray *all = conn->exp->contexts;

    if (g_strcmp0(conn->meta_export, conn->exp->name) != 0) {
        return true;
    }
    for (guint i = 0; i < all->len; i++) {
        NbdContext *ctx = g_ptr_array_index(all, i);
        g_autofree char *key = context_key(ctx);

        if (g_ptr_array_find_with_equal_func(conn->meta_names, key,
                                             g_str_equal, NULL)) {
            g_ptr_array_add(conn->contexts, ctx);
        }
    }
    return conn->contexts->len == conn->meta_names->len;
}

NbdHandshake nbd_handshake(Co *co, NbdConn *conn)
{
    OptResult result;

    if (!greet(co, conn)) {
        return NBD_HANDSHAKE_END;
    }
    do {
        result = handle_option(co, conn);
    } while (result == OPT_GO_ON);
    if (result == OPT_END) {
        return NBD_HANDSHAKE_END;
    }
    if (!resolve_contexts(conn)) {
        nbd_export_leave(g_steal_pointer(&conn->exp), conn);
        return NBD_HANDSHAKE_END;
    }
    return NBD_HANDSHAKE_GO;
}
