/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The numbers of the NBD protocol (doc/proto.md of the NBD project). */
#ifndef NBD_PROTO_H
#define NBD_PROTO_H

#include "util/osdep.h"

#define NBD_INIT_MAGIC             UINT64_C(0x4e42444d41474943)  /* NBDMAGIC */
#define NBD_OPTS_MAGIC             UINT64_C(0x49484156454f5054)  /* IHAVEOPT */
#define NBD_OLDSTYLE_MAGIC         UINT64_C(0x00420281861253)
#define NBD_REP_MAGIC              UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC          0x25609513u
#define NBD_EXTENDED_REQUEST_MAGIC 0x21e41c71u
#define NBD_SIMPLE_REPLY_MAGIC     0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu
#define NBD_EXTENDED_REPLY_MAGIC   0x6e8a278cu

/* Handshake flags, server and client. */
enum {
    NBD_FLAG_FIXED_NEWSTYLE = 1 << 0,
    NBD_FLAG_NO_ZEROES      = 1 << 1,
};

/* Transmission flags. */
enum {
    NBD_FLAG_HAS_FLAGS          = 1 << 0,
    NBD_FLAG_READ_ONLY          = 1 << 1,
    NBD_FLAG_SEND_FLUSH         = 1 << 2,
    NBD_FLAG_SEND_FUA           = 1 << 3,
    NBD_FLAG_ROTATIONAL         = 1 << 4,
    NBD_FLAG_SEND_TRIM          = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES  = 1 << 6,
    NBD_FLAG_SEND_DF            = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN     = 1 << 8,
    NBD_FLAG_SEND_RESIZE        = 1 << 9,
    NBD_FLAG_SEND_CACHE         = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO     = 1 << 11,
    NBD_FLAG_BLOCK_STAT_PAYLOAD = 1 << 12,
};

enum {
    NBD_OPT_EXPORT_NAME       = 1,
    NBD_OPT_ABORT             = 2,
    NBD_OPT_LIST              = 3,
    NBD_OPT_PEEK_EXPORT       = 4,
    NBD_OPT_STARTTLS          = 5,
    NBD_OPT_INFO              = 6,
    NBD_OPT_GO                = 7,
    NBD_OPT_STRUCTURED_REPLY  = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT  = 10,
    NBD_OPT_EXTENDED_HEADERS  = 11,
};

#define NBD_REP_ERR(n) ((UINT32_C(1) << 31) | (n))
#define NBD_REP_ACK                 UINT32_C(1)
#define NBD_REP_SERVER              UINT32_C(2)
#define NBD_REP_INFO                UINT32_C(3)
#define NBD_REP_META_CONTEXT        UINT32_C(4)
#define NBD_REP_ERR_UNSUP           NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY          NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID         NBD_REP_ERR(3)
#define NBD_REP_ERR_PLATFORM        NBD_REP_ERR(4)
#define NBD_REP_ERR_TLS_REQD        NBD_REP_ERR(5)
#define NBD_REP_ERR_UNKNOWN         NBD_REP_ERR(6)
#define NBD_REP_ERR_SHUTDOWN        NBD_REP_ERR(7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD NBD_REP_ERR(8)
#define NBD_REP_ERR_TOO_BIG         NBD_REP_ERR(9)
#define NBD_REP_ERR_EXT_HEADER_REQD NBD_REP_ERR(10)

enum {
    NBD_INFO_EXPORT      = 0,
    NBD_INFO_NAME        = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE  = 3,
};

enum {
    NBD_CMD_READ         = 0,
    NBD_CMD_WRITE        = 1,
    NBD_CMD_DISC         = 2,
    NBD_CMD_FLUSH        = 3,
    NBD_CMD_TRIM         = 4,
    NBD_CMD_CACHE        = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
    NBD_CMD_COUNT
};

enum {
    NBD_CMD_FLAG_FUA         = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE     = 1 << 1,
    NBD_CMD_FLAG_DF          = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE     = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO   = 1 << 4,
    NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5,
};

#define NBD_REPLY_FLAG_DONE 1u

#define NBD_REPLY_ERR(n) ((1u << 15) | (n))
#define NBD_REPLY_TYPE_NONE             0u
#define NBD_REPLY_TYPE_OFFSET_DATA      1u
#define NBD_REPLY_TYPE_OFFSET_HOLE      2u
#define NBD_REPLY_TYPE_BLOCK_STATUS     5u
#define NBD_REPLY_TYPE_BLOCK_STATUS_EXT 6u
#define NBD_REPLY_TYPE_ERROR            NBD_REPLY_ERR(1)
#define NBD_REPLY_TYPE_ERROR_OFFSET     NBD_REPLY_ERR(2)

/* Errors of replies. */
enum {
    NBD_OK        = 0,
    NBD_EPERM     = 1,
    NBD_EIO       = 5,
    NBD_ENOMEM    = 12,
    NBD_EINVAL    = 22,
    NBD_ENOSPC    = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP   = 95,
    NBD_ESHUTDOWN = 108,
};

/* Status flags of the contexts. */
enum {
    NBD_STATE_HOLE  = 1 << 0,       /* base:allocation */
    NBD_STATE_ZERO  = 1 << 1,
    NBD_STATE_DIRTY = 1 << 0,       /* qemu:dirty-bitmap:NAME */
    NBD_STATE_JOINT_DIRTY = 1 << 0, /* qemu:joint */
    NBD_STATE_JOINT_ZERO  = 1 << 1,
    NBD_STATE_JOINT_HOLE  = 1 << 2,
    NBD_STATE_JOINT_DEPTH = 8,      /* a shift */
};

#define NBD_MAX_STRING_SIZE 4096    /* of a name or a description */
/* The longest payload that the server takes; it is advertised as the maximum block
 * size. QEMU's is half of it, and what a client may send who was not told. */
#define NBD_MAX_PAYLOAD (64 * MiB)

#endif
