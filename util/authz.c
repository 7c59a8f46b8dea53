/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A table of rules by name. Rules that stand in a file are read again when the
 * file's identity, length or time has changed, at the moment somebody asks; a
 * file that has become unreadable allows nobody, until it can be read again.
 */
#include "util/authz.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include "util/loop.h"

typedef struct Authz {
    AuthzRules *rules;      /* NULL: the file can't be read */
    char *filename;         /* NULL: no file */
    bool refresh;
    AuthzParse *parse;
    struct stat seen;
} Authz;

static GHashTable *table;       /* id to Authz */

/* ---- rules ---- */

static void authz_rule_clear(void *opaque)
{
    g_free(((AuthzRule *)opaque)->match);
}

AuthzRules *authz_rules_new(void)
{
    AuthzRules *rules = g_new0(AuthzRules, 1);

    rules->list = g_array_new(false, false, sizeof(AuthzRule));
    g_array_set_clear_func(rules->list, authz_rule_clear);
    return rules;
}

void authz_rules_add(AuthzRules *rules, const char *match, bool glob,
                     bool allow)
{
    AuthzRule rule = { g_strdup(match), glob, allow };

    g_array_append_val(rules->list, rule);
}

void authz_rules_free(AuthzRules *rules)
{
    if (rules) {
        g_array_unref(rules->list);
        g_free(rules);
    }
}

bool authz_rules_allow(const AuthzRules *rules, const char *identity)
{
    for (guint i = 0; i < rules->list->len; i++) {
        const AuthzRule *r = &g_array_index(rules->list, AuthzRule, i);

        if (r->glob ? fnmatch(r->match, identity, 0) == 0
                    : strcmp(r->match, identity) == 0) {
            return r->allow;
        }
    }
    return rules->allow;
}

/* ---- files ---- */

typedef struct AuthzRead {
    const char *filename;
    char *text;
    struct stat st;
    int err;
} AuthzRead;

static int64_t authz_stat_work(void *opaque)
{
    AuthzRead *r = opaque;

    r->err = stat(r->filename, &r->st) < 0 ? errno : 0;
    return 0;
}

static int64_t authz_read_work(void *opaque)
{
    AuthzRead *r = opaque;
    g_autoptr(GError) err = NULL;

    authz_stat_work(r);
    if (!r->err && !g_file_get_contents(r->filename, &r->text, NULL, &err)) {
        r->err = EIO;
    }
    return 0;
}

static AuthzRules *authz_load(Co *co, const char *filename,
                              AuthzParse *parse, struct stat *seen,
                              Error **errp)
{
    ERRP_GUARD();
    AuthzRead r = { .filename = filename };
    AuthzRules *rules = NULL;

    worker_run(co, authz_read_work, &r);
    *seen = r.st;
    if (r.err) {
        error_setg_errno(errp, r.err, "Unable to read '%s'", filename);
    } else {
        rules = parse(r.text, errp);
        if (!rules) {
            error_prepend(errp, "'%s': ", filename);
        }
    }
    g_free(r.text);
    return rules;
}

static bool authz_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* ---- the table ---- */

static void authz_free(void *opaque)
{
    Authz *a = opaque;

    authz_rules_free(a->rules);
    g_free(a->filename);
    g_free(a);
}

static Authz *authz_new(const char *id)
{
    Authz *a = g_new0(Authz, 1);

    if (!table) {
        table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                      authz_free);
    }
    g_hash_table_replace(table, g_strdup(id), a);
    return a;
}

void authz_add(const char *id, AuthzRules *rules)
{
    authz_new(id)->rules = rules;
}

bool authz_add_file(Co *co, const char *id, const char *filename,
                    bool refresh, AuthzParse *parse, Error **errp)
{
    struct stat seen;
    AuthzRules *rules = authz_load(co, filename, parse, &seen, errp);
    Authz *a;

    if (!rules) {
        return false;
    }
    a = authz_new(id);
    *a = (Authz) { rules, g_strdup(filename), refresh, parse, seen };
    return true;
}

void authz_forget(const char *id)
{
    if (table) {
        g_hash_table_remove(table, id);
        if (!g_hash_table_size(table)) {
            g_clear_pointer(&table, g_hash_table_unref);
        }
    }
}

static Authz *authz_find(const char *id)
{
    return table ? g_hash_table_lookup(table, id) : NULL;
}

/* Brings the rules of @id up to date. It may be gone afterwards. */
static void authz_refresh(Co *co, const char *id)
{
    Authz *a = authz_find(id);
    g_autofree char *filename = g_strdup(a->filename);
    AuthzRead r = { .filename = filename };
    AuthzParse *parse = a->parse;
    struct stat seen = a->seen;
    AuthzRules *rules;

    worker_run(co, authz_stat_work, &r);
    if (!r.err && authz_is_same(&r.st, &seen)) {
        return;
    }
    rules = authz_load(co, filename, parse, &seen, NULL);
    a = authz_find(id);
    if (!a || g_strcmp0(a->filename, filename) != 0) {
        authz_rules_free(rules);
        return;
    }
    authz_rules_free(a->rules);
    a->rules = rules;
    a->seen = seen;
}

int authz_check(Co *co, const char *id, const char *identity, Error **errp)
{
    Authz *a = authz_find(id);

    if (a && a->refresh) {
        authz_refresh(co, id);
        a = authz_find(id);
    }
    if (!a) {
        error_setg(errp, "Cannot find QAuthZ object ID %s", id);
        return -1;
    }
    return a->rules && authz_rules_allow(a->rules, identity);
}
