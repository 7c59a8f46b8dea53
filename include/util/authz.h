/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Who is allowed in, by the names that users give to lists of identities
 * (`--object authz-list,...`). Main loop only.
 */
#ifndef UTIL_AUTHZ_H
#define UTIL_AUTHZ_H

#include "util/co.h"
#include "util/error.h"

typedef struct AuthzRule {
    char *match;
    bool glob;              /* match is a pattern */
    bool allow;
} AuthzRule;

typedef struct AuthzRules {
    GArray *list;           /* of AuthzRule: the first that matches decides */
    bool allow;             /* if none does */
} AuthzRules;
AuthzRules *authz_rules_new(void);
void authz_rules_add(AuthzRules *rules, const char *match, bool glob,
                     bool allow);
void authz_rules_free(AuthzRules *rules);           /* NULL ok */
bool authz_rules_allow(const AuthzRules *rules, const char *identity);

/* Rules as an object has them; takes @rules, replaces those of @id. */
void authz_add(const char *id, AuthzRules *rules);
/* Rules that are read from @filename by @parse, and once more whenever it has
 * changed, if @refresh. Suspends. False if it can't be read. */
typedef AuthzRules *AuthzParse(const char *text, Error **errp);
bool authz_add_file(Co *co, const char *id, const char *filename,
                    bool refresh, AuthzParse *parse, Error **errp);
void authz_forget(const char *id);

/* 1 or 0; -1 with a message if there is no such object. Suspends. */
int authz_check(Co *co, const char *id, const char *identity, Error **errp);

#endif
