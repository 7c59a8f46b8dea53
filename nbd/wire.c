/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Packing and unpacking; see wire.h. */

#include "nbd/wire.h"

bool nbd_request_unpack(const uint8_t *p, bool extended, NbdRequestHeader *req)
{
    uint32_t magic = extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;

    if (ldl_be_p(p) != magic) {
        return false;
    }
    req->flags = lduw_be_p(p + 4);
    req->type = lduw_be_p(p + 6);
    req->cookie = ldq_be_p(p + 8);
    req->from = ldq_be_p(p + 16);
    req->len = extended ? ldq_be_p(p + 24) : ldl_be_p(p + 24);
    return true;
}

void nbd_request_pack(uint8_t *p, bool extended, const NbdRequestHeader *req)
{
    stl_be_p(p, extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC);
    stw_be_p(p + 4, req->flags);
    stw_be_p(p + 6, req->type);
    stq_be_p(p + 8, req->cookie);
    stq_be_p(p + 16, req->from);
    if (extended) {
        stq_be_p(p + 24, req->len);
    } else {
        stl_be_p(p + 24, req->len);
    }
}

void nbd_simple_reply_pack(uint8_t *p, uint32_t error, uint64_t cookie)
{
    stl_be_p(p, NBD_SIMPLE_REPLY_MAGIC);
    stl_be_p(p + 4, error);
    stq_be_p(p + 8, cookie);
}

size_t nbd_chunk_pack(uint8_t *p, bool extended, uint16_t flags, uint16_t type,
                      const NbdRequestHeader *req, uint64_t payload_len)
{
    stl_be_p(p, extended ? NBD_EXTENDED_REPLY_MAGIC
                         : NBD_STRUCTURED_REPLY_MAGIC);
    stw_be_p(p + 4, flags);
    stw_be_p(p + 6, type);
    stq_be_p(p + 8, req->cookie);
    if (!extended) {
        stl_be_p(p + 16, payload_len);
        return NBD_CHUNK_SIZE;
    }
    stq_be_p(p + 16, req->from);
    stq_be_p(p + 24, payload_len);
    return NBD_EXT_CHUNK_SIZE;
}

bool nbd_opt_unpack(const uint8_t *p, NbdOptHeader *opt)
{
    if (ldq_be_p(p) != NBD_OPTS_MAGIC) {
        return false;
    }
    opt->option = ldl_be_p(p + 8);
    opt->len = ldl_be_p(p + 12);
    return true;
}

void nbd_rep_pack(uint8_t *p, uint32_t option, uint32_t type, uint32_t len)
{
    stq_be_p(p, NBD_REP_MAGIC);
    stl_be_p(p + 8, option);
    stl_be_p(p + 12, type);
    stl_be_p(p + 16, len);
}

static const uint8_t *cursor_take(NbdCursor *c, size_t n)
{
    const uint8_t *p = c->p;

    if (c->bad || c->left < n) {
        c->bad = true;
        return NULL;
    }
    c->p += n;
    c->left -= n;
    return p;
}

uint16_t nbd_cursor_u16(NbdCursor *c)
{
    const uint8_t *p = cursor_take(c, 2);

    return p ? lduw_be_p(p) : 0;
}

uint32_t nbd_cursor_u32(NbdCursor *c)
{
    const uint8_t *p = cursor_take(c, 4);

    return p ? ldl_be_p(p) : 0;
}

char *nbd_cursor_str(NbdCursor *c, size_t max)
{
    uint32_t len = nbd_cursor_u32(c);
    const uint8_t *p;

    if (len > max) {
        c->bad = true;
        return NULL;
    }
    p = cursor_take(c, len);
    if (!p || memchr(p, 0, len)) {
        c->bad = true;
        return NULL;
    }
    return g_strndup((const char *)p, len);
}
