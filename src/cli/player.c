#include "cli/player.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PLAYER = 127 }; /* as a shell says it */

void cli_player_start(struct cli_player *p, const char *program, const char *link) {
    static const char *const known[] = {"mpv", "vlc", "ffplay"};
    pid_t pid = fork();
    if (pid != 0) {
        p->pid = pid > 0 ? pid : 0;
        return;
    }
    sigset_t none; /* run.c blocks signals but while it waits; a mask outlives exec */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The link is an argument, never part of a shell's command line. */
    if (program) {
        execlp(program, program, link, (char *)NULL);
    } else {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            execlp(known[i], known[i], link, (char *)NULL);
    }
    fprintf(stderr, "culvert: no player found; open the link in one, or name one with --player\n");
    _exit(NO_PLAYER);
}

bool cli_player_ended(struct cli_player *p) {
    int status;
    if (!p->pid || waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    p->pid = 0;
    return !(WIFEXITED(status) && WEXITSTATUS(status) == NO_PLAYER);
}
