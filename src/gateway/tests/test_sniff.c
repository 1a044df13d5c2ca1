#include <string.h>

#include "gateway/sniff.h"
#include "support/suite.h"

CV_SUITE(gw_sniff);

Test(gw_sniff, table) {
    static const struct {
        const char *head;
        size_t len;
        const char *want;
    } rows[] = {
        {"\0\0\0\x20"
         "ftypisom",
         12, "video/mp4"},
        {"\0\0\0\x14"
         "ftypqt  ",
         12, "video/quicktime"},
        {"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", 16, "video/webm"},
        {"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", 20, "video/x-matroska"},
        {"WEBVTT\n\n", 8, "text/vtt"},
        {"<html><script>", 14, "application/octet-stream"},
        {"", 0, "application/octet-stream"},
        {"ftyp", 4, "application/octet-stream"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(gw_sniff((const uint8_t *)rows[i].head, rows[i].len), rows[i].want,
                         "row %zu", i);
}

Test(gw_sniff, transport_stream_by_its_rhythm) {
    uint8_t ts[512] = {0};
    ts[0] = ts[188] = 0x47;
    cr_expect_str_eq(gw_sniff(ts, sizeof ts), "application/octet-stream");
    ts[376] = 0x47;
    cr_expect_str_eq(gw_sniff(ts, sizeof ts), "video/mp2t");
}
