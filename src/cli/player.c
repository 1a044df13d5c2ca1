#include "cli/player.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PLAYER = 127 }; /* as a shell says it */

static const char browser[] = "xdg-open"; /* the desktop knows which one */

static bool is_there(const char *program) {
    const char *path = getenv("PATH");
    char file[PATH_MAX];
    for (const char *at = path ? path : ""; *at; at += strspn(at, ":")) {
        size_t len = strcspn(at, ":");
        if (snprintf(file, sizeof file, "%.*s/%s", (int)len, at, program) < (int)sizeof file &&
            access(file, X_OK) == 0)
            return true;
        at += len;
    }
    return false;
}

static bool is_desktop(void) {
    return getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
}

/* NULL: nothing here plays. */
static const char *choose(const char *program) {
    static const char *const known[] = {"mpv", "vlc", "ffplay"};
    if (program)
        return strcmp(program, "browser") == 0 ? browser : program;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_there(known[i]))
            return known[i];
    return is_desktop() && is_there(browser) ? browser : NULL;
}

void cli_player_start(struct cli_player *p, const char *program, const char *link,
                      cli_player_page_fn *page, void *ctx) {
    static char opened[CLI_PLAYER_LINK];
    const char *chosen = choose(program);
    p->detached = chosen == browser;
    const char *at = p->detached ? page(ctx, opened) : NULL;
    if (!chosen) {
        fprintf(stderr, "culvert: no player found; open the link in one, or name one with "
                        "--player\n");
        return;
    }
    pid_t pid = fork();
    if (pid != 0) {
        p->pid = pid > 0 ? pid : 0;
        return;
    }
    sigset_t none; /* run.c blocks signals but while it waits; a mask outlives exec */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The link is an argument, never part of a shell's command line. */
    execlp(chosen, chosen, at ? at : link, (char *)NULL);
    fprintf(stderr,
            "culvert: %s cannot be started; open the link in a player, or name another "
            "with --player\n",
            chosen);
    _exit(NO_PLAYER);
}

bool cli_player_ended(struct cli_player *p) {
    int status;
    if (!p->pid || waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    p->pid = 0;
    return !p->detached && !(WIFEXITED(status) && WEXITSTATUS(status) == NO_PLAYER);
}
