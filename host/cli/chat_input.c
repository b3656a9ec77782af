#include "host/cli/chat.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

/* Waits until there is something to read; false if SIGINT came first. It is let through only while waiting,
 * so that none falls between the look at the flag and the wait. */
static bool wait_for_input(void)
{
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigprocmask(SIG_BLOCK, &block, &before);
    int n = 0;
    while (n <= 0 && !st_interrupted()) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(STDIN_FILENO, &set);
        n = pselect(STDIN_FILENO + 1, &set, NULL, NULL, NULL, &before);
        if (n < 0 && errno != EINTR)
            n = 1; /* the read says what is wrong */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return n > 0;
}

/* Moves `size` bytes of what was read to the line, and drops `drop` more. */
static st_input_state take(st_input *input, st_bytes *line, size_t size, size_t drop)
{
    st_bytes *data = &input->data;
    if (!st_bytes_append(line, data->data, size)) {
        errno = ENOMEM;
        return ST_INPUT_FAILED;
    }
    if (size + drop > 0)
        memmove(data->data, data->data + size + drop, data->size - size - drop);
    data->size -= size + drop;
    return ST_INPUT_LINE;
}

st_input_state st_input_line(st_input *input, st_bytes *line)
{
    for (;;) {
        st_bytes *data = &input->data;
        const char *newline = data->size ? memchr(data->data, '\n', data->size) : NULL;
        if (newline)
            return take(input, line, (size_t)(newline - data->data), 1);
        if (input->end)
            return data->size ? take(input, line, data->size, 0) : ST_INPUT_END;
        if (!wait_for_input())
            return ST_INPUT_INTERRUPTED;
        char block[1 << 14];
        ssize_t n = read(STDIN_FILENO, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ST_INPUT_FAILED;
        input->end = n == 0;
        if (!st_bytes_append(data, block, (size_t)n)) {
            errno = ENOMEM;
            return ST_INPUT_FAILED;
        }
    }
}
