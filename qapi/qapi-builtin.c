/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The types that the schema language has by itself.
 *
 * On the wire there is one kind of integer; how wide it is in C shows only in
 * the range that is accepted.
 */
#include "util/osdep.h"
#include "qapi/qapi.h"

#define BUILTIN(NAME, KIND, C_TYPE)                     \
    const QapiType qapi_type_##NAME = {                 \
        .name = #NAME, .kind = QAPI_KIND_##KIND,        \
        .size = sizeof(C_TYPE),                         \
    }

BUILTIN(str, STR, char *);
BUILTIN(number, NUMBER, double);
BUILTIN(int, INT, int64_t);
BUILTIN(int8, INT, int8_t);
BUILTIN(int16, INT, int16_t);
BUILTIN(int32, INT, int32_t);
BUILTIN(int64, INT, int64_t);
BUILTIN(uint8, UINT, uint8_t);
BUILTIN(uint16, UINT, uint16_t);
BUILTIN(uint32, UINT, uint32_t);
BUILTIN(uint64, UINT, uint64_t);
BUILTIN(size, SIZE, uint64_t);
BUILTIN(bool, BOOL, bool);
BUILTIN(null, NULL, QapiNull);
BUILTIN(any, ANY, json_t *);

static const QapiMember q_empty_members[] = {
    { NULL }
};

const QapiType qapi_type_q_empty = {
    .name = "q_empty", .kind = QAPI_KIND_OBJECT, .size = 1,
    .members = q_empty_members,
};
