/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The objects authz-list, authz-listfile and authz-simple: rules about
 * identities. A file holds what an authz-list has as properties, in JSON.
 */
#include "monitor/object-internal.h"

#include "util/authz.h"

static const ObjectProperty list_properties[] = {
    { "policy", "QAuthZListPolicy", "\"deny\"" },
    { "rules", "QAuthZListRule", "[]" },
    { NULL }
};

static const ObjectProperty listfile_properties[] = {
    { "filename", "string", "null" },
    { "refresh", "bool", "true" },
    { NULL }
};

static const ObjectProperty simple_properties[] = {
    { "identity", "string", "null" },
    { NULL }
};

static AuthzRules *authz_from_json(const json_t *values, Error **errp)
{
    g_autoptr(AuthZListProperties) p =
        AuthZListProperties_from_json((json_t *)values, QAPI_STRICT, errp);
    AuthzRules *rules;

    if (!p) {
        return NULL;
    }
    rules = authz_rules_new();
    rules->allow = p->has_policy && p->policy == QAUTHZ_LIST_POLICY_ALLOW;
    for (QAuthZListRuleList *r = p->rules; r; r = r->next) {
        authz_rules_add(rules, r->value->match,
                        r->value->has_format &&
                        r->value->format == QAUTHZ_LIST_FORMAT_GLOB,
                        r->value->policy == QAUTHZ_LIST_POLICY_ALLOW);
    }
    return rules;
}

static AuthzRules *authz_parse(const char *text, Error **errp)
{
    g_autoptr(json_t) values = json_parse_str(text, errp);

    if (values && !json_is_object(values)) {
        error_setg(errp, "Expected a JSON object");
        return NULL;
    }
    return values ? authz_from_json(values, errp) : NULL;
}

static bool authz_apply_list(Co *co, Object *obj, const json_t *values,
                             bool first, Error **errp)
{
    AuthzRules *rules = authz_from_json(values, errp);

    if (rules) {
        authz_add(object_id(obj), rules);
    }
    return rules;
}

static bool authz_apply_listfile(Co *co, Object *obj, const json_t *values,
                                 bool first, Error **errp)
{
    return authz_add_file(co, object_id(obj), object_value_str(values, "filename"),
                          json_is_true(json_object_get(values, "refresh")),
                          authz_parse, errp);
}

static bool authz_apply_simple(Co *co, Object *obj, const json_t *values,
                               bool first, Error **errp)
{
    AuthzRules *rules = authz_rules_new();

    authz_rules_add(rules, object_value_str(values, "identity"), false, true);
    authz_add(object_id(obj), rules);
    return true;
}

static bool authz_remove(Co *co, Object *obj, Error **errp)
{
    authz_forget(object_id(obj));
    return true;
}

const ObjectClass authz_list_class = {
    list_properties, NULL, authz_apply_list, authz_remove
};
const ObjectClass authz_listfile_class = {
    listfile_properties, NULL, authz_apply_listfile, authz_remove
};
const ObjectClass authz_simple_class = {
    simple_properties, NULL, authz_apply_simple, authz_remove
};
