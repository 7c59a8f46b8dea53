/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The object throttle-group. Its values are the plain numbers x-iops-total and
 * the like; "limits" is all of them at once, without the x-, and the only one
 * that can be set later.
 */
#include "monitor/object-internal.h"
#include "util/throttle.h"

static const ObjectProperty throttle_properties[] = {
    { "limits", "ThrottleLimits", "null" },
    { "x-bps-read", "int", "0" },
    { "x-bps-read-max", "int", "0" },
    { "x-bps-read-max-length", "int", "1" },
    { "x-bps-total", "int", "0" },
    { "x-bps-total-max", "int", "0" },
    { "x-bps-total-max-length", "int", "1" },
    { "x-bps-write", "int", "0" },
    { "x-bps-write-max", "int", "0" },
    { "x-bps-write-max-length", "int", "1" },
    { "x-iops-read", "int", "0" },
    { "x-iops-read-max", "int", "0" },
    { "x-iops-read-max-length", "int", "1" },
    { "x-iops-size", "int", "0" },
    { "x-iops-total", "int", "0" },
    { "x-iops-total-max", "int", "0" },
    { "x-iops-total-max-length", "int", "1" },
    { "x-iops-write", "int", "0" },
    { "x-iops-write-max", "int", "0" },
    { "x-iops-write-max-length", "int", "1" },
    { NULL }
};

static const char *const kinds[THROTTLE_KINDS] = {
    [THROTTLE_BPS_TOTAL] = "bps-total",
    [THROTTLE_BPS_READ] = "bps-read",
    [THROTTLE_BPS_WRITE] = "bps-write",
    [THROTTLE_OPS_TOTAL] = "iops-total",
    [THROTTLE_OPS_READ] = "iops-read",
    [THROTTLE_OPS_WRITE] = "iops-write",
};

/* What "limits" says, else x-... */
static int64_t throttle_number(const json_t *values, const char *kind,
                               const char *suffix, int64_t def)
{
    const json_t *limits = json_object_get(values, "limits");
    g_autofree char *key = g_strconcat("x-", kind, suffix, NULL);
    const json_t *v = json_object_get(limits, key + 2);
    int64_t n = def;

    json_get_int64(v ? v : json_object_get(values, key), &n);
    return n;
}

static void throttle_config(const json_t *values, ThrottleConfig *cfg)
{
    throttle_config_init(cfg);
    for (int i = 0; i < THROTTLE_KINDS; i++) {
        ThrottleLimit *l = &cfg->limit[i];

        l->avg = throttle_number(values, kinds[i], "", 0);
        l->max = throttle_number(values, kinds[i], "-max", 0);
        l->length = throttle_number(values, kinds[i], "-max-length", 1);
    }
    cfg->op_size = throttle_number(values, "iops-size", "", 0);
}

static bool throttle_check_range(const json_t *values, Error **errp)
{
    for (const ObjectProperty *p = throttle_properties + 1; p->name; p++) {
        int64_t n = 0;

        json_get_int64(json_object_get(values, p->name), &n);
        if (n < 0) {
            error_setg(errp, "Property values cannot be negative");
            return false;
        }
        n = throttle_number(values, p->name + 2, "", 0);
        if (g_str_has_suffix(p->name, "-length") && (n < 0 || n > UINT_MAX)) {
            error_setg(errp, "%s value must be in the range [0, %u]",
                       p->name + 2, UINT_MAX);
            return false;
        }
    }
    return true;
}

static bool throttle_check(const json_t *values, Error **errp)
{
    ThrottleConfig cfg;

    if (!throttle_check_range(values, errp)) {
        return false;
    }
    throttle_config(values, &cfg);
    return throttle_config_check(&cfg, errp);
}

static bool throttle_apply(Co *co, Object *obj, const json_t *values,
                           bool first, Error **errp)
{
    ThrottleGroup *g = first ? throttle_group_new(object_id(obj))
                             : throttle_group_find(object_id(obj));
    ThrottleConfig cfg;

    throttle_config(values, &cfg);
    throttle_group_configure(g, &cfg);
    if (!first) {
        throttle_group_unref(g);
    }
    return true;
}

static bool throttle_remove(Co *co, Object *obj, Error **errp)
{
    ThrottleGroup *g = throttle_group_find(object_id(obj));
    bool used;

    throttle_group_unref(g);
    used = throttle_group_in_use(g);
    if (used) {
        error_setg(errp, "object '%s' is in use, can not be deleted",
                   object_id(obj));
        return false;
    }
    throttle_group_unref(g);
    return true;
}

static json_t *throttle_get(const json_t *values, const char *property)
{
    json_t *limits;

    if (g_str_has_prefix(property, "x-") &&
        json_object_get(values, property)) {
        return json_integer(throttle_number(values, property + 2, "", 0));
    }
    if (!g_str_equal(property, "limits")) {
        return NULL;
    }
    limits = json_object();
    for (const ObjectProperty *p = throttle_properties + 1; p->name; p++) {
        json_object_set_new(limits, p->name + 2,
                            throttle_get(values, p->name));
    }
    return limits;
}

/* What the new limits do not say stays as it is. */
static bool throttle_put(json_t *values, const char *property, json_t *value,
                         Error **errp)
{
    g_autoptr(ThrottleGroupProperties) props = NULL;
    g_autoptr(json_t) arg = NULL;
    json_t *limits;

    if (!g_str_equal(property, "limits")) {
        error_setg(errp, "Property cannot be set after initialization");
        return false;
    }
    arg = json_pack("{s:O}", "limits", value);
    props = ThrottleGroupProperties_from_json(arg, QAPI_STRICT, errp);
    if (!props) {
        return false;
    }
    limits = throttle_get(values, "limits");
    json_object_update(limits, value);
    json_object_set_new(values, "limits", limits);
    return true;
}

const ObjectClass throttle_group_class = {
    throttle_properties, throttle_check, throttle_apply, throttle_remove,
    throttle_get, throttle_put,
};
