/* The parts of `sterna chat`. */
#ifndef ST_CLI_CHAT_H
#define ST_CLI_CHAT_H

#include "host/cli/sampling.h"
#include "host/cli/session.h"
#include "host/cli/text.h"

typedef struct st_chat_params {
    st_session_params session;
    st_context_params context;
    st_sampling sampling;
    const char *format, *system, *system_file;
} st_chat_params;

/* ---- input ---- */

typedef enum st_input_state {
    ST_INPUT_LINE,
    ST_INPUT_END,
    ST_INPUT_INTERRUPTED,
    ST_INPUT_FAILED
} st_input_state;

/* Standard input by lines. */
typedef struct st_input {
    st_bytes data; /* read, but not taken */
    bool end;
} st_input;

/* Appends the next line, without its newline, to `line`. What follows the last newline is a line, too. SIGINT
 * ends the wait; FAILED leaves the reason in errno. */
st_input_state st_input_line(st_input *input, st_bytes *line);

/* ---- the conversation ---- */

/* What an answer cost. */
typedef struct st_answer {
    int32_t n_prompt, n_cached, n_generated;
    double seconds_prompt, seconds_decode;
} st_answer;

typedef struct st_chat {
    const st_chat_params *params;
    st_session session;
    st_lists lists;     /* of the options */
    const char **stop;  /* the format's and the options' */
    const char *format; /* of sterna_chat_format */
    sterna_message *message;
    size_t n_message, capacity;
    size_t n_system;        /* 1 if the first message is the system's, else 0 */
    sterna_request request; /* without prompt and seed */
    uint64_t n_answer;      /* generated so far: each has its own seed */
    st_answer last;
    bool terminal; /* somebody types */
    FILE *notice;  /* for what is not an answer */
} st_chat;

/* Reads the options, opens model and engine. On failure the message is printed and the exit code returned. */
int st_chat_open(st_chat *chat);
void st_chat_close(st_chat *chat);

/* Adds a message. False when out of memory. */
bool st_chat_add(st_chat *chat, const char *role, const char *content, size_t size);
/* Removes the messages from number `first` on. */
void st_chat_truncate(st_chat *chat, size_t first);
/* Lets the model answer to the messages, writes the answer to standard output as it comes and adds it. A
 * conversation that does not fit the context is said to and left alone: *full. SIGINT ends the answer where
 * it is. Returns the exit code of what cannot go on. */
int st_chat_answer(st_chat *chat, bool *full);
/* "sterna chat: ..." for a mistake in the dialogue; an exit code unless somebody is there to mend it. */
int st_chat_mistake(const st_chat *chat, const char *format, ...);

#endif
