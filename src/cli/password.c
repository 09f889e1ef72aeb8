/* tokenhop password: the hash of a caller's password, for the file that the configuration names. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "options.h"
#include "read_input.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/password.h"
#include "tokenhop/base/process.h"
#include "tokenhop/cli/command.h"
#include "write_file.h"

#define INPUT_MAX 4096 /* more is read than a password may be, so that too much is noticed */
#define DIGEST_MIN 32  /* characters: 128 bits, where they are hexadecimal digits */

static const char usage[] =
    "usage: tokenhop password [--digest]\n"
    "\n"
    "Reads a caller's password and writes a line for its password_file or token_file: a hash that the\n"
    "password cannot be had back from. It is asked for on the terminal, twice and without showing it, or\n"
    "else is standard input, all of it; a line feed at its end does not count.\n"
    "\n"
    "      --digest   for what a machine made at random, of 32 characters at least: a SHA-256, which costs\n"
    "                 no time to verify. A password that a person made up could be guessed from it\n"
    "  -h, --help     this text\n"
    "\n"
    "  tokenhop password > team-a.pw && chmod 600 team-a.pw\n"
    "  tokenhop password >> team-a.pw     besides the one before, while clients change over\n"
    "  openssl rand -hex 32 | tee robot.secret | tokenhop password --digest > robot.pw\n";

static const char too_long[] = "it is too long for a password";

/* --- the terminal --- */

/* What would end or stop the process while nothing is shown is held back meanwhile, and then done. */
struct terminal {
    int fd;
    int signals; /* a descriptor that tells of them */
    sigset_t before;
    struct termios shown;
};

static int terminal_open(struct terminal *terminal)
{
    static const int held[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP};
    struct termios hidden;
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < TH_COUNT_OF(held); i++)
        sigaddset(&set, held[i]);
    terminal->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal->fd < 0)
        return -1;
    terminal->signals = -1;
    sigprocmask(SIG_BLOCK, &set, &terminal->before);
    if (tcgetattr(terminal->fd, &terminal->shown) == 0) {
        hidden = terminal->shown;
        hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
        terminal->signals = signalfd(-1, &set, SFD_CLOEXEC);
    }
    if (terminal->signals >= 0 && tcsetattr(terminal->fd, TCSAFLUSH, &hidden) == 0)
        return 0;
    if (terminal->signals >= 0)
        close(terminal->signals);
    close(terminal->fd);
    sigprocmask(SIG_SETMASK, &terminal->before, NULL);
    return -1;
}

/* The signal that came, if one did, is done now. */
static void terminal_close(struct terminal *terminal)
{
    (void)tcsetattr(terminal->fd, TCSAFLUSH, &terminal->shown);
    close(terminal->signals);
    close(terminal->fd);
    sigprocmask(SIG_SETMASK, &terminal->before, NULL);
}

static bool say(const struct terminal *terminal, const char *text)
{
    return th_write_all(terminal->fd, th_str_of(text)) == 0;
}

/* A line, without its end. False: the terminal is gone, a signal came, or it is too long. */
static bool ask(const struct terminal *terminal, const char *prompt, struct th_buf *password)
{
    struct pollfd fds[] = {{.fd = terminal->fd, .events = POLLIN},
                           {.fd = terminal->signals, .events = POLLIN}};

    if (!say(terminal, prompt))
        return false;
    for (;;) {
        char *room = th_buf_reserve(password, 256);
        if (room == NULL || poll(fds, TH_COUNT_OF(fds), -1) < 0)
            return false;
        if (fds[1].revents != 0) {
            struct signalfd_siginfo info;
            if (read(terminal->signals, &info, sizeof info) == (ssize_t)sizeof info)
                (void)raise((int)info.ssi_signo); /* held back until the terminal is as before */
            (void)say(terminal, "\n");
            return false;
        }
        ssize_t n = read(terminal->fd, room, 256);
        if (n <= 0)
            return false;
        th_buf_commit(password, (size_t)n);
        if (password->ptr[password->len - 1] == '\n')
            break;
    }
    password->len--;
    return say(terminal, "\n");
}

static int read_terminal(struct th_buf *password, struct th_errinfo *reterr)
{
    struct terminal terminal;
    struct th_buf again;

    if (terminal_open(&terminal) < 0)
        return th_errinfo_set(reterr, TH_E_IO, NULL, "give the password on standard input",
                              "the terminal cannot be used");
    th_buf_init_secret(&again, INPUT_MAX);
    bool is_read = ask(&terminal, "Password: ", password) && ask(&terminal, "Again: ", &again);
    bool is_too_long = password->failed || again.failed;
    bool is_same = is_read && password->len == again.len &&
                   th_secret_equal_bytes(password->ptr, again.ptr, again.len);
    th_buf_fini(&again);
    terminal_close(&terminal);
    if (is_too_long)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "%s", too_long);
    if (!is_read)
        return th_errinfo_set(reterr, TH_E_IO, NULL, NULL, "no password was typed");
    if (!is_same)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "try again", "they are not the same");
    return 0;
}

/* --- standard input --- */

static int read_input(struct th_buf *password, struct th_errinfo *reterr)
{
    int error = th_read_input(password, too_long, reterr);

    if (error == 0 && password->len > 0 && password->ptr[password->len - 1] == '\n')
        password->len--;
    return error;
}

/* --- the line --- */

static int hash(struct th_str password, bool is_digest, struct th_secret **ret_line,
                struct th_errinfo *reterr)
{
    char digest[TH_PASSWORD_DIGEST_LEN + 1];
    const char *flaw = th_password_find_flaw(password);
    int error = 0;

    if (flaw != NULL)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "this can be no password: %s", flaw);
    if (is_digest && password.len < DIGEST_MIN)
        return th_errinfo_set(
            reterr, TH_E_CONFIG, NULL, "make one: openssl rand -hex 32; or leave --digest out",
            "what has less than %d characters may be guessed from a digest", DIGEST_MIN);
    if (is_digest) {
        th_password_digest(password, digest);
        *ret_line = th_secret_new(digest, TH_PASSWORD_DIGEST_LEN);
        error = *ret_line != NULL ? 0 : TH_E_NOMEM;
    } else {
        error = th_password_make(password, ret_line);
    }
    return error == 0 ? 0 : th_errinfo_set(reterr, error, NULL, NULL, "no memory for the hash");
}

static int put(const struct th_secret *line, struct th_errinfo *reterr)
{
    if (th_write_all(STDOUT_FILENO, th_secret_expose(line)) < 0 ||
        th_write_all(STDOUT_FILENO, TH_STR("\n")) < 0)
        return th_write_refuse("standard output", NULL, "the hash cannot be written", errno,
                               reterr);
    return 0;
}

static int password(int argc, char **argv)
{
    bool is_digest = false;
    const struct th_option options[] = {{"digest", '\0', NULL, &is_digest}};
    struct th_errinfo info = {0};
    struct th_buf text;
    struct th_secret *line = NULL;
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), NULL, 0);

    if (status >= 0)
        return status;
    th_buf_init_secret(&text, INPUT_MAX);
    int error = th_process_harden(&info);
    if (error == 0)
        error = isatty(STDIN_FILENO) ? read_terminal(&text, &info) : read_input(&text, &info);
    if (error == 0)
        error = hash(th_buf_str(&text), is_digest, &line, &info);
    if (error == 0)
        error = put(line, &info);
    if (error < 0)
        th_options_print_error(argv[0], &info);
    th_secret_unref(line);
    th_buf_fini(&text);
    return error == 0 ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
}

const struct th_command th_command_password = {"password", "makes the hash of a caller's password",
                                               usage, password};
