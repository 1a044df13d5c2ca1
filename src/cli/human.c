#include "cli/human.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static char *with_units(double v, double step, const char *const units[5],
                        char out[CLI_HUMAN_MAX]) {
    size_t u = 0;
    /* What would be printed as four digits of a unit is one of the next. */
    while (v >= step - 0.5 && u < 4) {
        v /= step;
        u++;
    }
    snprintf(out, CLI_HUMAN_MAX, v < 9.95 && u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

char *cli_human(double octets, char out[CLI_HUMAN_MAX]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    return with_units(octets, 1000, units, out);
}

char *cli_human_binary(double octets, char out[CLI_HUMAN_MAX]) {
    static const char *const units[] = {"octets", "KiB", "MiB", "GiB", "TiB"};
    return with_units(octets, 1024, units, out);
}

char *cli_human_period(double seconds, char out[CLI_HUMAN_MAX]) {
    unsigned long s = seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000ul;
    if (s < 100)
        snprintf(out, CLI_HUMAN_MAX, "%lu s", s);
    else if (s < 3600)
        snprintf(out, CLI_HUMAN_MAX, "%lu:%02lu", s / 60, s % 60);
    else if (s < 2 * 86400)
        snprintf(out, CLI_HUMAN_MAX, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, CLI_HUMAN_MAX, "%lu d", s / 86400);
    return out;
}

size_t cli_human_columns(FILE *f) {
    struct winsize size = {0};
    if (!isatty(fileno(f)))
        return 0;
    if (ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    return 80;
}

/* Octets of the character at `text`, valid UTF-8, and its columns. */
static size_t character(const char *text, size_t *ret_columns) {
    const unsigned char *c = (const unsigned char *)text;
    size_t len = *c < 0x80 ? 1 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : 4;
    wchar_t code = (wchar_t)(len == 1 ? *c : *c & (0x7f >> len));
    size_t i = 1;
    for (; i < len && (c[i] & 0xc0) == 0x80; i++)
        code = (wchar_t)(code << 6 | (c[i] & 0x3f));
    int columns = wcwidth(code); /* -1: the locale does not know it */
    *ret_columns = columns < 0 ? 1 : (size_t)columns;
    return i;
}

static size_t columns_of(const char *text) {
    size_t all = 0, one;
    while (*text) {
        text += character(text, &one);
        all += one;
    }
    return all;
}

void cli_human_cell(FILE *out, const char *text, size_t columns) {
    size_t all = columns_of(text), used = 0, one;
    size_t room = all > columns && columns ? columns - 1 : columns; /* one for the ellipsis */
    while (*text) {
        size_t len = character(text, &one);
        if (used + one > room)
            break;
        fwrite(text, 1, len, out);
        used += one;
        text += len;
    }
    if (all > columns && columns) {
        fputs("…", out);
        used++;
    }
    for (; used < columns; used++)
        fputc(' ', out);
}
