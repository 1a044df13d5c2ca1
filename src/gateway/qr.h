/*
 * A link as a QR code, for a phone's camera: light and dark squares, with the border
 * that readers need left to whoever draws it.
 */
#ifndef CULVERT_GATEWAY_QR_H
#define CULVERT_GATEWAY_QR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GW_QR_SIDE = 177,      /* squares of the largest one */
    GW_QR_TEXT_MAX = 1024, /* more would be too fine to be read off a screen */
    GW_QR_BORDER = 4,      /* squares, light */
};

struct gw_qr {
    size_t side;
    bool dark[GW_QR_SIDE][GW_QR_SIDE]; /* by row */
};

/* False: the text is empty, too long, or there is no memory. */
bool gw_qr_make(const char *text, struct gw_qr *ret);

/* Two rows a line of text (UTF-8 half blocks), border included, dark on light whatever
 * the terminal's colours: with `colour` by escape codes, without by drawing the light
 * squares, which is right on a dark terminal. free() it; NULL: out of memory. */
char *gw_qr_text(const struct gw_qr *q, bool colour);

#endif
