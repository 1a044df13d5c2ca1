#include "gateway/qr.h"

#include <qrencode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gw_qr_make(const char *text, struct gw_qr *ret) {
    size_t len = strlen(text);
    if (!len || len > GW_QR_TEXT_MAX)
        return false;
    /* The lowest correction: the code is on a screen, not on a wall, and a coarser one
     * is read more easily. */
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!code || code->width > GW_QR_SIDE) {
        QRcode_free(code);
        return false;
    }
    ret->side = (size_t)code->width;
    for (size_t y = 0; y < ret->side; y++)
        for (size_t x = 0; x < ret->side; x++)
            ret->dark[y][x] = code->data[y * ret->side + x] & 1;
    QRcode_free(code);
    return true;
}

/* Of the square at border-including coordinates. */
static bool dark_at(const struct gw_qr *q, size_t x, size_t y) {
    return x >= GW_QR_BORDER && y >= GW_QR_BORDER && x - GW_QR_BORDER < q->side &&
           y - GW_QR_BORDER < q->side && q->dark[y - GW_QR_BORDER][x - GW_QR_BORDER];
}

char *gw_qr_text(const struct gw_qr *q, bool colour) {
    /* Upper and lower half of a character cell that are drawn, i.e. light. */
    static const char *const cells[2][2] = {{" ", "\u2584"}, {"\u2580", "\u2588"}};
    char *text = NULL;
    size_t len = 0, side = q->side + 2 * GW_QR_BORDER;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (size_t y = 0; y < side; y += 2) {
        fputs(colour ? "\033[40;97m" : "", out);
        for (size_t x = 0; x < side; x++)
            fputs(cells[!dark_at(q, x, y)][y + 1 < side && !dark_at(q, x, y + 1)], out);
        fputs(colour ? "\033[0m\n" : "\n", out);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
