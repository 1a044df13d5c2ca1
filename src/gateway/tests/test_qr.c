#include <stdlib.h>
#include <string.h>

#include "gateway/qr.h"
#include "support/suite.h"

CV_SUITE(gw_qr);

static struct gw_qr q;

/* The squares in three corners by which a reader finds it. */
static bool finder_at(size_t x, size_t y) {
    static const char *const rows[7] = {"1111111", "1000001", "1011101", "1011101",
                                        "1011101", "1000001", "1111111"};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++)
            if (q.dark[y + i][x + j] != (rows[i][j] == '1'))
                return false;
    return true;
}

Test(gw_qr, links_become_squares) {
    char text[GW_QR_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    text[GW_QR_TEXT_MAX + 1] = 0;
    cr_expect_not(gw_qr_make(text, &q));
    cr_expect_not(gw_qr_make("", &q));
    text[GW_QR_TEXT_MAX] = 0;
    cr_assert(gw_qr_make(text, &q));
    cr_expect_leq(q.side, GW_QR_SIDE);
    cr_assert(gw_qr_make("culvert:?x=aeay6mz6", &q));
    cr_expect_eq(q.side, 25); /* version 2 holds 32 octets at the lowest correction */
    cr_expect(finder_at(0, 0) && finder_at(18, 0) && finder_at(0, 18));
}

Test(gw_qr, drawn_two_rows_a_line_with_its_border) {
    cr_assert(gw_qr_make("culvert:", &q));
    cr_assert_eq(q.side, 21);
    char *text = gw_qr_text(&q, false), *rest = text, *line;
    size_t lines = 0;
    while ((line = strsep(&rest, "\n")) != NULL && *line) {
        size_t cells = 0;
        for (const char *c = line; *c; c++)
            cells += ((unsigned char)*c & 0xc0) != 0x80; /* of UTF-8, the first octets */
        cr_expect_eq(cells, 21 + 2 * GW_QR_BORDER);
        cr_expect(strncmp(line, "\u2588\u2588\u2588\u2588", 12) == 0 || rest == NULL ||
                  lines == 14);
        lines++;
    }
    cr_expect_eq(lines, 15);
    free(text);
    text = gw_qr_text(&q, true);
    cr_expect_not_null(strstr(text, "\033[0m\n"));
    free(text);
}
