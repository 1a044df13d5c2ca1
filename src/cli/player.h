/* The player that `play` starts: a process of the command, never of a daemon. */
#ifndef CULVERT_CLI_PLAYER_H
#define CULVERT_CLI_PLAYER_H

#include <stdbool.h>

#include <sys/types.h>

struct cli_player {
    pid_t pid; /* 0: none runs */
};

/* Starts `program`, or the first of mpv, vlc and ffplay that is there when it is
 * NULL, with `link` as its argument. */
void cli_player_start(struct cli_player *p, const char *program, const char *link);

/* True once, when a player that ran has ended: the film is over or its window
 * was closed. When there was no player to start it stays false: the link is
 * there to be opened by hand. */
bool cli_player_ended(struct cli_player *p);

#endif
