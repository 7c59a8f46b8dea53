/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * -o key=value,...: parsed by the drivers' tables, printed in the "Formatting"
 * line and in -o help, and handed on as a tree for the QAPI types.
 *
 * The syntax is that of QEMU's older option lists: ",," is a comma inside of a
 * value, "key" alone means on and "nokey" off.
 */
#include "util/osdep.h"

#include "block/create-options.h"
#include "block/create.h"
#include "util/bytes.h"

/* ---- the list ---- */

static CreateEntry *create_list_find(const CreateList *list, const char *name)
{
    for (guint i = 0; i < list->entries->len; i++) {
        CreateEntry *e = &g_array_index(list->entries, CreateEntry, i);

        if (!strcmp(e->def->name, name)) {
            return e;
        }
    }
    return NULL;
}

static void create_list_add(CreateList *list, const CreateOption *defs,
                            bool of_protocol)
{
    for (const CreateOption *def = defs; def && def->name; def++) {
        CreateEntry e = { def, of_protocol, NULL };

        if (!create_list_find(list, def->name)) {
            g_array_append_val(list->entries, e);
        }
    }
}

CreateList *create_list_new(const BlockDriver *drv,
                            const BlockDriver *protocol)
{
    CreateList *list = g_new0(CreateList, 1);

    list->entries = g_array_new(false, false, sizeof(CreateEntry));
    create_list_add(list, drv->image ? drv->image->create_options : NULL,
                    drv->kind == DRIVER_PROTOCOL);
    if (protocol && protocol->image) {
        create_list_add(list, protocol->image->create_options, true);
    }
    return list;
}

CreateList *create_list_new_amend(const BlockDriver *drv, Error **errp)
{
    CreateList *list;

    if (!drv->image || !drv->image->amend_options) {
        error_setg(errp, "Format driver '%s' does not support option "
                   "amendment", drv->name);
        return NULL;
    }
    list = g_new0(CreateList, 1);
    list->entries = g_array_new(false, false, sizeof(CreateEntry));
    create_list_add(list, drv->image->amend_options, false);
    list->create_only = drv->image->create_options;
    return list;
}

void create_list_free(CreateList *list)
{
    if (!list) {
        return;
    }
    for (guint i = 0; i < list->entries->len; i++) {
        g_free(g_array_index(list->entries, CreateEntry, i).value);
    }
    g_array_free(list->entries, true);
    g_free(list);
}

bool create_list_has(const CreateList *list, const char *name)
{
    return create_list_find(list, name);
}

const char *create_list_get(const CreateList *list, const char *name)
{
    CreateEntry *e = create_list_find(list, name);

    return e ? e->value : NULL;
}

/* ---- values ---- */

static char *create_value_size(const char *name, const char *value,
                               Error **errp)
{
    uint64_t bytes;

    if (size_parse(value, 'B', NULL, &bytes) < 0) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", name);
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means "
                          "kilo-, mega-, giga-, tera-, peta-\n"
                          "and exabytes, respectively.\n");
        return NULL;
    }
    return g_strdup_printf("%" PRIu64, bytes);
}

static char *create_value_number(const char *name, const char *value,
                                 Error **errp)
{
    guint64 n;
    char *end;

    /* As strtoull() has it: any base, and a sign. */
    errno = 0;
    n = g_ascii_strtoull(value, &end, 0);
    if (errno || end == value || *end) {
        error_setg(errp, "Parameter '%s' expects a number", name);
        return NULL;
    }
    return g_strdup_printf("%" PRIu64, (uint64_t)n);
}

static char *create_value_bool(const char *name, const char *value,
                               Error **errp)
{
    static const char *const words[][2] = {
        { "on", "off" }, { "yes", "no" }, { "true", "false" }, { "y", "n" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(value, words[i][0])) {
            return g_strdup("on");
        }
        if (!strcmp(value, words[i][1])) {
            return g_strdup("off");
        }
    }
    error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
    return NULL;
}

static char *create_value(const CreateOption *def, const char *value,
                          Error **errp)
{
    switch (def->type) {
    case CREATE_SIZE:
        return create_value_size(def->name, value, errp);
    case CREATE_NUMBER:
        return create_value_number(def->name, value, errp);
    case CREATE_BOOL:
        return create_value_bool(def->name, value, errp);
    default:
        return g_strdup(value);
    }
}

static void create_unknown(const CreateList *list, const char *name,
                           Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "Invalid parameter '%s'", name);
    for (const CreateOption *o = list->create_only; o && o->name; o++) {
        if (!strcmp(o->name, name)) {
            error_append_hint(errp, "This option is only supported for image "
                              "creation\n");
        }
    }
}

bool create_list_set(CreateList *list, const char *name, const char *value,
                     Error **errp)
{
    CreateEntry *e = create_list_find(list, name);
    char *normal;

    if (!e) {
        create_unknown(list, name, errp);
        return false;
    }
    normal = create_value(e->def, value, errp);
    if (!normal) {
        return false;
    }
    g_free(e->value);
    e->value = normal;
    return true;
}

/* ---- parsing ---- */

/* Reads up to a single comma; the comma is skipped. */
static char *create_next_item(const char **p)
{
    GString *s = g_string_new(NULL);

    while (**p) {
        if (**p == ',' && (*p)[1] != ',') {
            ++*p;
            break;
        }
        *p += **p == ',';
        g_string_append_c(s, *(*p)++);
    }
    return g_string_free(s, false);
}

/* "key" and "nokey" */
static bool create_list_set_word(CreateList *list, const char *word,
                                 Error **errp)
{
    if (!create_list_has(list, word) && g_str_has_prefix(word, "no") &&
        create_list_has(list, word + 2)) {
        return create_list_set(list, word + 2, "off", errp);
    }
    return create_list_set(list, word, "on", errp);
}

bool create_list_parse(CreateList *list, const char *str, Error **errp)
{
    while (*str) {
        g_autofree char *item = create_next_item(&str);
        char *eq = strchr(item, '=');
        bool ok;

        if (eq) {
            *eq = '\0';
            ok = create_list_set(list, item, eq + 1, errp);
        } else {
            ok = create_list_set_word(list, item, errp);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* ---- output ---- */

char *create_list_print(const CreateList *list)
{
    GString *s = g_string_new(NULL);

    for (guint i = 0; i < list->entries->len; i++) {
        CreateEntry *e = &g_array_index(list->entries, CreateEntry, i);
        const char *value = e->value ? e->value : e->def->def;

        if (!value) {
            continue;
        }
        g_string_append_printf(s, " %s=", e->def->name);
        for (const char *p = value; *p; p++) {
            g_string_append(s, *p == ',' ? ",," : (char[]) { *p, '\0' });
        }
    }
    return g_string_free(s, false);
}

static int create_compare_names(const void *a, const void *b)
{
    const CreateOption *const *x = a;
    const CreateOption *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

void create_list_help(const CreateList *list)
{
    static const char *const types[] = {
        [CREATE_SIZE] = "size", [CREATE_BOOL] = "bool (on/off)",
        [CREATE_NUMBER] = "num", [CREATE_STRING] = "str",
    };
    g_autoptr(GPtrArray) defs = g_ptr_array_new();

    for (guint i = 0; i < list->entries->len; i++) {
        g_ptr_array_add(defs, (gpointer)g_array_index(list->entries,
                                                      CreateEntry, i).def);
    }
    g_ptr_array_sort(defs, create_compare_names);
    for (guint i = 0; i < defs->len; i++) {
        const CreateOption *def = g_ptr_array_index(defs, i);
        g_autofree char *left = g_strdup_printf("%s=<%s>", def->name,
                                                types[def->type]);

        printf("  %-22s - %s\n", left, def->help);
    }
}

/* What -o calls "compat" with the spec's old numbers is a version in QAPI. */
static const char *create_qapi_value(const CreateEntry *e)
{
    if (!strcmp(e->def->name, "compat")) {
        if (!strcmp(e->value, "0.10")) {
            return "v2";
        }
        if (!strcmp(e->value, "1.1")) {
            return "v3";
        }
    }
    return e->value;
}

void create_list_to_tree(const CreateList *list, bool of_protocol,
                         json_t *tree)
{
    for (guint i = 0; i < list->entries->len; i++) {
        CreateEntry *e = &g_array_index(list->entries, CreateEntry, i);

        if (e->value && e->of_protocol == of_protocol) {
            json_object_set_new(tree, e->def->qapi_name,
                                json_string(create_qapi_value(e)));
        }
    }
}

bool create_print_amend_help(const BlockDriver *drv, Error **errp)
{
    g_autoptr(CreateList) list = create_list_new_amend(drv, errp);

    if (!list) {
        return false;
    }
    printf("Amend options for '%s':\n", drv->name);
    create_list_help(list);
    return true;
}

json_t *create_parse_amend(const BlockDriver *drv, const char *str,
                           Error **errp)
{
    g_autoptr(CreateList) list = create_list_new_amend(drv, errp);
    json_t *tree;

    if (!list || !create_list_parse(list, str, errp)) {
        return NULL;
    }
    tree = json_object();
    create_list_to_tree(list, false, tree);
    return tree;
}

json_t *create_parse_options(const BlockDriver *drv, const char *str,
                             Error **errp)
{
    g_autoptr(CreateList) list = create_list_new(drv, NULL);
    json_t *tree;

    if (str && !create_list_parse(list, str, errp)) {
        return NULL;
    }
    tree = json_object();
    create_list_to_tree(list, drv->kind == DRIVER_PROTOCOL, tree);
    return tree;
}
