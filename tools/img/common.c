/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the subcommands of qemu-img share: reading arguments, opening images,
 * complaining in QEMU's words.
 */
#include "util/osdep.h"

#include "tools/img/img.h"
#include "util/bytes.h"
#include "util/json.h"

/* ---- arguments ---- */

int img_usage_error(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("%s", text);
    fprintf(stderr, "Try 'qemu-img --help' for more information\n");
    return 1;
}

int img_getopt(int argc, char **argv, const char *shortopts,
               const struct option *longopts)
{
    int c = getopt_long(argc, argv, shortopts, longopts, NULL);

    switch (c) {
    case 'h':
        img_help();
        break;
    case ':':
        img_usage_error("missing argument for option '%s'",
                        argv[optind - 1]);
        break;
    case '?':
        img_usage_error("unrecognized option '%s'", argv[optind - 1]);
        break;
    default:
        break;
    }
    return c;
}

int img_getopt_code(int c)
{
    return c == 'h' ? 0 : 1;
}

int img_parse_options(Co *co, int argc, char **argv, const char *shortopts,
                      const struct option *longopts, ImgTakeFn *take,
                      void *args)
{
    int c, ret;

    while ((c = img_getopt(argc, argv, shortopts, longopts)) != -1) {
        ret = take(co, args, c);
        if (ret >= 0) {
            return ret;
        }
    }
    return -1;
}

int img_parse_file(Co *co, int argc, char **argv, const char *shortopts,
                   const struct option *longopts, ImgTakeFn *take,
                   void *args, const char **name)
{
    int ret = img_parse_options(co, argc, argv, shortopts, longopts, take,
                                args);

    if (ret >= 0) {
        return ret;
    }
    if (optind != argc - 1) {
        return img_usage_error("Expecting one image file name");
    }
    *name = argv[optind];
    return -1;
}

int img_take_source(Co *co, ImgSource *src, int c)
{
    switch (c) {
    case 'f':
        src->format = optarg;
        return -1;
    case 'U':
        src->flags |= OPEN_FORCE_SHARE;
        return -1;
    case IMG_OPT_IMAGE_OPTS:
        src->image_opts = true;
        return -1;
    case IMG_OPT_OBJECT:
        return img_object(co, optarg);
    default:
        return img_getopt_code(c);
    }
}

static void img_report_not_a_size(const char *what)
{
    error_report("Invalid %s specified. You may use k, M, G, T, P or E "
                 "suffixes for", what);
    error_report("kilobytes, megabytes, gigabytes, terabytes, petabytes and "
                 "exabytes.");
}

bool img_parse_size(const char *what, const char *value, int64_t min,
                    int64_t max, int64_t *ret)
{
    uint64_t n;
    int r = size_parse(value, 'B', NULL, &n);

    if (r < 0 && r != -ERANGE) {
        img_report_not_a_size(what);
        return false;
    }
    if (r < 0 || n > (uint64_t)max || n < (uint64_t)min) {
        error_report("Invalid %s specified. Must be between %" PRId64
                     " and %" PRId64 ".", what, min, max);
        return false;
    }
    *ret = n;
    return true;
}

bool img_parse_number(const char *value, int64_t min, int64_t max,
                      int64_t *ret)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(value, &end, 0);
    if (errno || end == value || *end || n < min || n > max) {
        return false;
    }
    *ret = n;
    return true;
}

/* Not empty, no comma at its beginning, none without a partner at its end. */
static bool img_is_option_list(const char *value)
{
    size_t len = strlen(value);
    size_t commas = 0;

    if (len == 0 || value[0] == ',') {
        return false;
    }
    while (commas < len && value[len - 1 - commas] == ',') {
        commas++;
    }
    return commas % 2 == 0;
}

bool img_add_options(char **list, const char *value)
{
    char *joined;

    if (!img_is_option_list(value)) {
        error_report("Invalid option list: %s", value);
        return false;
    }
    joined = *list ? g_strdup_printf("%s,%s", *list, value) : g_strdup(value);
    g_free(*list);
    *list = joined;
    return true;
}

bool img_wants_help(const char *list)
{
    while (list && *list) {
        size_t len = 0;

        while (list[len] && (list[len] != ',' || list[len + 1] == ',')) {
            len += list[len] == ',' ? 2 : 1;
        }
        if ((len == 4 && !strncmp(list, "help", 4)) ||
            (len == 1 && list[0] == '?')) {
            return true;
        }
        list += len + (list[len] == ',');
    }
    return false;
}

int img_object(Co *co, const char *arg)
{
    Error *err = NULL;
    bool help;

    if (!tool_add_object(co, arg, &help, &err)) {
        error_report_err(err);
        return 1;
    }
    return help ? 0 : -1;
}

bool img_target_cache(const char *mode, OpenFlags *flags, bool *write_through)
{
    if (!tool_cache_mode(mode, flags, write_through)) {
        error_report("Invalid cache option: %s", mode);
        return false;
    }
    return true;
}

bool img_source_cache(const char *mode, OpenFlags *flags, bool *write_through)
{
    if (!tool_cache_mode(mode, flags, write_through)) {
        error_report("Invalid source cache option: %s", mode);
        return false;
    }
    return true;
}

/* ---- output ---- */

bool img_parse_output(const char *value, ImgOutput *ret)
{
    if (!g_strcmp0(value, "json")) {
        *ret = IMG_OUTPUT_JSON;
    } else if (!value || !strcmp(value, "human")) {
        *ret = IMG_OUTPUT_HUMAN;
    } else {
        error_report("--output must be used with human or json as argument.");
        return false;
    }
    return true;
}

void img_print_json(json_t *value)
{
    g_autoptr(json_t) ordered = tool_order_members(value);
    g_autofree char *text = json_format_pretty(ordered);

    printf("%s\n", text);
    json_decref(value);
}

/* ---- images ---- */

bool img_check_source(bool image_opts, const char *format)
{
    if (image_opts && format) {
        error_report("--image-opts and --format are mutually exclusive");
        return false;
    }
    return true;
}

Root *img_try_open(Co *co, const ImgSource *src, Error **errp)
{
    ERRP_GUARD();
    Node *node = src->image_opts ?
        open_image_opts(co, src->name, src->flags, errp) :
        open_filename(co, src->name, src->format, NULL, src->flags, errp);
    Root *root = NULL;

    if (node) {
        root = tool_root_new(co, node, src->flags, src->alone, errp);
    }
    if (!root) {
        error_prepend(errp, "Could not open '%s': ", src->name);
        return NULL;
    }
    root->write_through = src->write_through;
    return root;
}

Root *img_open(Co *co, const ImgSource *src)
{
    Error *err = NULL;
    Root *root = img_try_open(co, src, &err);

    if (!root) {
        error_report_err(err);
    }
    return root;
}
