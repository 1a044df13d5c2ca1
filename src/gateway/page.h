/*
 * The page: files of src/web that the build put into the program. They are the
 * same for everybody and hold no secret; what they show comes from /api/ and
 * needs the token. Nothing of it may load anything from elsewhere (the
 * Content-Security-Policy says so to the browser).
 */
#ifndef CULVERT_GATEWAY_PAGE_H
#define CULVERT_GATEWAY_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evhttp_request;

struct gw_page_file {
    const char *path; /* "/app.js" */
    const char *type;
    const char *etag; /* of the octets, quoted */
    const uint8_t *data, *gzip;
    size_t data_len, gzip_len;
};

/* Made by scripts/embed. */
extern const struct gw_page_file gw_page_files[];
extern const size_t gw_page_files_count;

/* Answers a GET or HEAD of the page's file; false: there is no such file. */
bool gw_page_serve(struct evhttp_request *req, const char *path);

#endif
