#include "cli/ask.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/exitcode.h"

enum { HEAD_LINE_MAX = 1024 };

int cli_ask_connect(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path)
        return -1;
    memcpy(at.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 5};
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    struct ucred peer;
    socklen_t len = sizeof peer;
    /* What answers names the program to start: it must be ours. */
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid())
        return fd;
    close(fd);
    return -1;
}

static bool read_head(FILE *f) {
    char line[HEAD_LINE_MAX];
    if (!fgets(line, sizeof line, f) || strncmp(line, "HTTP/1.", 7) != 0 ||
        strncmp(line + 8, " 200", 4) != 0)
        return false;
    while (fgets(line, sizeof line, f))
        if (line[0] == '\r' || line[0] == '\n')
            return true;
    return false;
}

FILE *cli_ask(int fd, const char *resource, const json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    bool sent = !body || text;
    if (text)
        sent = dprintf(fd,
                       "POST %s HTTP/1.0\r\nHost: culvert\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       resource, strlen(text), text) > 0;
    else if (sent)
        sent = dprintf(fd, "GET %s HTTP/1.0\r\nHost: culvert\r\n\r\n", resource) > 0;
    free(text);
    FILE *f = sent ? fdopen(fd, "r") : NULL;
    if (!f) {
        close(fd);
        return NULL;
    }
    if (body) /* the answer is a stream: nothing may stay behind in a buffer */
        setvbuf(f, NULL, _IONBF, 0);
    if (read_head(f))
        return f;
    fclose(f);
    return NULL;
}

FILE *cli_ask_task(int fd, const struct cli_settings *s, int *ret_status) {
    char why[CLI_TEXT_MAX];
    json_t *wanted = cli_options_give(s, why);
    if (!wanted) {
        close(fd);
        fprintf(stderr, "culvert: %s\n", why);
        *ret_status = CLI_USAGE;
        return NULL;
    }
    FILE *f = cli_ask(fd, "/api/tasks", wanted);
    json_decref(wanted);
    if (!f) {
        fprintf(stderr, "culvert: the node that runs on this folder does not understand; stop it, "
                        "or name another folder with --state\n");
        *ret_status = CLI_STATE;
    }
    return f;
}

json_t *cli_ask_get(const char *path, const char *resource) {
    int fd = cli_ask_connect(path);
    FILE *f = fd >= 0 ? cli_ask(fd, resource, NULL) : NULL;
    json_t *o = f ? json_loadf(f, 0, NULL) : NULL;
    if (f)
        fclose(f);
    return o;
}
