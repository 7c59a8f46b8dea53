/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Sizes as people write and read them, and aligned memory.
 *
 * The grammar of a size: blanks, '+', decimal digits, a fraction, one suffix;
 * or 0x and hex digits. No exponents: 'e' is exbi. A fraction is rounded to
 * the nearest byte, and one that has no suffix to multiply it must be zero.
 */
#include "util/bytes.h"

#include <malloc.h>

/* The multiplier's exponent, or -1 if @c is no suffix. */
static int size_suffix_shift(char c)
{
    static const char suffixes[] = "BKMGTPE";
    const char *p = c ? strchr(suffixes, g_ascii_toupper(c)) : NULL;

    return p ? (p - suffixes) * 10 : -1;
}

/* The digits after a point; *@end is set behind them. Less than 1, or 1. */
static double size_parse_fraction(const char *p, const char **end)
{
    size_t n = strspn(p, "0123456789");
    g_autofree char *text = g_strdup_printf("0.%.*s", (int)n, p);

    *end = p + n;
    return g_ascii_strtod(text, NULL);
}

/* The number before the suffix. */
static int size_parse_number(const char *p, const char **end, uint64_t *whole,
                             double *fraction, bool *hex)
{
    char *after;

    *hex = p[0] == '0' && g_ascii_tolower(p[1]) == 'x' &&
           g_ascii_isxdigit(p[2]);
    *fraction = 0;
    if (!*hex && !g_ascii_isdigit(p[*p == '+'])) {
        *end = p;
        return -EINVAL;
    }
    errno = 0;
    *whole = g_ascii_strtoull(p, &after, *hex ? 16 : 10);
    *end = after;
    if (errno) {
        return -errno;
    }
    if (*after == '.' && *hex) {
        return -EINVAL;
    }
    if (*after == '.') {
        *fraction = size_parse_fraction(after + 1, end);
    }
    return 0;
}

/* whole * 2^shift + fraction * 2^shift, rounded to the nearest. */
static int size_scale(uint64_t whole, double fraction, int shift,
                      uint64_t *ret)
{
    uint64_t value, rest;

    if (shift == 0 && fraction != 0) {
        return -EINVAL;
    }
    rest = (uint64_t)(fraction * (double)(UINT64_C(1) << shift) + 0.5);
    if (__builtin_mul_overflow(whole, UINT64_C(1) << shift, &value) ||
        __builtin_add_overflow(value, rest, &value)) {
        return -ERANGE;
    }
    *ret = value;
    return 0;
}

int size_parse(const char *str, char default_suffix, const char **end,
               uint64_t *ret)
{
    const char *p = str, *after;
    uint64_t whole = 0, value = 0;
    double fraction;
    int shift, r;
    bool hex;

    while (g_ascii_isspace(*p)) {
        p++;
    }
    r = size_parse_number(p, &after, &whole, &fraction, &hex);
    if (r == 0) {
        shift = size_suffix_shift(*after);
        if (shift < 0) {
            shift = size_suffix_shift(default_suffix);
            g_assert(shift >= 0);
        } else {
            after++;
            if (hex) {
                warn_report("Using a multiplier suffix on hex numbers is "
                            "deprecated: %s", str);
            }
        }
        r = size_scale(whole, fraction, shift, &value);
    }
    if (end) {
        *end = r == -EINVAL ? str : after;
    } else if (*after) {
        return -EINVAL;
    }
    if (r == 0) {
        *ret = value;
    }
    return r;
}

char *size_to_str(uint64_t bytes)
{
    static const char *const units[] = {
        "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    };
    double value = (double)bytes;
    size_t i = 0;

    /* Three digits before the point at most: 1000 KiB are 0.977 MiB. */
    while (value >= 1000 && i < ARRAY_SIZE(units) - 1) {
        value /= 1024;
        i++;
    }
    return g_strdup_printf("%0.3g %sB", value, units[i]);
}

void *aligned_try_alloc_io(size_t align, size_t len)
{
    void *p = NULL;

    align = MAX(align, sizeof(void *));
    return posix_memalign(&p, align, MAX(len, 1)) == 0 ? p : NULL;
}

void *aligned_alloc_io(size_t align, size_t len)
{
    void *p = aligned_try_alloc_io(align, len);

    if (!p) {
        error_report("Cannot allocate %zu bytes", len);
        exit(1);
    }
    return p;
}

void aligned_free(void *p)
{
    free(p);
}

void memory_give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
