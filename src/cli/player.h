/* The player that `play` starts: a process of the command, never of a daemon. */
#ifndef CULVERT_CLI_PLAYER_H
#define CULVERT_CLI_PLAYER_H

#include <stdbool.h>

#include <sys/types.h>

struct cli_player {
    pid_t pid;     /* 0: none runs */
    bool detached; /* it only tells a browser, and ends */
};

/*
 * Starts `program`; when it is NULL the first of mpv, vlc and ffplay that is there, else,
 * on a desktop, the browser; "browser" asks for that. Its argument is `link`, for a
 * browser `hls` where a broadcast has one (NULL: none).
 */
void cli_player_start(struct cli_player *p, const char *program, const char *link, const char *hls);

/* True once, when a player that ran has ended: the film is over or its window
 * was closed. When there was no player to start, or a browser was told, it stays false:
 * nobody knows when that is over, and the link is there to be opened by hand. */
bool cli_player_ended(struct cli_player *p);

#endif
