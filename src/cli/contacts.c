#include "cli/contacts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endpoint.h"
#include "io/limits.h"

void cli_contacts_of_link(struct cli_settings *s, const struct node_uri *uri) {
    size_t count =
        uri->contacts_count < CLI_BOOTSTRAP_MAX ? uri->contacts_count : CLI_BOOTSTRAP_MAX;
    size_t left = CLI_BOOTSTRAP_MAX - count;
    size_t told = s->bootstrap_count < left ? s->bootstrap_count : left;
    memmove(s->bootstrap + count, s->bootstrap, told * sizeof *s->bootstrap);
    memcpy(s->bootstrap, uri->contacts, count * sizeof *s->bootstrap);
    s->bootstrap_count = count + told;
}

static enum cv_err read_list(FILE *f, const char *path, struct cv_addr *ret, size_t cap,
                             size_t *ret_count, struct io_why *why) {
    char *line = NULL;
    size_t room = 0;
    enum cv_err err = CV_ERR_OK;
    for (unsigned number = 1; !err && *ret_count < cap && getline(&line, &room, f) > 0; number++) {
        char *text = line + strspn(line, " \t");
        text[strcspn(text, " \t\r\n")] = 0;
        if (*text == 0 || *text == '#')
            continue;
        if (cv_addr_parse(text, &ret[*ret_count]) == CV_ERR_OK) {
            ++*ret_count;
        } else {
            io_why_set(why, "%s:%u: '%.80s' is not IP:PORT", path, number, text);
            err = CV_ERR_STORE;
        }
    }
    if (!err && ferror(f))
        err = io_why_errno(why, path, errno);
    free(line);
    return err;
}

enum cv_err cli_contacts_installed(struct cv_addr *ret, size_t cap, size_t *ret_count,
                                   struct io_why *why) {
    const char *folders = getenv("XDG_DATA_DIRS");
    char path[IO_PATH_MAX];
    *ret_count = 0;
    if (!folders || !*folders)
        folders = "/usr/local/share:/usr/share";
    for (size_t len; *folders; folders += len + (folders[len] == ':')) {
        len = strcspn(folders, ":");
        int n = snprintf(path, sizeof path, "%.*s/culvert/bootstrap", (int)len, folders);
        if (folders[0] != '/' || n < 0 || (size_t)n >= sizeof path) /* as XDG asks */
            continue;
        FILE *f = fopen(path, "re");
        if (!f && (errno == ENOENT || errno == ENOTDIR))
            continue;
        if (!f)
            return io_why_errno(why, path, errno);
        enum cv_err err = read_list(f, path, ret, cap, ret_count, why);
        (void)fclose(f);
        return err;
    }
    return CV_ERR_OK;
}
