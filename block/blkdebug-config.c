/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blkdebug's configuration files: groups of key = "value" lines. A group is a
 * JSON object of strings until it ends; then it becomes a rule. Lines are read
 * as loosely as QEMU does it.
 */

#include "block/blkdebug.h"
#include "util/json.h"

typedef struct ConfigRun {
    char group[64];             /* "": none yet */
    json_t *rule;               /* NULL: none */
    BlkdebugInjectErrorOptionsList **inject;
    BlkdebugSetStateOptionsList **set;
} ConfigRun;

typedef enum ConfigType { CONFIG_STRING, CONFIG_NUMBER, CONFIG_BOOL } ConfigType;

static const struct {
    const char *group, *key;
    ConfigType type;
} keys[] = {
    { "inject-error", "event", CONFIG_STRING },
    { "inject-error", "state", CONFIG_NUMBER },
    { "inject-error", "iotype", CONFIG_STRING },
    { "inject-error", "errno", CONFIG_NUMBER },
    { "inject-error", "sector", CONFIG_NUMBER },
    { "inject-error", "once", CONFIG_BOOL },
    { "inject-error", "immediately", CONFIG_BOOL },
    { "set-state", "event", CONFIG_STRING },
    { "set-state", "state", CONFIG_NUMBER },
    { "set-state", "new_state", CONFIG_NUMBER },
};

static bool config_set_number(json_t *rule, const char *key,
                              const char *value, Error **errp)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(value, &end, 0);
    if (errno || end == value || *end) {
        error_setg(errp, "Parameter '%s' expects a number", key);
        return false;
    }
    /* Error numbers and states are ints. */
    json_object_set_new(rule, key, json_integer(
        g_str_equal(key, "sector") ? n : (long long)(int)n));
    return true;
}

static bool config_set_bool(json_t *rule, const char *key, const char *value,
                            Error **errp)
{
    bool on = g_str_equal(value, "on");

    if (!on && !g_str_equal(value, "off")) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    json_object_set_new(rule, key, json_boolean(on));
    return true;
}

static bool config_set(ConfigRun *run, const char *key, const char *value,
                       Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!g_str_equal(keys[i].group, run->group) ||
            !g_str_equal(keys[i].key, key)) {
            continue;
        }
        switch (keys[i].type) {
        case CONFIG_NUMBER:
            return config_set_number(run->rule, key, value, errp);
        case CONFIG_BOOL:
            return config_set_bool(run->rule, key, value, errp);
        default:
            json_object_set_new(run->rule, key, json_from_str(value));
            return true;
        }
    }
    error_setg(errp, "Invalid parameter '%s'", key);
    return false;
}

/* ---- rules ---- */

static bool config_check_enums(const json_t *rule, Error **errp)
{
    const char *event = json_string_value(json_object_get(rule, "event"));
    const char *type = json_string_value(json_object_get(rule, "iotype"));

    if (!event) {
        error_setg(errp, "Missing event name for rule");
        return false;
    }
    if (BlkdebugEvent_parse(event, -1, NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s", event);
        return false;
    }
    if (type && BlkdebugIOType_parse(type, -1, NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s", type);
        return false;
    }
    return true;
}

static bool config_end_inject(ConfigRun *run, Error **errp)
{
    BlkdebugInjectErrorOptions *o =
        BlkdebugInjectErrorOptions_from_json(run->rule, QAPI_STRICT, errp);

    if (!o) {
        return false;
    }
    QAPI_LIST_APPEND(run->inject, o);
    return true;
}

static bool config_end_set(ConfigRun *run, Error **errp)
{
    BlkdebugSetStateOptions *o;

    if (!json_object_get(run->rule, "new_state")) {
        json_object_set_new(run->rule, "new_state", json_integer(0));
    }
    o = BlkdebugSetStateOptions_from_json(run->rule, QAPI_STRICT, errp);
    if (!o) {
        return false;
    }
    QAPI_LIST_APPEND(run->set, o);
    return true;
}

static bool config_end_group(ConfigRun *run, Error **errp)
{
    bool ok;

    if (!run->rule) {
        return true;
    }
    ok = config_check_enums(run->rule, errp) &&
         (g_str_equal(run->group, "inject-error") ? config_end_inject(run, errp)
                                                  : config_end_set(run, errp));
    g_clear_pointer(&run->rule, json_decref);
    return ok;
}

static bool config_line(ConfigRun *run, const char *line, Error **errp)
{
    char group[64] = "", id[64], key[64] = "", value[1024] = "";

    if (line[0] == '#' || line[strspn(line, " \t\r")] == '\0') {
        return true;
    }
    if (sscanf(line, "[%63s \"%63[^\"]\"]", group, id) == 2 ||
        sscanf(line, "[%63[^]]]", group) == 1) {
        if (!config_end_group(run, errp)) {
            return false;
        }
        if (!g_str_equal(group, "inject-error") &&
            !g_str_equal(group, "set-state")) {
            error_setg(errp, "There is no option group '%s'", group);
            return false;
        }
        g_strlcpy(run->group, group, sizeof(run->group));
        run->rule = json_object();
        return true;
    }
    if (!run->rule) {
        error_setg(errp, "no group defined");
        return false;
    }
    sscanf(line, " %63s = \"%1023[^\"]\"", key, value);
    return config_set(run, key, value, errp);
}

bool blkdebug_config_parse(const char *text,
                           BlkdebugInjectErrorOptionsList **inject,
                           BlkdebugSetStateOptionsList **set,
                           Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    ConfigRun run = { .inject = inject, .set = set };
    bool ok = true;

    while (*run.inject) {
        run.inject = &(*run.inject)->next;
    }
    while (*run.set) {
        run.set = &(*run.set)->next;
    }
    for (char **line = lines; *line && ok; line++) {
        ok = config_line(&run, *line, errp);
    }
    ok = ok && config_end_group(&run, errp);
    json_decref(run.rule);
    return ok;
}
