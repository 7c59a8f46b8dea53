/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Generated code: values to objects and back, copies, the words of errors,
 * commands, events, introspection. On tests/qapi-schema/test.json, which has
 * every construct of the language.
 */
#include "util/osdep.h"
#include "test-qapi-commands.h"
#include "test-qapi-events.h"
#include "test-qapi-introspect.h"

static json_t *parse(const char *text)
{
    Error *err = NULL;
    json_t *value = json_parse_str(text, &err);

    if (!value) {
        g_error("%s: %s", text, error_get_pretty(err));
    }
    return value;
}

/* ---- objects ---- */

/* A value goes through an object and a copy of it, and stays the same. */
static void check_round(const QapiType *type, QapiMode mode,
                        const char *text, const char *printed)
{
    Error *err = NULL;
    g_autoptr(json_t) value = parse(text), back = NULL;
    g_autofree char *out = NULL;
    void *object, *copy;

    object = qapi_from_json(type, value, mode, NULL, &err);
    if (!object) {
        g_error("%s: %s", text, error_get_pretty(err));
    }
    copy = qapi_clone(type, object);
    qapi_free(type, object);
    back = qapi_to_json(type, copy);
    qapi_free(type, copy);
    out = json_format(back);
    g_assert_cmpstr(out, ==, printed);
}

static void check_same(const QapiType *type, const char *text)
{
    check_round(type, QAPI_STRICT, text, text);
}

static void check_error(const QapiType *type, QapiMode mode,
                        const char *text, const char *message)
{
    Error *err = NULL;
    g_autoptr(json_t) value = parse(text);
    bool ok;

    g_assert_null(qapi_from_json(type, value, mode, &ok, &err));
    g_assert_false(ok);
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
    g_assert_null(qapi_from_json(type, value, mode, NULL, NULL));
}

#define SCALARS(INT8, UINT16, UINT64)                                       \
    "{\"str\": \"x\", \"number\": 1.5, \"int\": -9223372036854775808, "     \
    "\"int8\": " INT8 ", \"int16\": -32768, \"int32\": 2147483647, "        \
    "\"int64\": 0, \"uint8\": 255, \"uint16\": " UINT16 ", "                \
    "\"uint32\": 4294967295, \"uint64\": " UINT64 ", \"size\": 65536, "     \
    "\"bool\": true, \"any\": [null, {\"a\": 1}], \"enum\": \"3d\"}"

static void test_scalars(void)
{
    check_same(&qapi_type_Scalars,
               SCALARS("-128", "65535", "18446744073709551615"));
    check_error(&qapi_type_Scalars, QAPI_STRICT,
                SCALARS("128", "1", "1"), "Parameter 'int8' expects int8_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT, SCALARS("1", "65536", "1"),
                "Parameter 'uint16' expects uint16_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT, SCALARS("1", "-1", "1"),
                "Parameter 'uint16' expects uint16_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT,
                SCALARS("1", "1", "18446744073709551616"),
                "Parameter 'uint64' expects uint64");
    check_error(&qapi_type_Scalars, QAPI_STRICT, SCALARS("1", "1", "'1'"),
                "Parameter 'uint64' expects uint64");
    check_error(&qapi_type_Scalars, QAPI_STRICT, SCALARS("1.0", "1", "1"),
                "Invalid parameter type for 'int8', expected: integer");
    /* One more than each width can hold. */
    check_error(&qapi_type_Scalars, QAPI_STRICT, "{'str':'x','number':1,"
                "'int':0,'int8':0,'int16':32768}",
                "Parameter 'int16' expects int16_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT, "{'str':'x','number':1,"
                "'int':0,'int8':0,'int16':0,'int32':-2147483649}",
                "Parameter 'int32' expects int32_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT, "{'str':'x','number':1,"
                "'int':0,'int8':0,'int16':0,'int32':0,'int64':0,'uint8':256}",
                "Parameter 'uint8' expects uint8_t");
    check_error(&qapi_type_Scalars, QAPI_STRICT, "{'str':'x','number':1,"
                "'int':0,'int8':0,'int16':0,'int32':0,'int64':0,'uint8':0,"
                "'uint16':0,'uint32':4294967296}",
                "Parameter 'uint32' expects uint32_t");
}

static void test_negative_unsigned(void)
{
    Error *err = NULL;
    g_autoptr(json_t) value = parse("{'uint64': -1, 'size': -2}");
    g_autoptr(Optionals) o = Optionals_from_json(value, QAPI_STRICT, &err);

    g_assert_nonnull(o);
    g_assert_cmpuint(o->uint64, ==, UINT64_MAX);
    g_assert_cmpuint(o->size, ==, UINT64_MAX - 1);
}

static void test_types(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{'str': 1}",
          "Invalid parameter type for 'str', expected: string" },
        { "{'str': 18446744073709551615}",
          "Invalid parameter type for 'str', expected: string" },
        { "{'number': '1'}",
          "Invalid parameter type for 'number', expected: number" },
        { "{'int': 9223372036854775808}",
          "Invalid parameter type for 'int', expected: integer" },
        { "{'bool': 1}",
          "Invalid parameter type for 'bool', expected: boolean" },
        { "{'bool': 'on'}",
          "Invalid parameter type for 'bool', expected: boolean" },
        { "{'enum': 1}",
          "Invalid parameter type for 'enum', expected: string" },
        { "{'enum': 'blue'}", "Parameter 'enum' does not accept value 'blue'" },
        { "{'enum': 'RED'}", "Parameter 'enum' does not accept value 'RED'" },
        { "{'enum': 'never'}",
          "Parameter 'enum' does not accept value 'never'" },
        { "{'struct': []}",
          "Invalid parameter type for 'struct', expected: object" },
        { "{'struct': {}}", "Parameter 'struct.name' is missing" },
        { "{'struct': {'name': 'x', 'y': 1}}",
          "Parameter 'struct.y' is unexpected" },
        { "{'list': {}}",
          "Invalid parameter type for 'list', expected: array" },
        { "{'list': [1, 'x']}",
          "Invalid parameter type for 'list[1]', expected: integer" },
        { "{'bases': [{'name': 'x'}, {'name': 1}]}",
          "Invalid parameter type for 'bases[1].name', expected: string" },
        { "{'colors': ['red', 'blue']}",
          "Parameter 'null' does not accept value 'blue'" },
        { "{'alt': {'id': 'x', 'color': 'red', 'kind': 1}}",
          "Invalid parameter type for 'alt.kind', expected: string" },
        { "{'never': 'x'}", "Parameter 'never' is unexpected" },
        { "{'x-odd': 'x', 'y': 1, 'z': 2}", "Parameter 'y' is unexpected" },
        { "[]", "Invalid parameter type for 'null', expected: object" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_error(&qapi_type_Optionals, QAPI_STRICT, cases[i].text,
                    cases[i].message);
    }
}

static void test_optionals(void)
{
    Error *err = NULL;
    g_autoptr(json_t) value = parse("{'list': [], 'int': 0}");
    g_autoptr(Optionals) o = Optionals_from_json(value, QAPI_STRICT, &err);

    g_assert_true(o->has_list && !o->list && o->has_q_int && !o->int8);
    g_assert_false(o->has_q_bool || o->has_strings || o->has_q_enum);
    check_same(&qapi_type_Optionals, "{}");
    check_same(&qapi_type_Optionals, "{\"list\": [], \"strings\": [\"a\"], "
               "\"bases\": [{\"name\": \"x\"}, {\"name\": \"y\", "
               "\"switch\": 1}], \"colors\": [\"red\", \"3d\"]}");
}

static void test_struct(void)
{
    Error *err = NULL;
    const char *text = "{\"name\": \"a\", \"switch\": 3, \"next\": "
                       "{\"name\": \"b\", \"next\": {\"name\": \"c\"}}}";
    g_autoptr(json_t) value = parse(text);
    g_autoptr(Derived) d = Derived_from_json(value, QAPI_STRICT, &err);

    g_assert_cmpstr(qapi_Derived_base(d)->name, ==, "a");
    g_assert_cmpint(qapi_Derived_base(d)->q_switch, ==, 3);
    g_assert_cmpstr(d->next->next->name, ==, "c");
    check_same(&qapi_type_Derived, text);
    check_same(&qapi_type_Empty, "{}");
    check_error(&qapi_type_Derived, QAPI_STRICT,
                "{'name':'a','next':{'name':'b','next':{'name':1}}}",
                "Invalid parameter type for 'next.next.name', expected: "
                "string");
}

/* A union whose branch is a union. */
static void test_union(void)
{
    Error *err = NULL;
    g_autoptr(json_t) value = parse("{'id':'x','color':'red',"
                                    "'kind':'circle','name':'n'}");
    g_autoptr(Outer) o = Outer_from_json(value, QAPI_STRICT, &err);

    g_assert_cmpint(o->color, ==, COLOR_RED);
    g_assert_cmpint(o->u.red.kind, ==, FORM_CIRCLE);
    g_assert_cmpstr(o->u.red.u.circle.name, ==, "n");
    check_same(&qapi_type_Outer, "{\"id\": \"x\", \"color\": \"red\", "
               "\"kind\": \"circle\", \"name\": \"n\"}");
    check_same(&qapi_type_Outer, "{\"id\": \"x\", \"color\": \"red\", "
               "\"kind\": \"square\"}");
    check_same(&qapi_type_Outer, "{\"id\": \"x\", \"color\": \"3d\"}");
    check_same(&qapi_type_Outer, "{\"id\": \"x\", \"color\": "
               "\"dark-green\", \"list\": [1, 2]}");
    check_error(&qapi_type_Outer, QAPI_STRICT, "{'id':'x'}",
                "Parameter 'color' is missing");
    check_error(&qapi_type_Outer, QAPI_STRICT,
                "{'id':'x','color':'red','kind':'circle'}",
                "Parameter 'name' is missing");
    check_error(&qapi_type_Outer, QAPI_STRICT,
                "{'id':'x','color':'red','kind':'none','name':'n'}",
                "Parameter 'name' is unexpected");
    check_error(&qapi_type_Outer, QAPI_STRICT,
                "{'id':'x','color':'3d','kind':'none'}",
                "Parameter 'kind' is unexpected");
}

static void test_alternate(void)
{
    static const char *const same[] = {
        "{\"alt\": \"name\"}", "{\"alt\": null}", "{\"alt\": 7}",
        "{\"alt\": false}", "{\"alt\": [\"a\", \"b\"]}",
        "{\"alt\": {\"id\": \"x\", \"color\": \"3d\"}}",
        "{\"alts\": [null, \"a\", {\"id\": \"x\", \"color\": \"3d\"}]}",
    };
    Error *err = NULL;
    g_autoptr(json_t) value = parse("{'id':'x','color':'3d'}");
    g_autoptr(Alt) alt = Alt_from_json(value, QAPI_STRICT, &err);

    g_assert_cmpint(alt->type, ==, QTYPE_QDICT);
    g_assert_cmpstr(alt->u.def.id, ==, "x");
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        check_same(&qapi_type_Optionals, same[i]);
    }
    check_same(&qapi_type_HasEnumAlt, "{\"alt\": \"square\"}");
    check_same(&qapi_type_HasEnumAlt, "{\"alt\": {\"name\": \"x\"}}");
    check_error(&qapi_type_HasEnumAlt, QAPI_STRICT, "{'alt': 3}",
                "Invalid parameter type for 'alt', expected: EnumAlt");
    check_error(&qapi_type_HasEnumAlt, QAPI_STRICT, "{'alt': 'red'}",
                "Parameter 'alt' does not accept value 'red'");
    check_error(&qapi_type_HasEnumAlt, QAPI_STRICT, "{'alt': {}}",
                "Parameter 'alt.name' is missing");
}

/* ---- key=value ---- */

static void test_keyval(void)
{
    check_round(&qapi_type_Optionals, QAPI_KEYVAL,
                "{'str':'1','number':'1.5','int':'-0x10','int8':'-5',"
                "'uint16':'017','uint64':'18446744073709551615',"
                "'size':'1.5k','bool':'on','enum':'red',"
                "'struct':{'name':'x'},'strings':['a'],'alt':'ref'}",
                "{\"str\": \"1\", \"number\": 1.5, \"int\": -16, "
                "\"int8\": -5, \"uint16\": 15, "
                "\"uint64\": 18446744073709551615, \"size\": 1536, "
                "\"bool\": true, \"enum\": \"red\", "
                "\"struct\": {\"name\": \"x\"}, \"strings\": [\"a\"], "
                "\"alt\": \"ref\"}");
    check_round(&qapi_type_Optionals, QAPI_KEYVAL,
                "{'number':2,'int':5,'size':64,'bool':false}",
                "{\"number\": 2, \"int\": 5, \"size\": 64, "
                "\"bool\": false}");
}

static void test_keyval_bool(void)
{
    static const char *const words[] = {
        "on", "yes", "true", "y", "off", "no", "false", "n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        g_autofree char *text = g_strdup_printf("{'bool':'%s'}", words[i]);

        check_round(&qapi_type_Optionals, QAPI_KEYVAL, text,
                    i < 4 ? "{\"bool\": true}" : "{\"bool\": false}");
    }
}

static void test_keyval_errors(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{'int': '5k'}", "Parameter 'int' expects integer" },
        { "{'int': ''}", "Parameter 'int' expects integer" },
        { "{'int': '9223372036854775808'}",
          "Parameter 'int' expects integer" },
        { "{'int8': '128'}", "Parameter 'int8' expects int8_t" },
        { "{'uint16': '-1'}", "Parameter 'uint16' expects uint16_t" },
        { "{'uint64': '5k'}", "Parameter 'uint64' expects integer" },
        { "{'size': '10q'}", "Parameter 'size' expects size" },
        { "{'size': '16E'}", "Parameter 'size' expects size" },
        { "{'size': '-1'}", "Parameter 'size' expects size" },
        { "{'bool': 'On'}", "Parameter 'bool' expects 'on' or 'off'" },
        { "{'bool': ''}", "Parameter 'bool' expects 'on' or 'off'" },
        { "{'enum': 'blue'}", "Parameter 'enum' does not accept value 'blue'" },
        { "{'str': {'x': '1'}}", "Parameters 'str.*' are unexpected" },
        { "{'int': ['1']}", "Parameters 'int.*' are unexpected" },
        { "{'struct': 'x'}",
          "Invalid parameter type for 'struct', expected: object" },
        { "{'struct': {'name': {'x': '1'}}}",
          "Parameters 'struct.name.*' are unexpected" },
        { "{'bases': [{'switch': '1'}]}",
          "Parameter 'bases.0.name' is missing" },
        { "{'list': ['x']}", "Parameter 'list.0' expects integer" },
        { "{'foo': {'x': '1'}}", "Parameter 'foo' is unexpected" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_error(&qapi_type_Optionals, QAPI_KEYVAL, cases[i].text,
                    cases[i].message);
    }
}

/* ---- enums, lists ---- */

static void test_enum(void)
{
    Error *err = NULL;

    g_assert_cmpstr(Color_str(COLOR_DARK_GREEN), ==, "dark-green");
    g_assert_cmpstr(Color_str(COLOR_3D), ==, "3d");
    g_assert_cmpint(COLOR__MAX, ==, 4);
    g_assert_cmpint(Shape_parse("square", -1, &err), ==, FORM_SQUARE);
    g_assert_cmpint(Shape_parse(NULL, FORM_NONE, &err), ==, FORM_NONE);
    g_assert_null(err);
    g_assert_cmpint(Shape_parse("SQUARE", FORM_NONE, &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "invalid parameter value: SQUARE");
    error_free(err);
}

static void test_list(void)
{
    g_autoptr(strList) list = NULL;
    strList **tail = &list;
    g_autoptr(json_t) value = NULL, empty = parse("[]");
    g_autoptr(strList) back = NULL;
    g_autofree char *out = NULL;
    Error *err = NULL;

    QAPI_LIST_APPEND(tail, g_strdup("b"));
    QAPI_LIST_APPEND(tail, g_strdup("c"));
    QAPI_LIST_PREPEND(list, g_strdup("a"));
    value = strList_to_json(list);
    out = json_format(value);
    g_assert_cmpstr(out, ==, "[\"a\", \"b\", \"c\"]");
    g_assert_true(strList_from_json(empty, QAPI_STRICT, &back, &err));
    g_assert_null(back);
}

/* ---- commands and events ---- */

bool qmp_do_nothing(Co *co, Error **errp)
{
    return true;
}

bool qmp_do_expanded(Co *co, const char *name, bool has_count, int64_t count,
                     Base *base, bool has_list, strList *list, BaseList **ret,
                     Error **errp)
{
    BaseList **tail = ret;

    for (int64_t i = 0; i < (has_count ? count : 1); i++) {
        Base *b = g_new0(Base, 1);

        b->name = g_strdup(has_list && list ? list->value : name);
        b->has_q_switch = base && base->has_q_switch;
        b->q_switch = base ? base->q_switch : 0;
        QAPI_LIST_APPEND(tail, b);
    }
    return true;
}

bool qmp_do_boxed(Co *co, Outer *arg, int64_t *ret, Error **errp)
{
    *ret = strlen(arg->id);
    return true;
}

bool qmp_do_text(Co *co, bool fail, char **ret, Error **errp)
{
    if (fail) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "no luck");
        return false;
    }
    *ret = g_strdup("text");
    return true;
}

bool qmp_do_raw(Co *co, json_t *args, json_t **ret, Error **errp)
{
    *ret = json_incref(json_object_get(args, "x"));
    return true;
}

/* Calls the command; what it returns, or the error behind "! ". */
static char *call(const char *name, const char *args)
{
    const QmpCommand *cmd = qmp_command_find(name);
    g_autoptr(json_t) value = args ? parse(args) : NULL;
    g_autoptr(json_t) ret = NULL;
    g_autoptr(Error) err = NULL;

    g_assert_nonnull(cmd);
    if (!cmd->marshal(NULL, value, &ret, &err)) {
        return g_strdup_printf("! %s", error_get_pretty(err));
    }
    return json_format(ret);
}

static void check_call(const char *name, const char *args,
                       const char *expected)
{
    g_autofree char *out = call(name, args);

    g_assert_cmpstr(out, ==, expected);
}

static void test_commands(void)
{
    check_call("do-nothing", NULL, "{}");
    check_call("do-nothing", "{}", "{}");
    check_call("do-nothing", "{'a':1}", "! Parameter 'a' is unexpected");
    check_call("do-expanded", NULL, "! Parameter 'name' is missing");
    check_call("do-expanded", "{'name':'x'}", "[{\"name\": \"x\"}]");
    check_call("do-expanded", "{'name':'x','count':0}", "[]");
    check_call("do-expanded", "{'name':'x','count':2,'list':['y','z'],"
               "'base':{'name':'b','switch':3}}",
               "[{\"name\": \"y\", \"switch\": 3}, "
               "{\"name\": \"y\", \"switch\": 3}]");
    check_call("do-boxed", "{'id':'abc','color':'3d'}", "3");
    check_call("do-text", "{'fail':false}", "\"text\"");
    check_call("do-text", "{'fail':true}", "! no luck");
    check_call("do-raw", "{'x':[1]}", "[1]");
}

static void test_command_table(void)
{
    g_assert_null(qmp_command_find("not-yet"));
    g_assert_null(qmp_command_find("never"));
    g_assert_null(qmp_command_find("do"));
    g_assert_cmpuint(qmp_command_find("do-nothing")->flags, ==,
                     QMP_COMMAND_ALLOW_OOB);
    g_assert_cmpuint(qmp_command_find("do-raw")->flags, ==, 0);
}

static GString *emitted;

void qapi_event_emit(QAPIEvent event, json_t *data)
{
    g_autofree char *text = json_format(data);

    g_string_append_printf(emitted, "%s %s\n", QAPIEvent_str(event), text);
    json_decref(data);
}

static void test_events(void)
{
    Base base = { .name = (char *)"b" };

    emitted = g_string_new(NULL);
    qapi_event_send_happened("x", true, 0, NULL, NULL);
    qapi_event_send_happened("x", false, 7, "y", &base);
    qapi_event_send_plain();
    qapi_event_send_boxed(&base);
    g_assert_cmpstr(emitted->str, ==,
                    "HAPPENED {\"name\": \"x\", \"count\": 0}\n"
                    "HAPPENED {\"name\": \"x\", \"why\": \"y\", "
                    "\"base\": {\"name\": \"b\"}}\n"
                    "PLAIN {}\n"
                    "BOXED {\"name\": \"b\"}\n");
    g_string_free(emitted, TRUE);
}

/* ---- introspection ---- */

/* The entry of that name. */
static json_t *entry(json_t *schema, const char *name)
{
    size_t i;
    json_t *value;

    json_array_foreach(schema, i, value) {
        if (!strcmp(json_string_value(json_object_get(value, "name")),
                    name)) {
            return value;
        }
    }
    return NULL;
}

static json_t *type_of(json_t *schema, json_t *from, const char *key)
{
    return entry(schema, json_string_value(json_object_get(from, key)));
}

static void check_entry(json_t *value, const char *expected)
{
    g_autofree char *text = json_format(value);

    g_assert_cmpstr(text, ==, expected);
}

static void test_introspect(void)
{
    g_autoptr(json_t) schema = qapi_introspect(qapi_interface_commands,
                                               qapi_interface_events);
    json_t *expanded = entry(schema, "do-expanded");
    json_t *args = type_of(schema, expanded, "arg-type");
    json_t *list = type_of(schema, expanded, "ret-type");
    json_t *outer = type_of(schema, entry(schema, "do-boxed"), "arg-type");
    json_t *color, *member;

    g_assert_null(entry(schema, "not-yet"));
    g_assert_null(entry(schema, "never"));
    g_assert_null(entry(schema, "NOT_YET"));
    g_assert_null(entry(schema, "Base"));
    g_assert_true(json_is_true(json_object_get(entry(schema, "do-nothing"),
                                               "allow-oob")));
    check_entry(json_object_get(expanded, "features"), "[\"unstable\"]");
    check_entry(type_of(schema, entry(schema, "do-nothing"), "ret-type"),
                "{\"name\": \"0\", \"meta-type\": \"object\", "
                "\"members\": []}");
    check_entry(json_array_get(json_object_get(args, "members"), 1),
                "{\"name\": \"count\", \"type\": \"int\", "
                "\"default\": null}");
    check_entry(entry(schema, "str"), "{\"name\": \"str\", \"meta-type\": "
                "\"builtin\", \"json-type\": \"string\"}");
    check_entry(json_object_get(list, "meta-type"), "\"array\"");
    check_entry(json_object_get(outer, "tag"), "\"color\"");
    g_assert_cmpuint(json_array_size(json_object_get(outer, "variants")), ==,
                     4);
    member = json_array_get(json_object_get(outer, "members"), 1);
    color = type_of(schema, member, "type");
    check_entry(json_object_get(color, "members"),
                "[{\"name\": \"red\"}, {\"name\": \"dark-green\"}, "
                "{\"name\": \"3d\"}, {\"name\": \"old\", "
                "\"features\": [\"deprecated\"]}]");
    check_entry(json_object_get(color, "values"),
                "[\"red\", \"dark-green\", \"3d\", \"old\"]");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/scalars", test_scalars);
    g_test_add_func("/qapi/negative-unsigned", test_negative_unsigned);
    g_test_add_func("/qapi/types", test_types);
    g_test_add_func("/qapi/optionals", test_optionals);
    g_test_add_func("/qapi/struct", test_struct);
    g_test_add_func("/qapi/union", test_union);
    g_test_add_func("/qapi/alternate", test_alternate);
    g_test_add_func("/qapi/keyval/values", test_keyval);
    g_test_add_func("/qapi/keyval/bool", test_keyval_bool);
    g_test_add_func("/qapi/keyval/errors", test_keyval_errors);
    g_test_add_func("/qapi/enum", test_enum);
    g_test_add_func("/qapi/list", test_list);
    g_test_add_func("/qapi/commands", test_commands);
    g_test_add_func("/qapi/command-table", test_command_table);
    g_test_add_func("/qapi/events", test_events);
    g_test_add_func("/qapi/introspect", test_introspect);
    return g_test_run();
}
