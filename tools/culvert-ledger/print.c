#include "culvert-ledger/print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

FILE *ledger_output_open(const struct ledger_file *f, const char *path) {
    struct stat to, from;
    if (!path)
        return stdout;
    if (stat(path, &to) == 0 && stat(f->path, &from) == 0 && to.st_dev == from.st_dev &&
        to.st_ino == from.st_ino)
        ledger_die(LEDGER_USAGE, "%s: is the ledger itself; name another file with --output", path);
    FILE *file = fopen(path, "w");
    if (!file)
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written (%s)", path, strerrorname_np(errno));
    return file;
}

void ledger_output_done(FILE *to, const char *path) {
    if (path && (ferror(to) | fclose(to)))
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written whole; is the disk full?", path);
}

void ledger_print_json(json_t *value) {
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

json_t *ledger_json_id(const struct ledger_file *f, const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    return json_string(ledger_id(f, key, hex));
}

json_t *ledger_json_hex(const uint8_t *data, size_t len) {
    char hex[2 * REP_RECORD + 1];
    return len <= REP_RECORD ? json_string(cv_hex(data, len, hex)) : NULL;
}

json_t *ledger_json_octets(uint64_t n) {
    return json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX);
}

const char *ledger_size(uint64_t n, char out[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    unsigned i = 0;
    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    snprintf(out, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
    return out;
}

const char *ledger_short(const struct ledger_file *f, const uint8_t key[CV_KEY], char out[256]) {
    char hex[2 * CV_KEY + 1];
    const char *name = ledger_id(f, key, hex);
    snprintf(out, 256, "%.*s", name == hex ? LEDGER_SHORT : 255, name);
    return ledger_one_line(out);
}
