#include "gateway/ticket.h"

#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "support/suite.h"

CV_SUITE(gw_ticket);

static const uint8_t key[16] = {1, 2, 3};

static void made(struct gw_tickets *t, cv_usec now, char out[GW_TOKEN_TEXT]) {
    snprintf(out, GW_TOKEN_TEXT, "%s", gw_ticket_new(t, key, sizeof key, now));
}

Test(gw_ticket, opens_once_and_soon) {
    struct gw_tickets t = {0};
    char one[GW_TOKEN_TEXT], two[GW_TOKEN_TEXT], late[GW_TOKEN_TEXT];
    made(&t, CV_SEC(1), one);
    made(&t, CV_SEC(2), two);
    cr_expect_eq(strlen(one), 32);
    cr_expect_str_neq(one, two);
    cr_expect(gw_ticket_take(&t, two, CV_SEC(3)));
    cr_expect(!gw_ticket_take(&t, two, CV_SEC(3)), "twice");
    cr_expect(gw_ticket_take(&t, one, CV_SEC(1) + GW_TICKET_LIFE - 1));
    made(&t, CV_SEC(100), late);
    cr_expect(!gw_ticket_take(&t, late, CV_SEC(100) + GW_TICKET_LIFE), "too late");
    cr_expect(!gw_ticket_take(&t, late, CV_SEC(100)), "and gone");
}

Test(gw_ticket, what_was_not_made_opens_nothing) {
    struct gw_tickets t = {0}, other = {0};
    char one[GW_TOKEN_TEXT];
    const char *rows[] = {"", "0", "00000000000000000000000000000000", one, NULL};
    snprintf(one, sizeof one, "%s", gw_ticket_new(&other, "another key of 16", 16, 0));
    cr_expect(!gw_ticket_take(&t, "", 0), "nothing was made");
    (void)gw_ticket_new(&t, key, sizeof key, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect(!gw_ticket_take(&t, rows[i], 0), "row %zu", i);
    made(&t, 0, one);
    one[31] = one[31] == '0' ? '1' : '0';
    cr_expect(!gw_ticket_take(&t, one, 0), "a digit is another");
    one[31] = 0;
    cr_expect(!gw_ticket_take(&t, one, 0), "cut");
}

Test(gw_ticket, few_wait) {
    struct gw_tickets t = {0};
    char all[GW_TICKETS_MAX + 2][GW_TOKEN_TEXT];
    for (size_t i = 0; i < GW_TICKETS_MAX + 2; i++)
        made(&t, 0, all[i]);
    for (size_t i = 0; i < GW_TICKETS_MAX + 2; i++)
        cr_expect_eq(gw_ticket_take(&t, all[i], 1), i >= 2, "%zu", i);
}
