#include "gateway/subtitle.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Octets of the UTF-8 character at `p`; 0: it is none. */
static size_t utf8(const uint8_t *p, size_t len) {
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;
    for (size_t i = 1; i < n; i++)
        if (i >= len || (p[i] & 0xc0) != 0x80)
            return 0;
    bool odd = n > len ||
               (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))) ||
               (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)));
    return odd ? 0 : n;
}

static bool is_utf8(const uint8_t *p, size_t len) {
    for (size_t n; len; p += n, len -= n)
        if ((n = utf8(p, len)) == 0)
            return false;
    return true;
}

static bool number(const char **at, const char *end, unsigned digits, unsigned long *ret) {
    unsigned n = 0;
    *ret = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && n < digits; ++*at, n++)
        *ret = *ret * 10 + (unsigned long)(**at - '0');
    return n > 0;
}

/* "1:02:03,4" as milliseconds. */
static bool time_at(const char **at, const char *end, unsigned long *ret) {
    unsigned long h, m, s, ms = 0;
    if (!number(at, end, 4, &h) || *at == end || *(*at)++ != ':' || !number(at, end, 2, &m) ||
        *at == end || *(*at)++ != ':' || !number(at, end, 2, &s) || m > 59 || s > 59)
        return false;
    if (*at < end && (**at == ',' || **at == '.')) {
        const char *first = ++*at;
        if (!number(at, end, 3, &ms))
            return false;
        for (long n = *at - first; n < 3; n++)
            ms *= 10;
    }
    *ret = ((h * 60 + m) * 60 + s) * 1000 + ms;
    return true;
}

static const char *blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* The line that says when; what stands behind it (places on the screen) is left out. */
static bool read_timing(const char *at, const char *end, unsigned long ret[2]) {
    at = blanks(at, end);
    if (!time_at(&at, end, &ret[0]))
        return false;
    at = blanks(at, end);
    if (end - at < 3 || memcmp(at, "-->", 3) != 0)
        return false;
    at = blanks(at + 3, end);
    return time_at(&at, end, &ret[1]) && ret[0] < ret[1];
}

static void write_time(FILE *out, unsigned long ms) {
    fprintf(out, "%02lu:%02lu:%02lu.%03lu", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
            ms % 1000);
}

/* No line may look like a timing, nothing may begin an entity or, but for the tags that
 * both formats have, a tag. */
static void write_text(FILE *out, const char *at, const char *end, bool unicode) {
    static const char *const tags[] = {"<b>", "</b>", "<i>", "</i>", "<u>", "</u>"};
    while (at < end) {
        size_t i = 0;
        while (i < sizeof tags / sizeof *tags &&
               ((size_t)(end - at) < strlen(tags[i]) || memcmp(at, tags[i], strlen(tags[i])) != 0))
            i++;
        uint8_t c = (uint8_t)*at;
        if (i < sizeof tags / sizeof *tags) {
            fputs(tags[i], out);
            at += strlen(tags[i]);
            continue;
        }
        const char *close = c == '<' ? memchr(at, '>', (size_t)(end - at)) : NULL;
        if (close) { /* <font ...> and the like */
            at = close + 1;
            continue;
        }
        if (c == '&' || c == '<' || c == '>')
            fputs(c == '&' ? "&amp;" : c == '<' ? "&lt;" : "&gt;", out);
        else if (c >= 0x80 && !unicode)
            fprintf(out, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
        else if (c)
            fputc(c, out);
        at++;
    }
    fputc('\n', out);
}

/* The next line without its end; false: there is none. */
static bool next_line(const char **at, const char *end, const char **ret_end) {
    if (*at >= end)
        return false;
    const char *p = *at;
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    *ret_end = p;
    return true;
}

static const char *behind_line(const char *line_end, const char *end) {
    if (line_end < end && *line_end == '\r')
        line_end++;
    if (line_end < end && *line_end == '\n')
        line_end++;
    return line_end;
}

static void convert(FILE *out, const char *at, const char *end, bool unicode) {
    const char *line_end;
    unsigned long when[2];
    bool inside = false;
    fputs("WEBVTT\n", out);
    for (; next_line(&at, end, &line_end); at = behind_line(line_end, end)) {
        if (read_timing(at, line_end, when)) {
            fputc('\n', out);
            write_time(out, when[0]);
            fputs(" --> ", out);
            write_time(out, when[1]);
            fputc('\n', out);
            inside = true;
        } else if (at == line_end) {
            inside = false; /* what stands between is a number, or nothing */
        } else if (inside) {
            write_text(out, at, line_end, unicode);
        }
    }
}

char *gw_subtitle_vtt(const uint8_t *srt, size_t len, size_t *ret_len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);
    if (!out)
        return NULL;
    bool unicode = is_utf8(srt, len),
         marked = unicode && len >= 3 && !memcmp(srt, "\xef\xbb\xbf", 3);
    const char *begin = (const char *)srt + (marked ? 3 : 0);
    convert(out, begin, (const char *)srt + len, unicode);
    bool whole = !ferror(out);
    if (fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}
