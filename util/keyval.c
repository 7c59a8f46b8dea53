/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Options of the command line to trees of strings.
 *
 * The nested form is parsed in two steps. First every fragment of a key is a
 * member of an object, be it a name or a number. Then, from the leaves up,
 * objects whose members are all numbers become arrays, which must be dense.
 * A member keeps to what it was first, a value or an object.
 *
 *     key      = name { '.' ( name | digits ) }
 *     name     = [ "__" domain "_" ] letter { letter | digit | '-' | '_' }
 *
 * keyval_nest() takes the same two steps, without rules for names and with the
 * messages of the programs' --image-opts.
 */
#include "util/keyval.h"

#define FRAGMENT_MAX 127

/* Where a parser stands: it hands out one "key=value" after the other. */
typedef struct KeyvalCursor {
    const char *next;
    const char *implied_key;    /* until the first pair has been read */
} KeyvalCursor;

/* "a,,b,c": appends "a,b" to nothing, returns what follows the end. */
static char *keyval_value(const char **str)
{
    GString *value = g_string_new(NULL);
    const char *p;

    for (p = *str; *p && (*p != ',' || p[1] == ','); p++) {
        g_string_append_c(value, *p);
        p += *p == ',';
    }
    *str = *p ? p + 1 : p;
    return g_string_free(value, FALSE);
}

static bool is_help(const char *key, size_t len)
{
    return (len == 4 && !strncmp(key, "help", 4)) || (len == 1 && *key == '?');
}

/* ---- names of keys ---- */

/* The length of the name that @p begins with, 0 if there is none. */
static size_t keyval_name_len(const char *p)
{
    const char *start = p;

    if (p[0] == '_' && p[1] == '_') {
        p += 2;
        while (g_ascii_isalnum(*p) || *p == '-' || *p == '.') {
            p++;
        }
        if (*p++ != '_') {
            return 0;
        }
    }
    if (!g_ascii_isalpha(*p)) {
        return 0;
    }
    while (g_ascii_isalnum(*p) || *p == '-' || *p == '_') {
        p++;
    }
    return p - start;
}

static bool is_number(const char *key)
{
    return *key && key[strspn(key, "0123456789")] == '\0';
}

/* Splits @key of @len bytes into its fragments; NULL and error if it is bad. */
static char **keyval_split_key(const char *key, size_t len, Error **errp)
{
    g_autoptr(GPtrArray) fragments = g_ptr_array_new_with_free_func(g_free);
    const char *p = key, *end = key + len;

    for (;;) {
        size_t n = fragments->len ? strspn(p, "0123456789") : 0;

        n = n ?: keyval_name_len(p);
        if (!n || (p + n < end && p[n] != '.') || p + n > end) {
            error_setg(errp, "Invalid parameter '%.*s'", (int)len, key);
            return NULL;
        }
        if (n > FRAGMENT_MAX) {
            error_setg(errp, "Parameter%s '%.*s' is too long",
                       n == len ? "" : " fragment", (int)n, p);
            return NULL;
        }
        g_ptr_array_add(fragments, g_strndup(p, n));
        p += n;
        if (p == end) {
            break;
        }
        p++;
    }
    g_ptr_array_add(fragments, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&fragments), FALSE);
}

/* "007" and "7" are one member of an array. */
static const char *skip_zeroes(const char *fragment)
{
    if (is_number(fragment)) {
        while (fragment[0] == '0' && fragment[1]) {
            fragment++;
        }
    }
    return fragment;
}

/* ---- storing ---- */

/*
 * Gives @value (always taken) to the member that @fragments lead to; objects on
 * the way are made. Returns the number of fragments up to a member that is
 * already something else, or 0.
 */
static guint keyval_store(json_t *tree, char **fragments, json_t *value)
{
    guint i;

    for (i = 0; fragments[i + 1]; i++) {
        const char *name = skip_zeroes(fragments[i]);
        json_t *member = json_object_get(tree, name);

        if (!member) {
            member = json_object();
            json_object_set_new(tree, name, member);
        } else if (!json_is_object(member)) {
            json_decref(value);
            return i + 1;
        }
        tree = member;
    }
    if (json_is_object(json_object_get(tree, skip_zeroes(fragments[i])))) {
        json_decref(value);
        return i + 1;
    }
    json_object_set_new(tree, skip_zeroes(fragments[i]), value);
    return 0;
}

static void set_inconsistent(Error **errp, char **fragments, guint n)
{
    GString *prefix = g_string_new(fragments[0]);

    for (guint i = 1; i < n; i++) {
        g_string_append_printf(prefix, ".%s", fragments[i]);
    }
    error_setg(errp, "Parameters '%s.*' used inconsistently", prefix->str);
    g_string_free(prefix, TRUE);
}

/* ---- objects of numbers to arrays ---- */

typedef enum MemberKind { MEMBERS_NAMES, MEMBERS_NUMBERS, MEMBERS_MIXED }
    MemberKind;

static MemberKind member_kind(json_t *object)
{
    size_t numbers = 0;
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value) {
        numbers += is_number(key);
    }
    return !numbers ? MEMBERS_NAMES :
           numbers == json_object_size(object) ? MEMBERS_NUMBERS :
           MEMBERS_MIXED;
}

/* The array of members "0" to the last; NULL and *@missing if one is not. */
static json_t *keyval_array(json_t *object, size_t *missing)
{
    size_t n = json_object_size(object);
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++) {
        g_autofree char *key = g_strdup_printf("%zu", i);
        json_t *value = json_object_get(object, key);

        if (!value) {
            json_decref(array);
            *missing = i;
            return NULL;
        }
        json_array_append(array, value);
    }
    return array;
}

/*
 * @object, which @path leads to ("" for the root), with what is numbers made
 * arrays. Takes @object; NULL on error.
 */
static json_t *keyval_listify(json_t *object, const char *path, Error **errp)
{
    json_t *array = NULL, *value;
    const char *key;
    size_t missing;
    void *next;

    json_object_foreach_safe(object, next, key, value) {
        g_autofree char *sub = g_strdup_printf("%s%s%s", path,
                                               *path ? "." : "", key);

        if (!json_is_object(value)) {
            continue;
        }
        value = keyval_listify(json_incref(value), sub, errp);
        if (!value) {
            json_decref(object);
            return NULL;
        }
        json_object_set_new(object, key, value);
    }

    switch (*path ? member_kind(object) : MEMBERS_NAMES) {
    case MEMBERS_NAMES:
        return object;
    case MEMBERS_MIXED:
        error_setg(errp, "Parameters '%s.*' used inconsistently", path);
        break;
    case MEMBERS_NUMBERS:
        array = keyval_array(object, &missing);
        if (!array) {
            error_setg(errp, "Parameter '%s.%zu' missing", path, missing);
        }
        break;
    }
    json_decref(object);
    return array;
}

/* ---- the nested form ---- */

/* One pair (or help, which gives an empty one) of @cur into @tree. */
static bool keyval_parse_one(KeyvalCursor *cur, json_t *tree, bool *help,
                             Error **errp)
{
    const char *implied = g_steal_pointer(&cur->implied_key);
    const char *key = cur->next;
    size_t len = strcspn(key, "=,");
    g_auto(GStrv) fragments = NULL;
    g_autofree char *value = NULL;
    guint clash;

    cur->next += len;
    if (*cur->next != '=' && is_help(key, len)) {
        *help = true;
        cur->next += *cur->next != '\0';
        return true;
    }
    if (*cur->next != '=' && implied && len) {
        fragments = keyval_split_key(implied, strlen(implied), errp);
        value = g_strndup(key, len);
        cur->next += *cur->next != '\0';
    } else {
        fragments = keyval_split_key(key, len, errp);
        if (fragments && *cur->next != '=') {
            error_setg(errp, "Expected '=' after parameter '%.*s'", (int)len,
                       key);
            return false;
        }
    }
    if (!fragments) {
        return false;
    }
    if (!value) {
        cur->next++;
        value = keyval_value(&cur->next);
    }
    clash = keyval_store(tree, fragments, json_string_nocheck(value));
    if (clash) {
        set_inconsistent(errp, fragments, clash);
    }
    return !clash;
}

json_t *keyval_parse(const char *str, const char *implied_key, bool *help,
                     Error **errp)
{
    KeyvalCursor cur = { str, implied_key };
    json_t *tree = json_object();
    bool wanted = false;

    while (*cur.next) {
        if (!keyval_parse_one(&cur, tree, &wanted, errp)) {
            json_decref(tree);
            return NULL;
        }
    }
    if (wanted && !help) {
        error_setg(errp, "Help is not available for this option");
        json_decref(tree);
        return NULL;
    }
    if (wanted) {
        *help = true;
    }
    return keyval_listify(tree, "", errp);
}

/* ---- the flat form ---- */

/* @len bytes of @key; argv may hold what is no UTF-8. */
static void flat_set(json_t *flat, const char *key, size_t len,
                     const char *value)
{
    g_autofree char *name = g_strndup(key, len);

    json_object_set_new_nocheck(flat, name, json_string_nocheck(value));
}

/* "foo" or "nofoo". */
static void flat_set_flag(json_t *flat, const char *key, size_t len, bool warn)
{
    bool off = len >= 2 && key[0] == 'n' && key[1] == 'o';
    const char *name = key + 2 * off;
    size_t name_len = len - 2 * off;

    flat_set(flat, name, name_len, off ? "off" : "on");
    if (warn && !is_help(key, len)) {
        Error *err = NULL;

        error_setg(&err, "short-form boolean option '%.*s' deprecated",
                   (int)len, key);
        error_append_hint(&err, "Please use %.*s=%s instead\n", (int)name_len,
                          name, off ? "off" : "on");
        warn_report_err(err);
    }
}

static json_t *flat_parse(const char *str, const char *implied_key, bool *help,
                          bool warn)
{
    json_t *flat = json_object();
    const char *p = str;

    while (*p) {
        size_t len = strcspn(p, "=,");

        if (p[len] == '=') {
            const char *key = p;
            g_autofree char *value = NULL;

            p += len + 1;
            value = keyval_value(&p);
            flat_set(flat, key, len, value);
        } else if (help && is_help(p, len)) {
            *help = true;
            p += len + (p[len] != '\0');
        } else if (implied_key) {
            g_autofree char *value = keyval_value(&p);

            flat_set(flat, implied_key, strlen(implied_key), value);
        } else {
            flat_set_flag(flat, p, len, warn);
            p += len + (p[len] != '\0');
        }
        implied_key = NULL;
    }
    return flat;
}

json_t *keyval_parse_flat(const char *str, const char *implied_key,
                          bool *help, Error **errp)
{
    return flat_parse(str, implied_key, help, false);
}

json_t *keyval_parse_flat_warn(const char *str, const char *implied_key,
                               bool *help, Error **errp)
{
    return flat_parse(str, implied_key, help, true);
}

/* ---- between the forms ---- */

/* The array of the members of @object, which are all numbers. */
static json_t *nest_array(json_t *object, Error **errp)
{
    size_t missing;
    json_t *array = keyval_array(object, &missing), *value;
    uint64_t largest = 0;
    const char *key;

    if (!array) {
        json_object_foreach(object, key, value) {
            largest = MAX(largest, g_ascii_strtoull(key, NULL, 10));
        }
        error_setg(errp, "List indices are not contiguous, saw %zu elements "
                   "but %" PRIu64 " largest index", json_object_size(object),
                   largest);
    }
    return array;
}

/* Members without a dot go to @tree, the others to @groups by what is before
 * the first dot. */
static void nest_partition(const json_t *flat, json_t *tree, json_t *groups)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)flat, key, value) {
        const char *dot = strchr(key, '.');
        g_autofree char *name = dot ? g_strndup(key, dot - key)
                                    : g_strdup(key);
        json_t *group;

        if (!dot) {
            json_object_set_nocheck(tree, skip_zeroes(name), value);
            continue;
        }
        group = json_object_get(groups, skip_zeroes(name));
        if (!group) {
            group = json_object();
            json_object_set_new_nocheck(groups, skip_zeroes(name), group);
        }
        json_object_set_nocheck(group, dot + 1, value);
    }
}

static json_t *nest(const json_t *flat, bool root, Error **errp);

/* Nests each of @groups into @tree. */
static bool nest_groups(json_t *groups, json_t *tree, Error **errp)
{
    const char *key;
    json_t *group;

    json_object_foreach(groups, key, group) {
        json_t *sub;

        if (json_object_get(tree, key)) {
            error_setg(errp, "Cannot mix scalar and non-scalar keys");
            return false;
        }
        sub = nest(group, false, errp);
        if (!sub) {
            return false;
        }
        json_object_set_new_nocheck(tree, key, sub);
    }
    return true;
}

static json_t *nest(const json_t *flat, bool root, Error **errp)
{
    json_t *tree = json_object(), *groups = json_object();
    json_t *ret = NULL;

    nest_partition(flat, tree, groups);
    if (nest_groups(groups, tree, errp)) {
        switch (root ? MEMBERS_NAMES : member_kind(tree)) {
        case MEMBERS_NAMES:
            ret = json_incref(tree);
            break;
        case MEMBERS_NUMBERS:
            ret = nest_array(tree, errp);
            break;
        case MEMBERS_MIXED:
            error_setg(errp, "Cannot mix list and non-list keys");
            break;
        }
    }
    json_decref(groups);
    json_decref(tree);
    return ret;
}

json_t *keyval_nest(const json_t *flat, Error **errp)
{
    return nest(flat, true, errp);
}

static void flatten(json_t *flat, const char *key, json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;

    if (json_object_size(value) || (json_is_object(value) && !*key)) {
        json_object_foreach(value, name, member) {
            g_autofree char *sub = g_strdup_printf("%s%s%s", key,
                                                   *key ? "." : "", name);

            flatten(flat, sub, member);
        }
    } else if (json_array_size(value)) {
        json_array_foreach(value, i, member) {
            g_autofree char *sub = g_strdup_printf("%s.%zu", key, i);

            flatten(flat, sub, member);
        }
    } else {
        json_object_set_nocheck(flat, key, value);
    }
}

json_t *keyval_flatten(const json_t *tree)
{
    json_t *flat = json_object();

    g_assert(json_is_object(tree));
    flatten(flat, "", (json_t *)tree);
    return flat;
}
