#define _XOPEN_SOURCE 700 /* pseudo-terminals */
#include "tests/support/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void stop(const char *what)
{
    perror(what);
    abort();
}

typedef struct stream {
    char *data;
    size_t size;
    int fd; /* -1: ended */
} stream;

static void append(stream *s)
{
    char block[4096];
    ssize_t n = read(s->fd, block, sizeof block);
    if (n <= 0) {
        close(s->fd);
        s->fd = -1;
        return;
    }
    s->data = realloc(s->data, s->size + (size_t)n + 1);
    if (!s->data)
        stop("realloc");
    memcpy(s->data + s->size, block, (size_t)n);
    s->size += (size_t)n;
    s->data[s->size] = '\0';
}

static int open_input(const spawn_options *o)
{
    if (o->input_terminal) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
            stop("posix_openpt");
        int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY);
        if (fd < 0)
            stop("terminal"); /* its other end stays open until the test ends */
        return fd;
    }
    char path[] = "/tmp/sterna-input-XXXXXX"; /* a file, so that writing never waits for the reader */
    int fd = mkstemp(path);
    if (fd < 0 || (o->input && write(fd, o->input, o->input_size) != (ssize_t)o->input_size) ||
        lseek(fd, 0, SEEK_SET) != 0)
        stop(path);
    unlink(path);
    return fd;
}

static void set_pipe(int pair[2])
{
    if (pipe(pair) != 0)
        stop("pipe");
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    fcntl(pair[1], F_SETFD, FD_CLOEXEC);
}

static void first_output(const spawn_options *o, pid_t child, stream *out)
{
    if (o->signal && !o->watch)
        kill(child, o->signal);
    if (o->stop_reading) {
        close(out->fd);
        out->fd = -1;
    }
}

/* Sends the signal once the watched file is long enough. */
static void watch(const spawn_options *o, pid_t child, bool *sent)
{
    struct stat facts;
    if (*sent || stat(o->watch, &facts) != 0 || facts.st_size < o->watch_size)
        return;
    kill(child, o->signal);
    *sent = true;
}

static int exit_code(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child)
        stop("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

spawned spawn(const char *const *args, const spawn_options *options)
{
    static const spawn_options none;
    const spawn_options *o = options ? options : &none;
    int out[2], err[2], input = open_input(o);
    set_pipe(out);
    set_pipe(err);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    if (o->out_path)
        posix_spawn_file_actions_addopen(&actions, 1, o->out_path, O_WRONLY, 0);
    else
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    pid_t child;
    errno = posix_spawn(&child, args[0], &actions, NULL, (char *const *)args, environ);
    if (errno)
        stop(args[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(input);
    close(out[1]);
    close(err[1]);
    stream streams[2] = {{.fd = out[0]}, {.fd = err[0]}};
    bool begun = false, sent = false;
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        struct pollfd fds[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
        if (poll(fds, 2, o->watch ? 1 : -1) < 0)
            stop("poll");
        if (o->watch)
            watch(o, child, &sent);
        for (int i = 0; i < 2; i++)
            if (fds[i].revents)
                append(&streams[i]);
        if (!begun && streams[0].size > 0) {
            begun = true;
            first_output(o, child, &streams[0]);
        }
    }
    int code = exit_code(child);
    for (int i = 0; i < 2; i++)
        if (!streams[i].data && !(streams[i].data = calloc(1, 1)))
            stop("calloc");
    return (spawned){
        .code = code, .out = streams[0].data, .err = streams[1].data, .out_size = streams[0].size};
}

void spawned_free(spawned *s)
{
    free(s->out);
    free(s->err);
    *s = (spawned){0};
}

/* ---- dialogues ---- */

enum { PATIENCE = 30000 }; /* ms */

struct dialogue {
    pid_t child;
    stream terminal; /* this side of it */
    size_t expected; /* bytes that were expected already */
};

static _Noreturn void become(const char *const *args, const char *terminal)
{
    setsid();
    int fd = open(terminal, O_RDWR); /* a new session's first terminal controls it */
    if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) != 0)
        _exit(99);
    for (int i = 0; i <= 2; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    signal(SIGINT, SIG_DFL);
    execv(args[0], (char *const *)args);
    _exit(99);
}

dialogue *dialogue_open(const char *const *args)
{
    dialogue *d = calloc(1, sizeof *d);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (!d || terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        stop("posix_openpt");
    fcntl(terminal, F_SETFD, FD_CLOEXEC);
    d->terminal.fd = terminal;
    d->child = fork();
    if (d->child < 0)
        stop("fork");
    if (d->child == 0)
        become(args, ptsname(terminal));
    return d;
}

void dialogue_say(dialogue *d, const char *text)
{
    if (write(d->terminal.fd, text, strlen(text)) != (ssize_t)strlen(text))
        stop("terminal");
}

bool dialogue_expect(dialogue *d, const char *text)
{
    for (;;) {
        const char *found = d->terminal.data ? strstr(d->terminal.data + d->expected, text) : NULL;
        if (found) {
            d->expected = (size_t)(found - d->terminal.data) + strlen(text);
            return true;
        }
        struct pollfd fd = {d->terminal.fd, POLLIN, 0};
        if (d->terminal.fd < 0 || poll(&fd, 1, PATIENCE) <= 0)
            return false;
        append(&d->terminal); /* ends when the other side is closed */
    }
}

const char *dialogue_heard(const dialogue *d)
{
    return d->terminal.data ? d->terminal.data : "";
}

int dialogue_close(dialogue **dp)
{
    dialogue *d = *dp;
    struct pollfd fd = {d->terminal.fd, POLLIN, 0};
    while (d->terminal.fd >= 0) {
        if (poll(&fd, 1, PATIENCE) <= 0)
            kill(d->child, SIGKILL);
        append(&d->terminal);
    }
    int code = exit_code(d->child);
    free(d->terminal.data);
    free(d);
    *dp = NULL;
    return code;
}
