#include <stdio.h>
#include <stdlib.h>

#include "io/state.h"

static const struct {
    const char *variable, *below_home;
} places[] = {
    [IO_XDG_STATE] = {"XDG_STATE_HOME", ".local/state"},
    [IO_XDG_CONFIG] = {"XDG_CONFIG_HOME", ".config"},
    [IO_XDG_CACHE] = {"XDG_CACHE_HOME", ".cache"},
    [IO_XDG_RUNTIME] = {"XDG_RUNTIME_DIR", NULL},
};

enum cv_err io_xdg_path(enum io_xdg which, char *out, size_t cap, struct io_why *why) {
    const char *base = getenv(places[which].variable), *home = getenv("HOME");
    int n;
    if (base && base[0] == '/') {
        n = snprintf(out, cap, "%s/culvert", base);
    } else if (places[which].below_home && home && home[0] == '/') {
        n = snprintf(out, cap, "%s/%s/culvert", home, places[which].below_home);
    } else {
        io_why_set(why, "neither %s nor HOME names a folder; choose one with --state DIR",
                   places[which].variable);
        return CV_ERR_NOENT;
    }
    if (n < 0 || (size_t)n >= cap) {
        io_why_set(why, "%s: path too long", places[which].variable);
        return CV_ERR_LIMIT;
    }
    return CV_ERR_OK;
}
