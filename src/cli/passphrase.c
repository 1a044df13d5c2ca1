#include "cli/passphrase.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "crypto/keys.h"
#include "io/keyfile.h"

/* One line from the terminal that it does not show. */
static bool ask(FILE *terminal, const char *what, struct cli_passphrase *ret) {
    struct termios shown, hidden;
    int fd = fileno(terminal);
    if (tcgetattr(fd, &shown) != 0)
        return false;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    hidden.c_lflag |= ECHONL;
    fputs(what, terminal);
    fflush(terminal);
    tcsetattr(fd, TCSAFLUSH, &hidden);
    bool got = fgets(ret->text, sizeof ret->text, terminal) != NULL;
    tcsetattr(fd, TCSAFLUSH, &shown);
    return got;
}

static enum cv_err from_terminal(bool is_new, struct cli_passphrase *ret, struct io_why *why) {
    struct cli_passphrase again;
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal) {
        io_why_set(why, "there is no terminal to ask for the passphrase; name a file that holds "
                        "it with --passphrase-file FILE");
        return CV_ERR_NOENT;
    }
    setvbuf(terminal, NULL, _IONBF, 0); /* nothing of it stays in a buffer */
    enum cv_err err = CV_ERR_OK;
    bool got = ask(terminal, "Passphrase: ", ret);
    if (got && is_new) {
        got = ask(terminal, "Once more: ", &again);
        if (got && strcmp(ret->text, again.text) != 0) {
            io_why_set(why, "the two passphrases differ; try again");
            err = CV_ERR_INVAL;
        }
        cv_wipe(&again, sizeof again);
    }
    fclose(terminal);
    if (!got) {
        io_why_set(why, "no passphrase was given");
        err = CV_ERR_INVAL;
    }
    return err;
}

enum cv_err cli_passphrase_get(const char *file, bool is_new, struct cli_passphrase *ret,
                               struct io_why *why) {
    memset(ret, 0, sizeof *ret);
    enum cv_err err = file ? io_keyfile_read(file, ret->text, sizeof ret->text, why)
                           : from_terminal(is_new, ret, why);
    ret->len = strcspn(ret->text, "\r\n");
    memset(ret->text + ret->len, 0, sizeof ret->text - ret->len);
    if (!err && (ret->len < CLI_PASSPHRASE_MIN || ret->len > CV_PASSPHRASE_MAX)) {
        io_why_set(why, "a passphrase has %d to %d octets; choose another", CLI_PASSPHRASE_MIN,
                   CV_PASSPHRASE_MAX);
        err = CV_ERR_INVAL;
    }
    if (err)
        cv_wipe(ret, sizeof *ret);
    return err;
}
