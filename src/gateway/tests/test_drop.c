#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/drop.h"
#include "support/suite.h"

CV_SUITE(gw_drop);

#define ID(c)                                                                                      \
    c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c /* GW_DROP_ID of one digit */

static char folder[64];

static struct gw_drops *open_all(void) {
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/culvert-drop-XXXXXX");
        cr_assert(mkdtemp(folder));
    }
    struct io_why why;
    struct gw_drops *d =
        gw_drops_open(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder, &why);
    cr_assert(d);
    return d;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void close_all(struct gw_drops *d) {
    gw_drops_close(d);
    cr_expect_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static int put(struct gw_drops *d, const char *id, const char *name, uint64_t length, uint64_t at,
               const char *data, uint64_t *ret_at) {
    const struct gw_drop *f = NULL;
    const char *why = "";
    struct gw_piece p = {.id = id,
                         .name = name,
                         .length = length,
                         .at = at,
                         .data = (const uint8_t *)data,
                         .len = strlen(data)};
    int status = gw_drops_put(d, 1, &p, &f, &why);
    cr_expect_eq(status == 200, f != NULL);
    cr_expect_eq(status == 200, *why == 0);
    if (f)
        *ret_at = f->at;
    return status;
}

static bool is_there(const char *name) {
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &st) == 0;
}

Test(gw_drop, pieces_become_a_file) {
    struct gw_drops *d = open_all();
    uint64_t at = 0;
    char path[512], text[32] = "";
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 0, "0123", &at), 200);
    cr_expect_eq(at, 4);
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 0, "0123", &at), 200, "again");
    cr_expect_eq(at, 4);
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 6, "6789", &at), 200, "a gap");
    cr_expect_eq(at, 4);
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 2, "2345", &at), 200, "half of it is known");
    cr_expect_eq(at, 4);
    cr_expect(is_there(ID("a") ".part/film.mp4"));
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 4, "456789", &at), 200);
    cr_expect_eq(at, 10);
    cr_expect_eq(put(d, ID("a"), "film.mp4", 10, 4, "456789", &at), 200, "again");
    gw_drops_path(d, gw_drops_find(d, ID("a")), path, sizeof path);
    FILE *file = fopen(path, "r");
    cr_assert(file && fgets(text, sizeof text, file));
    fclose(file);
    cr_expect_str_eq(text, "0123456789");
    gw_drops_note(d, ID("a"), "culvert:?x=1", NULL);
    json_t *list = gw_drops_list(d);
    cr_expect_eq(json_array_size(list), 1);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "uri")),
                     "culvert:?x=1");
    json_decref(list);
    cr_expect(gw_drops_remove(d, ID("a")));
    cr_expect_not(gw_drops_remove(d, ID("a")));
    cr_expect_not(is_there(ID("a")));
    close_all(d);
}

Test(gw_drop, what_is_no_piece_is_refused) {
    struct gw_drops *d = open_all();
    static char long_name[GW_DROP_NAME + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    static const char one[] = "1";
    const struct {
        const char *id, *name;
        uint64_t length, at;
        const char *data;
        int status;
    } rows[] = {
        {NULL, "a", 1, 0, one, 400},
        {ID("a"), NULL, 1, 0, one, 400},
        {"", "a", 1, 0, one, 400},
        {ID("A"), "a", 1, 0, one, 400},
        {ID("a") "a", "a", 1, 0, one, 400},
        {"../../../../../../../../../../etc", "a", 1, 0, one, 400},
        {"..", "a", 1, 0, one, 400},
        {ID("a"), "", 1, 0, one, 400},
        {ID("a"), ".", 1, 0, one, 400},
        {ID("a"), "..", 1, 0, one, 400},
        {ID("a"), "../a", 1, 0, one, 400},
        {ID("a"), "/etc/passwd", 1, 0, one, 400},
        {ID("a"), "a/b", 1, 0, one, 400},
        {ID("a"), "a\nb", 1, 0, one, 400},
        {ID("a"), "a\x7f", 1, 0, one, 400},
        {ID("a"), "a\xff", 1, 0, one, 400},
        {ID("a"), long_name, 1, 0, one, 400},
        {ID("a"), "a", 0, 0, one, 400},
        {ID("a"), "a", UINT64_MAX, 0, one, 400},
        {ID("a"), "a", (uint64_t)INT64_MAX + 1, 0, one, 400},
        {ID("a"), "a", 1, 0, "", 400},
        {ID("a"), "a", 1, 1, one, 400},
        {ID("a"), "a", 1, 2, one, 400},
        {ID("a"), "a", 1, UINT64_MAX, one, 400},
        {ID("a"), "a", 1, 0, "12", 400},
        {ID("a"), "a", 2, 1, one, 404},
        {ID("a"), "a", INT64_MAX, 0, one, 507},
        {ID("a"), "-rf \"$(x)\" \\", 2, 0, one, 200},
        {ID("a"), "a", 2, 1, one, 409},
        {ID("a"), "-rf \"$(x)\" \\", 3, 1, one, 409},
        {ID("b"), "..a", 2, 0, one, 200},
    };
    uint64_t at;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(
            put(d, rows[i].id, rows[i].name, rows[i].length, rows[i].at, rows[i].data, &at),
            rows[i].status, "row %zu", i);
    close_all(d);
}

Test(gw_drop, whole_ones_stay_over_a_restart_and_others_do_not) {
    struct gw_drops *d = open_all();
    uint64_t at;
    char path[512];
    cr_expect_eq(put(d, ID("a"), "film.mp4", 4, 0, "0123", &at), 200);
    cr_expect_eq(put(d, ID("b"), "half.mp4", 10, 0, "0123", &at), 200);
    gw_drops_close(d);
    /* What else may lie there is nobody's film: links, files, a folder of something else. */
    snprintf(path, sizeof path, "%s/" ID("c"), folder);
    cr_assert_eq(symlink("/etc", path), 0);
    snprintf(path, sizeof path, "%s/" ID("d"), folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/" ID("d") "/passwd", folder);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/keep", folder);
    cr_assert_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    d = open_all();
    const struct gw_drop *f = gw_drops_find(d, ID("a"));
    cr_assert(f);
    cr_expect(f->length == 4 && f->at == 4 && !strcmp(f->name, "film.mp4"));
    cr_expect_not(gw_drops_find(d, ID("b")) || gw_drops_find(d, ID("c")) ||
                  gw_drops_find(d, ID("d")));
    cr_expect_not(is_there(ID("b") ".part"));
    cr_expect(is_there("keep") && access("/etc/passwd", F_OK) == 0);
    close_all(d);
}

Test(gw_drop, they_do_not_pile_up) {
    struct gw_drops *d = open_all();
    uint64_t at;
    char id[GW_DROP_ID + 1];
    for (unsigned i = 0; i <= GW_DROPS_MAX; i++) {
        snprintf(id, sizeof id, "%032x", i);
        cr_expect_eq(put(d, id, "a", 1 + i % 2, 0, "x", &at), i < GW_DROPS_MAX ? 200 : 503);
    }
    gw_drops_expire(d, 1 + GW_DROP_PATIENCE);
    cr_expect_neq(gw_drops_at(d, 1)->id[0], 0);
    gw_drops_expire(d, 2 + GW_DROP_PATIENCE); /* those that are half there go */
    cr_expect(gw_drops_at(d, 0)->id[0] && !gw_drops_at(d, 1)->id[0]);
    cr_expect_eq(gw_drops_at(d, GW_DROPS_MAX), NULL);
    cr_expect_eq(put(d, id, "a", 1, 0, "x", &at), 200);
    close_all(d);
}
