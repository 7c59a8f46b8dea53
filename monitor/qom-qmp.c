/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * object-add, object-del, and the qom-* commands: a tree of three levels.
 *
 *     /                 container
 *     /objects          container      /objects/ID     what object-add made
 *     /chardevs         container      /chardevs/ID    what --chardev made
 *
 * A path without a slash in front may leave out the beginning, if what is left
 * is unique.
 */
#include "monitor/chardev.h"
#include "monitor/object.h"

#include "qapi/qapi-commands.h"

bool qmp_object_add(Co *co, ObjectOptions *arg, Error **errp)
{
    return object_add(co, arg, errp);
}

bool qmp_object_del(Co *co, const char *id, Error **errp)
{
    return object_del(co, id, errp);
}

/* ---- types ---- */

typedef struct QomType {
    const char *name, *parent;
    bool abstract;
    bool user_creatable;        /* implements that interface */
} QomType;

static const QomType types[] = {
    { "authz", "object", .abstract = true, .user_creatable = true },
    { "authz-list", "authz", .user_creatable = true },
    { "authz-listfile", "authz", .user_creatable = true },
    { "authz-simple", "authz", .user_creatable = true },
    { "chardev", "object", .abstract = true },
    { "chardev-fd", "chardev", .abstract = true },
    { "chardev-socket", "chardev" },
    { "chardev-stdio", "chardev-fd" },
    { "container", "object" },
    { "event-loop-base", "object", .abstract = true, .user_creatable = true },
    { "iothread", "event-loop-base", .user_creatable = true },
    { "main-loop", "event-loop-base", .user_creatable = true },
    { "object", NULL, .abstract = true },
    { "secret", "secret_common", .user_creatable = true },
    { "secret_common", "object", .abstract = true, .user_creatable = true },
    { "throttle-group", "object", .user_creatable = true },
    { "tls-creds", "object", .abstract = true, .user_creatable = true },
    { "tls-creds-anon", "tls-creds", .user_creatable = true },
    { "tls-creds-psk", "tls-creds", .user_creatable = true },
    { "tls-creds-x509", "tls-creds", .user_creatable = true },
    { "user-creatable", "interface", .abstract = true,
      .user_creatable = true },
};

static const QomType *type_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (g_str_equal(types[i].name, name)) {
            return &types[i];
        }
    }
    return NULL;
}

static bool type_implements(const QomType *type, const char *name)
{
    if (type->user_creatable && g_str_equal(name, "user-creatable")) {
        return true;
    }
    for (; type; type = type->parent ? type_find(type->parent) : NULL) {
        if (g_str_equal(type->name, name) ||
            g_strcmp0(type->parent, name) == 0) {
            return true;
        }
    }
    return false;
}

bool qmp_qom_list_types(Co *co, const char *implements, bool has_abstract,
                        bool abstract, ObjectTypeInfoList **ret, Error **errp)
{
    ObjectTypeInfoList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const QomType *t = &types[i];
        ObjectTypeInfo *info;

        if ((implements && !type_implements(t, implements)) ||
            (t->abstract && !(has_abstract && abstract))) {
            continue;
        }
        info = g_new0(ObjectTypeInfo, 1);
        info->name = g_strdup(t->name);
        info->has_abstract = info->abstract = t->abstract;
        info->parent = g_strdup(t->parent);
        QAPI_LIST_APPEND(tail, info);
    }
    *ret = list;
    return true;
}

/* ---- the tree ---- */

typedef enum QomKind {
    QOM_ROOT, QOM_OBJECTS, QOM_CHARDEVS, QOM_OBJECT, QOM_CHARDEV
} QomKind;

typedef struct QomNode {
    QomKind kind;
    Object *obj;
    Chardev *chr;
} QomNode;

static GArray *qom_all(void)
{
    GArray *all = g_array_new(false, false, sizeof(QomNode));
    const QomNode fixed[] = { { QOM_ROOT }, { QOM_OBJECTS },
                              { QOM_CHARDEVS } };

    g_array_append_vals(all, fixed, ARRAY_SIZE(fixed));
    for (Object *obj = object_next(NULL); obj; obj = object_next(obj)) {
        QomNode n = { QOM_OBJECT, .obj = obj };

        g_array_append_val(all, n);
    }
    for (Chardev *chr = chardev_next(NULL); chr; chr = chardev_next(chr)) {
        QomNode n = { QOM_CHARDEV, .chr = chr };

        g_array_append_val(all, n);
    }
    return all;
}

static char *qom_path(const QomNode *n)
{
    switch (n->kind) {
    case QOM_OBJECTS:
        return g_strdup("/objects");
    case QOM_CHARDEVS:
        return g_strdup("/chardevs");
    case QOM_OBJECT:
        return g_strconcat("/objects/", object_id(n->obj), NULL);
    case QOM_CHARDEV:
        return g_strconcat("/chardevs/", chardev_id(n->chr), NULL);
    default:
        return g_strdup("/");
    }
}

static char *qom_type_name(const QomNode *n)
{
    switch (n->kind) {
    case QOM_OBJECT:
        return g_strdup(ObjectType_str(object_type(n->obj)));
    case QOM_CHARDEV:
        return g_strconcat("chardev-", chardev_backend(n->chr), NULL);
    default:
        return g_strdup("container");
    }
}

/* "//objects/io0/" to "/objects/io0", "io0" to "/io0". */
static char *qom_normal_path(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    GString *s = g_string_new(NULL);

    for (int i = 0; parts[i]; i++) {
        if (*parts[i]) {
            g_string_append_printf(s, "/%s", parts[i]);
        }
    }
    if (!s->len && *path == '/') {
        g_string_append_c(s, '/');
    }
    return g_string_free(s, false);
}

static bool qom_matches(const QomNode *n, const char *path, bool absolute)
{
    g_autofree char *own = qom_path(n);

    return absolute ? g_str_equal(own, path) : g_str_has_suffix(own, path);
}

static bool qom_resolve(const char *path, QomNode *node, Error **errp)
{
    g_autofree char *normal = qom_normal_path(path);
    g_autoptr(GArray) all = qom_all();
    unsigned found = 0;

    for (guint i = 0; i < all->len; i++) {
        const QomNode *n = &g_array_index(all, QomNode, i);

        if (qom_matches(n, normal, *path == '/')) {
            *node = *n;
            found++;
        }
    }
    if (found > 1) {
        error_setg(errp, "Path '%s' is ambiguous", path);
    } else if (!found) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", path);
    }
    return found == 1;
}

/* ---- properties ---- */

typedef ObjectPropertyInfoList ***PropertyTail;

static void append_property(PropertyTail tail, const char *name,
                            const char *type)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = g_strdup(type);
    QAPI_LIST_APPEND(*tail, info);
}

static void append_properties(PropertyTail tail, const ObjectProperty *p)
{
    for (; p->name; p++) {
        append_property(tail, p->name, p->type);
    }
}

/* The child beneath a container that @n is, or NULL. */
static char *child_name(const QomNode *parent, const QomNode *n)
{
    g_autofree char *prefix = qom_path(parent);
    g_autofree char *path = qom_path(n);
    const char *slash = strrchr(path, '/');

    if (n->kind == QOM_ROOT ||
        (parent->kind == QOM_ROOT ? slash != path
                                  : strlen(prefix) != (size_t)(slash - path) ||
                                    !g_str_has_prefix(path, prefix))) {
        return NULL;
    }
    return g_strdup(slash + 1);
}

static void append_children(PropertyTail tail, const QomNode *parent)
{
    g_autoptr(GArray) all = qom_all();

    for (guint i = 0; i < all->len; i++) {
        const QomNode *n = &g_array_index(all, QomNode, i);
        g_autofree char *name = child_name(parent, n);
        g_autofree char *type_name = qom_type_name(n);
        g_autofree char *type = g_strdup_printf("child<%s>", type_name);

        if (name) {
            append_property(tail, name, type);
        }
    }
}

bool qmp_qom_list(Co *co, const char *path, ObjectPropertyInfoList **ret,
                  Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    QomNode node;

    if (!qom_resolve(path, &node, errp)) {
        return false;
    }
    append_property(&tail, "type", "string");
    if (node.kind == QOM_OBJECT) {
        append_properties(&tail, object_properties(object_type(node.obj)));
    }
    if (node.kind == QOM_CHARDEV) {
        append_property(&tail, "connected", "bool");
    }
    append_children(&tail, &node);
    *ret = list;
    return true;
}

bool qmp_qom_list_properties(Co *co, const char *typename,
                             ObjectPropertyInfoList **ret, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    const QomType *t = type_find(typename);
    int type;

    if (!t) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Class '%s' not found", typename);
        return false;
    }
    if (g_strcmp0(t->parent, "interface") == 0) {
        error_setg(errp, "Parameter 'typename' expects a QOM type");
        return false;
    }
    append_property(&tail, "type", "string");
    type = ObjectType_parse(typename, -1, NULL);
    if (g_str_equal(typename, "event-loop-base")) {
        type = OBJECT_TYPE_MAIN_LOOP;
    } else if (g_str_equal(typename, "secret_common")) {
        type = OBJECT_TYPE_SECRET;
    }
    if (type >= 0) {
        append_properties(&tail, object_properties(type));
    }
    *ret = list;
    return true;
}

static json_t *qom_child_path(const QomNode *parent, const char *property)
{
    g_autoptr(GArray) all = qom_all();

    for (guint i = 0; i < all->len; i++) {
        const QomNode *n = &g_array_index(all, QomNode, i);
        g_autofree char *name = child_name(parent, n);

        if (name && g_str_equal(name, property)) {
            g_autofree char *path = qom_path(n);

            return json_string(path);
        }
    }
    return NULL;
}

static json_t *qom_value(const QomNode *node, const char *property)
{
    if (g_str_equal(property, "type")) {
        g_autofree char *type = qom_type_name(node);

        return json_string(type);
    }
    if (node->kind == QOM_OBJECT) {
        return object_get(node->obj, property);
    }
    if (node->kind == QOM_CHARDEV && g_str_equal(property, "connected")) {
        return json_boolean(chardev_is_connected(node->chr));
    }
    return qom_child_path(node, property);
}

static void property_not(Error **errp, const QomNode *node,
                         const char *property, const char *what)
{
    g_autofree char *type = qom_type_name(node);

    error_setg(errp, "Property '%s.%s' %s", type, property, what);
}

bool qmp_qom_get(Co *co, const char *path, const char *property,
                 json_t **ret, Error **errp)
{
    QomNode node;
    json_t *value;

    if (!qom_resolve(path, &node, errp)) {
        return false;
    }
    value = qom_value(&node, property);
    if (!value) {
        property_not(errp, &node, property, "not found");
        return false;
    }
    *ret = value;
    return true;
}

bool qmp_qom_set(Co *co, const char *path, const char *property,
                 json_t *value, Error **errp)
{
    g_autoptr(json_t) old = NULL;
    QomNode node;

    if (!qom_resolve(path, &node, errp)) {
        return false;
    }
    old = qom_value(&node, property);
    if (!old) {
        property_not(errp, &node, property, "not found");
        return false;
    }
    if (node.kind != QOM_OBJECT || g_str_equal(property, "type")) {
        property_not(errp, &node, property, "is not writable");
        return false;
    }
    return object_set(co, node.obj, property, value, errp);
}
