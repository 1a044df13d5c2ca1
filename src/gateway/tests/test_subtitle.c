#include <stdlib.h>
#include <string.h>

#include "gateway/subtitle.h"
#include "support/suite.h"

CV_SUITE(gw_subtitle);

Test(gw_subtitle, table) {
    static const struct {
        const char *name, *srt, *vtt;
    } rows[] = {
        {"plain",
         "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n01:02:03,004 --> "
         "01:02:04,000\nBye\n",
         "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nHello\nthere\n\n01:02:03.004 --> "
         "01:02:04.000\nBye\n"},
        {"a mark and other line ends",
         "\xef\xbb\xbf"
         "1\r\n0:0:1,5 --> 0:0:2\r\nx\r\n\r\n",
         "WEBVTT\n\n00:00:01.500 --> 00:00:02.000\nx\n"},
        {"places are left out", "1\n00:00:01,000 --> 00:00:02,000 X1:40 Y1:20\nx\n",
         "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nx\n"},
        {"Latin 1", "1\n00:00:01,000 --> 00:00:02,000\n\xfc\n",
         "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n\xc3\xbc\n"},
        {"tags", "1\n00:00:01,000 --> 00:00:02,000\n<i>a</i> <font color=red>b</font> 1 < 2 & 3\n",
         "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<i>a</i> b 1 &lt; 2 &amp; 3\n"},
        {"an arrow is no timing", "1\n00:00:01,000 --> 00:00:02,000\na --> b\n",
         "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na --&gt; b\n"},
        {"time that runs back", "1\n00:00:03,000 --> 00:00:02,000\nx\n", "WEBVTT\n"},
        {"no minute of that kind", "1\n00:61:03,000 --> 00:62:02,000\nx\n", "WEBVTT\n"},
        {"nothing", "", "WEBVTT\n"},
        {"something else", "<html><script>alert(1)</script>", "WEBVTT\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len;
        char *vtt = gw_subtitle_vtt((const uint8_t *)rows[i].srt, strlen(rows[i].srt), &len);
        cr_assert_not_null(vtt);
        cr_expect_str_eq(vtt, rows[i].vtt, "%s: %s", rows[i].name, vtt);
        cr_expect_eq(len, strlen(vtt));
        free(vtt);
    }
}
