#include "io/trace_sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/limits.h"

static const char *const layers[] = {
    [CV_LAYER_IO] = "io",     [CV_LAYER_NODE] = "node", [CV_LAYER_TUNNEL] = "tunnel",
    [CV_LAYER_PPSP] = "ppsp", [CV_LAYER_DHT] = "dht",   [CV_LAYER_LEDGER] = "ledger",
};

/* A decimal number as JSON writes it: no leading zeros (ids have them). */
static bool is_number(const char *s, size_t len) {
    size_t i = len > 0 && s[0] == '-';
    if (i == len || len > 20 || (s[i] == '0' && len > i + 1 && s[i + 1] != '.'))
        return false;
    bool point = false;
    for (size_t first = i; i < len; i++) {
        if (s[i] == '.' && !point && i > first && i + 1 < len)
            point = true;
        else if (s[i] < '0' || s[i] > '9')
            return false;
    }
    return true;
}

struct text {
    char *at;
    size_t left;
};

static bool put(struct text *t, const char *s, size_t len) {
    if (len > t->left)
        return false;
    memcpy(t->at, s, len);
    t->at += len;
    t->left -= len;
    return true;
}

static bool put_string(struct text *t, const char *s, size_t len) {
    bool ok = put(t, "\"", 1);
    for (size_t i = 0; ok && i < len; i++) {
        char escape[8];
        if (s[i] == '"' || s[i] == '\\') {
            char two[2] = {'\\', s[i]};
            ok = put(t, two, 2);
        } else if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] > 0x7e) {
            /* Octets are not characters; this keeps the line valid anyway. */
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)s[i]);
            ok = put(t, escape, 6);
        } else {
            ok = put(t, &s[i], 1);
        }
    }
    return ok && put(t, "\"", 1);
}

/* ,"key":value or nothing at all when it does not fit. */
static bool put_field(struct text *t, const char *field, size_t len) {
    const char *equals = memchr(field, '=', len);
    if (!equals)
        return true;
    struct text trial = *t;
    size_t key = (size_t)(equals - field), value = len - key - 1;
    bool ok = put(&trial, ",", 1) && put_string(&trial, field, key) && put(&trial, ":", 1);
    ok = ok && (is_number(equals + 1, value) ? put(&trial, equals + 1, value)
                                             : put_string(&trial, equals + 1, value));
    if (ok)
        *t = trial;
    return ok;
}

size_t io_trace_line(char *out, size_t cap, enum cv_layer layer, const char *event, cv_usec now,
                     const char *fields) {
    assert(cap >= 128);
    assert(layer < sizeof layers / sizeof *layers);
    int n = snprintf(out, cap, "{\"t\":%llu,\"layer\":\"%s\",\"event\":\"%.40s\"",
                     (unsigned long long)now, layers[layer], event);
    struct text t = {out + n, cap - (size_t)n - sizeof "}\n"};
    while (*fields) {
        size_t len = strcspn(fields, " ");
        if (!put_field(&t, fields, len))
            break;
        fields += len;
        fields += strspn(fields, " ");
    }
    memcpy(t.at, "}\n", sizeof "}\n");
    return (size_t)(t.at - out) + 2;
}

static __attribute__((format(printf, 5, 6))) void
write_event(void *ctx, enum cv_layer layer, const char *event, cv_usec now, const char *fmt, ...) {
    char fields[IO_TRACE_LINE / 2], line[IO_TRACE_LINE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(fields, sizeof fields, fmt, args);
    va_end(args);
    size_t len = io_trace_line(line, sizeof line, layer, event, now, fields);
    fwrite(line, 1, len, ctx);
}

enum cv_err io_trace_open(const char *path, struct io_why *why) {
    io_trace_close();
    FILE *f = stderr;
    if (strcmp(path, "-") != 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        f = fd < 0 ? NULL : fdopen(fd, "w");
        if (!f) {
            enum cv_err err = io_why_errno(why, path, errno);
            if (fd >= 0)
                close(fd);
            return err;
        }
    }
    cv_trace_sink = (struct cv_trace_sink){write_event, f};
    return CV_ERR_OK;
}

void io_trace_close(void) {
    FILE *f = cv_trace_sink.fn == write_event ? cv_trace_sink.ctx : NULL;
    if (!f)
        return;
    cv_trace_sink = (struct cv_trace_sink){NULL, NULL};
    if (f != stderr)
        fclose(f);
}
