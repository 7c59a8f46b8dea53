/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the walkers over type tables share.
 */
#ifndef QAPI_QAPI_INTERNAL_H
#define QAPI_QAPI_INTERNAL_H

#include "qapi/qapi.h"

/* The place inside an object. */
static inline void *qapi_at(const void *object, size_t offset)
{
    return (char *)object + offset;
}

/* An enum of C, whatever its name. */
static inline int qapi_get_enum(const void *slot)
{
    return *(const int *)slot;
}

/* The branch that a union's or an alternate's tag selects; NULL: it has no
 * members of its own. */
static inline const QapiVariant *qapi_variant(const QapiType *type,
                                              const void *object)
{
    int tag = qapi_get_enum(qapi_at(object, type->tag_offset));

    for (const QapiVariant *v = type->variants; v->type; v++) {
        if (v->value == tag) {
            return v;
        }
    }
    return NULL;
}

/* Is an optional member there? */
static inline bool qapi_member_present(const QapiMember *member,
                                       const void *object)
{
    if (!member->optional) {
        return true;
    }
    if (member->has >= 0) {
        return *(const bool *)qapi_at(object, member->has);
    }
    return *(void *const *)qapi_at(object, member->offset) != NULL;
}

/* Do objects of the type have any member, so that a union embeds them? */
static inline bool qapi_is_empty(const QapiType *type)
{
    return !type->members->name && !type->tag;
}

#endif
