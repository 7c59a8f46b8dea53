/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The form of requests, in this order:
 *
 *     an object; its members known, of the right type, one of execute and
 *     exec-oob; a command of that name, and before the negotiation none but
 *     qmp_capabilities; exec-oob only if the command allows it; its arguments
 */
#include "dispatch.h"

#include "block/graph.h"
#include "block/owner.h"
#include "qapi/qapi-commands.h"

Dispatch *dispatch_current;

typedef struct Request {
    const char *name;
    bool is_oob;
    json_t *args;               /* NULL: none */
} Request;

bool dispatch_is_oob(const Dispatch *d, const json_t *request)
{
    return d->negotiated && d->oob && json_qtype(request) == JSON_T_OBJECT &&
           json_object_get(request, "exec-oob") &&
           !json_object_get(request, "execute");
}

static bool parse_name(Request *req, const char *key, const json_t *value,
                       Error **errp)
{
    if (json_qtype(value) != JSON_T_STRING) {
        error_setg(errp, "QMP input member '%s' must be a string", key);
        return false;
    }
    req->is_oob = g_str_equal(key, "exec-oob");
    if (req->name) {
        error_setg(errp, "QMP input member '%s' clashes with '%s'", key,
                   req->is_oob ? "execute" : "exec-oob");
        return false;
    }
    req->name = json_get_string(value);
    return true;
}

static bool parse_member(const Dispatch *d, Request *req, const char *key,
                         json_t *value, Error **errp)
{
    if (g_str_equal(key, "execute") ||
        (g_str_equal(key, "exec-oob") && d->oob)) {
        return parse_name(req, key, value, errp);
    }
    if (g_str_equal(key, "arguments")) {
        if (json_qtype(value) != JSON_T_OBJECT) {
            error_setg(errp, "QMP input member 'arguments' must be an object");
            return false;
        }
        req->args = value;
        return true;
    }
    if (!g_str_equal(key, "id")) {
        error_setg(errp, "QMP input member '%s' is unexpected", key);
        return false;
    }
    return true;
}

static bool parse(const Dispatch *d, json_t *request, Request *req,
                  Error **errp)
{
    const char *key;
    json_t *value;

    if (json_qtype(request) != JSON_T_OBJECT) {
        error_setg(errp, "QMP input must be a JSON object");
        return false;
    }
    json_object_foreach(request, key, value) {
        if (!parse_member(d, req, key, value, errp)) {
            return false;
        }
    }
    if (!req->name) {
        error_setg(errp, "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

static const QmpCommand *find(const Dispatch *d, const Request *req,
                              Error **errp)
{
    const QmpCommand *cmd = qmp_command_find(req->name);

    if (!d->negotiated && !g_str_equal(req->name, "qmp_capabilities")) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "Expecting "
                  "capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (!cmd) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "The command %s has not been found", req->name);
        return NULL;
    }
    if (req->is_oob && !(cmd->flags & QMP_COMMAND_ALLOW_OOB)) {
        error_setg(errp, "The command %s does not support OOB", req->name);
        return NULL;
    }
    return cmd;
}

/* Commands in band come after each other; where they end up doesn't matter. */
static bool run(Co *co, Dispatch *d, const QmpCommand *cmd, Request *req,
                json_t **ret, Error **errp)
{
    bool ok;

    if (!req->is_oob) {
        control_lock(co);
        owner_set_session(d->number);
    }
    dispatch_current = d;
    ok = cmd->marshal(co, req->args, ret, errp);
    co_move(co, loop_main());
    if (!req->is_oob) {
        owner_set_session(0);
        control_unlock(co);
    }
    return ok;
}

json_t *dispatch_error(Error *err, json_t *id)
{
    json_t *answer = json_object();
    json_t *error = json_object();

    if (id) {
        json_object_set(answer, "id", id);
    }
    json_object_set_new(error, "class",
                        json_string(error_class_str(error_get_class(err))));
    json_object_set_new(error, "desc", json_from_str(error_get_pretty(err)));
    json_object_set_new(answer, "error", error);
    error_free(err);
    return answer;
}

json_t *dispatch_request(Co *co, Dispatch *d, json_t *request)
{
    json_t *id = json_qtype(request) == JSON_T_OBJECT
                 ? json_object_get(request, "id") : NULL;
    const QmpCommand *cmd = NULL;
    json_t *ret = NULL, *answer;
    Request req = { NULL };
    Error *err = NULL;

    if (parse(d, request, &req, &err)) {
        cmd = find(d, &req, &err);
    }
    if (!cmd || !run(co, d, cmd, &req, &ret, &err)) {
        return dispatch_error(err, id);
    }
    if (cmd->flags & QMP_COMMAND_NO_SUCCESS_RESPONSE) {
        json_decref(ret);
        return NULL;
    }
    answer = json_object();
    json_object_set_new(answer, "return", ret);
    if (id) {
        json_object_set(answer, "id", id);
    }
    return answer;
}
