/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The frames of the NBD transmission phase and of option haggling as pure
 * functions over bytes (doc/proto.md, "Transmission" and "Option haggling").
 * Nothing here does I/O or allocates.
 */
#ifndef NBD_WIRE_H
#define NBD_WIRE_H

#include "nbd/proto.h"
#include "util/bytes.h"

#define NBD_REQUEST_SIZE 28         /* compact */
#define NBD_EXT_REQUEST_SIZE 32
#define NBD_SIMPLE_REPLY_SIZE 16
#define NBD_CHUNK_SIZE 20           /* structured reply header */
#define NBD_EXT_CHUNK_SIZE 32
#define NBD_OPT_HEADER_SIZE 16
#define NBD_REP_HEADER_SIZE 20

typedef struct NbdRequestHeader {
    uint16_t flags;
    uint16_t type;
    uint64_t cookie;
    uint64_t from;                  /* bytes */
    uint64_t len;
} NbdRequestHeader;

/* False if the magic is wrong. @p holds the size that goes with @extended. */
bool nbd_request_unpack(const uint8_t *p, bool extended,
                        NbdRequestHeader *req);
void nbd_request_pack(uint8_t *p, bool extended, const NbdRequestHeader *req);

void nbd_simple_reply_pack(uint8_t *p, uint32_t error, uint64_t cookie);
/* Returns the bytes written. */
size_t nbd_chunk_pack(uint8_t *p, bool extended, uint16_t flags,
                      uint16_t type, const NbdRequestHeader *req,
                      uint64_t payload_len);

typedef struct NbdOptHeader {
    uint32_t option;
    uint32_t len;
} NbdOptHeader;
bool nbd_opt_unpack(const uint8_t *p, NbdOptHeader *opt);
void nbd_rep_pack(uint8_t *p, uint32_t option, uint32_t type, uint32_t len);

/*
 * Reads fields from an option's data. A read past the end sets @bad and gives
 * zeroes, so that a parser checks once, at its end.
 */
typedef struct NbdCursor {
    const uint8_t *p;
    size_t left;
    bool bad;
} NbdCursor;
uint16_t nbd_cursor_u16(NbdCursor *c);
uint32_t nbd_cursor_u32(NbdCursor *c);
/* A length-prefixed string as a fresh copy; NULL (and bad) if it is longer
 * than @max or than the data, or holds a NUL byte. */
char *nbd_cursor_str(NbdCursor *c, size_t max);

#endif
