/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the generated types are made of.
 *
 * For every type of the schema the generator writes a C type and one constant
 * QapiType, a table that says where in the C type each member lies.  Four
 * functions walk these tables: value -> object, object -> value, copy, free.
 * The typed functions (BlockdevOptions_from_json, qapi_free_BlockdevOptions)
 * are one-line wrappers.
 *
 * How schema types look in C:
 *
 *   str, any        char *, json_t *; NULL where an optional one is absent
 *   int, size, ...  int64_t, uint64_t, ...; an optional one has a has_ flag
 *   enum Foo        enum Foo, values FOO_BAR, count FOO__MAX
 *   struct Foo      struct Foo, as a member Foo *; the base's members first
 *   ['Foo']         FooList *, linked by next; NULL is the empty list, so an
 *                   optional list has a has_ flag, too
 *   union Foo       struct Foo: base members, then union { ... } u with the
 *                   branches by value; branches without members are left out
 *   alternate Foo   struct Foo: QType type, then union { ... } u, objects by
 *                   value
 *
 * An object owns all that it points to.
 */
#ifndef QAPI_QAPI_H
#define QAPI_QAPI_H

#include "util/co.h"
#include "util/error.h"
#include "util/json.h"

/* How scalars are written in the value that is read. */
typedef enum QapiMode {
    QAPI_STRICT,    /* JSON: 64 is a number, true is a boolean */
    QAPI_KEYVAL,    /* command line: scalars may be strings: "64k", "on" */
} QapiMode;

/* Which branch an alternate has: the kind of the JSON value (QEMU's names). */
typedef enum QType {
    QTYPE_NONE,             /* not read yet; never seen */
    QTYPE_QNULL,
    QTYPE_QNUM,
    QTYPE_QSTRING,
    QTYPE_QDICT,
    QTYPE_QLIST,
    QTYPE_QBOOL,
} QType;

/* The branch of an alternate that says null; it carries nothing. */
typedef char QapiNull;

typedef enum QapiKind {
    QAPI_KIND_STR,
    QAPI_KIND_INT,
    QAPI_KIND_UINT,
    QAPI_KIND_SIZE,         /* uint64_t; in QAPI_KEYVAL with a suffix */
    QAPI_KIND_NUMBER,
    QAPI_KIND_BOOL,
    QAPI_KIND_NULL,
    QAPI_KIND_ANY,
    QAPI_KIND_ENUM,
    QAPI_KIND_OBJECT,
    QAPI_KIND_ALTERNATE,
    QAPI_KIND_LIST,
} QapiKind;

typedef struct QapiType QapiType;

/* A member of an object. */
typedef struct QapiMember {
    const char *name;                   /* NULL ends a table */
    const QapiType *type;
    size_t offset;
    bool optional;
    ptrdiff_t has;                      /* of the has_ flag; -1: none */
    const char *const *features;        /* NULL, or ended by NULL */
} QapiMember;

/* A branch: of a union for a tag's value, of an alternate for a QType. */
typedef struct QapiVariant {
    int value;
    const QapiType *type;               /* NULL ends a table */
} QapiVariant;

/* Features of one value of an enum. */
typedef struct QapiValueFeatures {
    int value;
    const char *const *features;        /* NULL ends a table */
} QapiValueFeatures;

struct QapiType {
    const char *name;
    QapiKind kind;
    size_t size;                        /* of the C type by value */
    const char *const *features;        /* NULL, or ended by NULL */
    const char *const *values;          /* enum: n_values names */
    int n_values;
    const QapiValueFeatures *value_features;
    const QapiMember *members;          /* object */
    const char *tag;                    /* union: the discriminator's name */
    const QapiType *tag_type;
    size_t tag_offset;                  /* union; alternate: of its QType */
    size_t u_offset;
    const QapiVariant *variants;
    const QapiType *elem;               /* list */
    size_t value_offset;                /* list: of the value in a link */
};

/* Types of the schema language itself. */
extern const QapiType qapi_type_str, qapi_type_number, qapi_type_int,
    qapi_type_int8, qapi_type_int16, qapi_type_int32, qapi_type_int64,
    qapi_type_uint8, qapi_type_uint16, qapi_type_uint32, qapi_type_uint64,
    qapi_type_size, qapi_type_bool, qapi_type_null, qapi_type_any;

/* The object without members: the arguments of commands that have none. */
extern const QapiType qapi_type_q_empty;

/*
 * A new object of the type made from a value; free it with qapi_free.  The
 * type must be an object, an alternate or a list (a value that is null makes
 * an error, an empty array the NULL list, so look at *ok rather than at the
 * result).  Members that the type does not know are errors.  On failure NULL,
 * with errp set in QEMU's words; the path of a member is part of them.
 */
void *qapi_from_json(const QapiType *type, json_t *value, QapiMode mode,
                     bool *ok, Error **errp);

/* The value of an object; a new reference.  A NULL object is not allowed
 * but for lists. */
json_t *qapi_to_json(const QapiType *type, const void *object);

/* The value of a scalar, string or pointer in the place where it is kept. */
json_t *qapi_slot_to_json(const QapiType *type, const void *slot);

/* A deep copy; NULL gives NULL.  Values of type any are shared. */
void *qapi_clone(const QapiType *type, const void *object);

/* Free an object and all that it owns; NULL is nothing. */
void qapi_free(const QapiType *type, void *object);

/* Free what the place holds: nothing for scalars. */
void qapi_slot_free(const QapiType *type, void *slot);

/* The name of an enum's value. */
const char *qapi_enum_str(const QapiType *type, int value);

/*
 * The value of that name.  name == NULL gives def; an unknown name gives -1
 * and the error "invalid parameter value: NAME".
 */
int qapi_enum_parse(const QapiType *type, const char *name, int def,
                    Error **errp);

/* Typed wrappers, named Foo_from_json, Foo_to_json, Foo_clone, qapi_free_Foo;
 * g_autoptr(Foo) works. */
#define QAPI_OBJECT_FUNCTIONS(T)                                            \
    extern const QapiType qapi_type_##T;                                    \
    static inline T *T##_from_json(json_t *value, QapiMode mode,            \
                                   Error **errp)                            \
    {                                                                       \
        return qapi_from_json(&qapi_type_##T, value, mode, NULL, errp);     \
    }                                                                       \
    static inline json_t *T##_to_json(const T *object)                      \
    {                                                                       \
        return qapi_to_json(&qapi_type_##T, object);                        \
    }                                                                       \
    static inline T *T##_clone(const T *object)                             \
    {                                                                       \
        return qapi_clone(&qapi_type_##T, object);                          \
    }                                                                       \
    static inline void qapi_free_##T(T *object)                             \
    {                                                                       \
        qapi_free(&qapi_type_##T, object);                                  \
    }                                                                       \
    G_DEFINE_AUTOPTR_CLEANUP_FUNC(T, qapi_free_##T)

/* The same for FooList; from_json also tells whether it worked. */
#define QAPI_LIST_FUNCTIONS(T)                                              \
    extern const QapiType qapi_type_##T;                                    \
    static inline bool T##_from_json(json_t *value, QapiMode mode,          \
                                     T **ret, Error **errp)                 \
    {                                                                       \
        bool ok;                                                            \
        T *list = qapi_from_json(&qapi_type_##T, value, mode, &ok, errp);   \
        if (ok) {                                                           \
            *ret = list;                                                    \
        }                                                                   \
        return ok;                                                          \
    }                                                                       \
    static inline json_t *T##_to_json(const T *list)                        \
    {                                                                       \
        return qapi_to_json(&qapi_type_##T, list);                          \
    }                                                                       \
    static inline T *T##_clone(const T *list)                               \
    {                                                                       \
        return qapi_clone(&qapi_type_##T, list);                            \
    }                                                                       \
    static inline void qapi_free_##T(T *list)                               \
    {                                                                       \
        qapi_free(&qapi_type_##T, list);                                    \
    }                                                                       \
    G_DEFINE_AUTOPTR_CLEANUP_FUNC(T, qapi_free_##T)

/* For enums: Foo_str, Foo_parse. */
#define QAPI_ENUM_FUNCTIONS(T)                                              \
    extern const QapiType qapi_type_##T;                                    \
    static inline const char *T##_str(T value)                              \
    {                                                                       \
        return qapi_enum_str(&qapi_type_##T, value);                        \
    }                                                                       \
    static inline int T##_parse(const char *name, int def, Error **errp)    \
    {                                                                       \
        return qapi_enum_parse(&qapi_type_##T, name, def, errp);            \
    }

/* Put a value, which the list then owns, in front of a list. */
#define QAPI_LIST_PREPEND(list, element) do {                               \
    __typeof__(list) link_ = g_malloc0(sizeof(*link_));                     \
    link_->value = (element);                                               \
    link_->next = (list);                                                   \
    (list) = link_;                                                         \
} while (0)

/*
 * Put a value at the end of a list.  tail points to the list's last NULL:
 *
 *     FooList *list = NULL, **tail = &list;
 *     QAPI_LIST_APPEND(tail, foo);
 */
#define QAPI_LIST_APPEND(tail, element) do {                                \
    *(tail) = g_malloc0(sizeof(**(tail)));                                  \
    (*(tail))->value = (element);                                           \
    (tail) = &(*(tail))->next;                                              \
} while (0)

/* A command's handler without its types. */
typedef bool QmpMarshalFn(Co *co, json_t *args, json_t **ret, Error **errp);

enum {
    QMP_COMMAND_NO_SUCCESS_RESPONSE = 1 << 0,
    QMP_COMMAND_ALLOW_OOB           = 1 << 1,
    QMP_COMMAND_ALLOW_PRECONFIG     = 1 << 2,
};

/*
 * A command.  marshal takes the arguments (an object, or NULL for none),
 * checks them, calls qmp_NAME, and gives the returned value (a new reference;
 * {} where the command returns nothing).  It suspends.
 */
typedef struct QmpCommand {
    const char *name;                   /* NULL ends the table */
    QmpMarshalFn *marshal;
    unsigned flags;
} QmpCommand;

/* A command or an event as introspection tells of it. */
typedef struct QapiInterface {
    const char *name;                   /* NULL ends the table */
    const QapiType *arg;                /* NULL: no arguments */
    const QapiType *ret;                /* NULL: returns nothing; events too */
    bool allow_oob;
    const char *const *features;        /* NULL, or ended by NULL */
} QapiInterface;

/*
 * What query-qmp-schema returns: a description of the tables' commands and
 * events and of all types that they reach, under numbers instead of names.
 * A new reference.
 */
json_t *qapi_introspect(const QapiInterface *commands,
                        const QapiInterface *events);

#endif
