/* Whom to believe about the day, and from how many on. */
#include "support/suite.h"
#include "tunnel/calendar.h"

CV_SUITE(tun_calendar);

#define DAY  20600u
#define NOON ((int64_t)DAY * 86400 + 43200)

Test(tun_calendar, the_median_of_three_networks_counts) {
    static const struct {
        const char *name;
        struct {
            unsigned network;
            int days;
        } said[8];
        unsigned n;
        int64_t want;
    } rows[] = {
        {"nobody", {{0, 0}}, 0, 0},
        {"one", {{1, 3}}, 1, 0},
        {"one, again and again", {{1, 3}, {1, 3}, {1, 3}, {1, 3}}, 4, 0},
        {"two", {{1, 3}, {2, 3}}, 2, 0},
        {"three", {{1, 3}, {2, 3}, {3, 3}}, 3, 3},
        {"we are ahead", {{1, -40}, {2, -40}, {3, -40}}, 3, -40},
        {"a liar among three that agree with us", {{1, 0}, {2, 900}, {3, 0}}, 3, 0},
        {"a liar first", {{1, 900}, {2, 900}, {3, 0}, {4, 0}}, 4, 0},
        {"a liar who agrees with us", {{1, 0}, {2, 3}, {3, 3}}, 3, 3},
        {"a liar in another direction", {{1, -900}, {2, 3}, {3, 3}}, 3, 3},
        {"who changes his mind", {{1, 3}, {2, 3}, {3, 3}, {1, 0}, {2, 0}}, 5, 0},
        {"the last five", {{1, 3}, {2, 3}, {3, 3}, {4, 0}, {5, 0}, {6, 0}}, 6, 0},
        {"the last five, all wrong",
         {{1, 0}, {2, 0}, {3, 0}, {4, 3}, {5, 3}, {6, 3}, {7, 3}},
         7,
         3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tun_calendar c = {.voices = 0};
        for (unsigned k = 0; k < rows[i].n; k++) {
            struct cv_addr from = {.family = 4,
                                   .port = (uint16_t)(1 + k),
                                   .ip = {20, (uint8_t)rows[i].said[k].network, (uint8_t)k, 1}};
            tun_calendar_note(&c, &from, DAY + (uint32_t)rows[i].said[k].days, NOON);
        }
        cr_expect_eq(tun_calendar_off(&c), rows[i].want, "%s: %ld", rows[i].name,
                     tun_calendar_off(&c));
    }
}

Test(tun_calendar, descriptors_of_two_days_serve_around_midnight) {
    static const struct {
        int hour, days;
        int64_t want;
    } rows[] = {{12, 0, 0}, {12, 1, 1}, {12, -1, -1}, {22, 1, 0},
                {20, 1, 1}, {7, -1, 0}, {9, -1, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tun_calendar c = {.voices = 0};
        for (unsigned k = 0; k < TUN_CALENDAR_MIN; k++) {
            struct cv_addr from = {.family = 6, .port = 1, .ip = {0x20, 1, (uint8_t)k}};
            tun_calendar_note(&c, &from, DAY + (uint32_t)rows[i].days,
                              (int64_t)DAY * 86400 + rows[i].hour * 3600);
        }
        int64_t want = rows[i].want;
        cr_expect_eq(tun_calendar_off(&c), want, "row %zu: %ld", i, tun_calendar_off(&c));
    }
}
