#include "gateway/guard.h"
#include "support/suite.h"

CV_SUITE(gw_guard);

static const struct gw_self self = {.hosts = {"127.0.0.1:81", "localhost:81"},
                                    .token = "0123456789abcdef0123456789abcdef"};

#define TOKEN  "0123456789abcdef0123456789abcdef"
#define BEARER "Bearer " TOKEN
#define HOST   "127.0.0.1:81"

Test(gw_guard, table) {
    static const struct {
        const char *name;
        enum gw_area area;
        struct gw_head head;
        enum gw_verdict want;
    } rows[] = {
        {"player", GW_AREA_MEDIA, {.host = HOST}, GW_PASS},
        {"player, by name", GW_AREA_MEDIA, {.host = "LocalHost:81"}, GW_PASS},
        {"rebound name", GW_AREA_MEDIA, {.host = "evil.example:81"}, GW_MISDIRECTED},
        {"rebound name with token",
         GW_AREA_API,
         {.host = "evil.example", .authorization = BEARER},
         GW_MISDIRECTED},
        {"another port", GW_AREA_PAGE, {.host = "127.0.0.1:82"}, GW_MISDIRECTED},
        {"no host", GW_AREA_PAGE, {.host = NULL}, GW_MISDIRECTED},
        {"empty host", GW_AREA_PAGE, {.host = ""}, GW_MISDIRECTED},
        {"video of a foreign page",
         GW_AREA_MEDIA,
         {.host = HOST, .fetch_site = "cross-site", .fetch_mode = "no-cors"},
         GW_FOREIGN},
        {"video of another port's page",
         GW_AREA_MEDIA,
         {.host = HOST, .fetch_site = "same-site", .fetch_mode = "no-cors"},
         GW_FOREIGN},
        {"video of our page",
         GW_AREA_MEDIA,
         {.host = HOST, .fetch_site = "same-origin", .fetch_mode = "no-cors"},
         GW_PASS},
        {"a foreign page's link to ours",
         GW_AREA_PAGE,
         {.host = HOST, .fetch_site = "cross-site", .fetch_mode = "navigate"},
         GW_PASS},
        {"a foreign page's link to the interface",
         GW_AREA_API,
         {.host = HOST,
          .fetch_site = "cross-site",
          .fetch_mode = "navigate",
          .authorization = BEARER},
         GW_FOREIGN},
        {"a ticket", GW_AREA_TICKET, {.host = HOST, .origin = "http://" HOST}, GW_PASS},
        {"a ticket, by a rebound name", GW_AREA_TICKET, {.host = "evil.example"}, GW_MISDIRECTED},
        {"a ticket, by a foreign page",
         GW_AREA_TICKET,
         {.host = HOST, .fetch_site = "cross-site", .fetch_mode = "navigate"},
         GW_FOREIGN},
        {"a ticket, by a foreign form, old browser",
         GW_AREA_TICKET,
         {.host = HOST, .origin = "http://evil.example"},
         GW_FOREIGN},
        {"a foreign page's script",
         GW_AREA_PAGE,
         {.host = HOST, .fetch_site = "cross-site", .fetch_mode = "cors"},
         GW_FOREIGN},
        {"a foreign form, old browser",
         GW_AREA_API,
         {.host = HOST, .origin = "http://evil.example", .authorization = BEARER},
         GW_FOREIGN},
        {"origin null",
         GW_AREA_API,
         {.host = HOST, .origin = "null", .authorization = BEARER},
         GW_FOREIGN},
        {"origin that begins like ours",
         GW_AREA_API,
         {.host = HOST, .origin = "http://127.0.0.1:81.evil.example", .authorization = BEARER},
         GW_FOREIGN},
        {"https origin",
         GW_AREA_API,
         {.host = HOST, .origin = "https://127.0.0.1:81", .authorization = BEARER},
         GW_FOREIGN},
        {"our page",
         GW_AREA_API,
         {.host = HOST,
          .origin = "http://127.0.0.1:81",
          .fetch_site = "same-origin",
          .authorization = BEARER},
         GW_PASS},
        {"our page under its other name",
         GW_AREA_API,
         {.host = "localhost:81", .origin = "http://localhost:81", .authorization = BEARER},
         GW_PASS},
        {"our page asks under the other name",
         GW_AREA_API,
         {.host = HOST, .origin = "http://localhost:81", .authorization = BEARER},
         GW_FOREIGN},
        {"program with a token", GW_AREA_API, {.host = HOST, .authorization = BEARER}, GW_PASS},
        {"program without", GW_AREA_API, {.host = HOST}, GW_NO_TOKEN},
        {"wrong token",
         GW_AREA_API,
         {.host = HOST, .authorization = "Bearer 0123456789abcdef0123456789abcdee"},
         GW_NO_TOKEN},
        {"token cut short",
         GW_AREA_API,
         {.host = HOST, .authorization = "Bearer 0123456789abcdef"},
         GW_NO_TOKEN},
        {"empty token", GW_AREA_API, {.host = HOST, .authorization = "Bearer "}, GW_NO_TOKEN},
        {"another scheme",
         GW_AREA_API,
         {.host = HOST, .authorization = "Basic " TOKEN},
         GW_NO_TOKEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum gw_verdict got = gw_guard(&self, rows[i].area, &rows[i].head);
        cr_expect_eq(got, rows[i].want, "%s: %d", rows[i].name, got);
    }
}
