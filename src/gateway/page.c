#include "gateway/page.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>

#include "gateway/reply.h"

static const struct gw_page_file *find(const char *path) {
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (size_t i = 0; i < gw_page_files_count; i++)
        if (strcmp(gw_page_files[i].path, path) == 0)
            return &gw_page_files[i];
    return NULL;
}

bool gw_page_serve(struct evhttp_request *req, const char *path) {
    const struct gw_page_file *f = find(path);
    if (!f)
        return false;
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);
    gw_set(req, "Content-Security-Policy",
           "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
           "media-src 'self' blob:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; "
           "base-uri 'none'; form-action 'self'");
    gw_set(req, "Cross-Origin-Opener-Policy", "same-origin");
    gw_set(req, "Cache-Control", "no-cache"); /* asked again each time, answered 304 */
    gw_set(req, "Vary", "Accept-Encoding");
    gw_set(req, "ETag", f->etag);
    const char *known = evhttp_find_header(in, "If-None-Match");
    if (known && strstr(known, f->etag)) {
        evhttp_send_reply(req, 304, "Not Modified", NULL);
        return true;
    }
    const char *accepts = evhttp_find_header(in, "Accept-Encoding");
    bool gzip = accepts && strstr(accepts, "gzip");
    if (gzip)
        gw_set(req, "Content-Encoding", "gzip");
    gw_set(req, "Content-Type", f->type);
    size_t len = gzip ? f->gzip_len : f->data_len;
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        char text[24];
        snprintf(text, sizeof text, "%zu", len);
        gw_set(req, "Content-Length", text);
    } else {
        evbuffer_add_reference(evhttp_request_get_output_buffer(req), gzip ? f->gzip : f->data, len,
                               NULL, NULL);
    }
    evhttp_send_reply(req, 200, "OK", NULL);
    return true;
}
