/*
 * Subtitles as a stranger wrote them (gateway/subtitle.h). Input: the file.
 *
 * Property: what comes out is UTF-8 and WebVTT, whatever goes in: it begins with the
 * signature, an arrow stands in lines of two times only, and the only tags are the three
 * that both formats have.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/subtitle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *line) {
    static const char digits[] = "00:00:00.000 --> ";
    const char *arrow = strstr(line, "-->");
    if (arrow) {
        assert(arrow - line >= (long)strlen(digits) - 4 &&
               strspn(line, "0123456789:. ->") == strlen(line));
        return;
    }
    for (const char *c = line; (c = strchr(c, '<')) != NULL; c++) {
        size_t at = c[1] == '/' ? 2 : 1;
        assert(strchr("biu", c[at]) && c[at] && c[at + 1] == '>');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t len = 0;
    char *text = gw_subtitle_vtt(data, size, &len), *rest = text, *line;
    if (!text)
        abort();
    assert(len == strlen(text) && strncmp(text, "WEBVTT\n", 7) == 0);
    for (size_t i = 0; i < len; i++) /* no lone octet of a character */
        assert((uint8_t)text[i] < 0xf5 && (uint8_t)text[i] != 0xc0 && (uint8_t)text[i] != 0xc1);
    while ((line = strsep(&rest, "\n")) != NULL)
        check_line(line);
    free(text);
    return 0;
}
