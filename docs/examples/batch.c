/* A batch of prompts through the engine, each continued by 24 tokens, all at the same time. */
#include <stdio.h>
#include <stdlib.h>
#include <sterna/sterna.h>
#include <string.h>

static void need(int good, const sterna_error *error)
{
    if (!good) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const char *const prompt[3] = {"The LORD is my", "Elinor could not", "He was a young man of"};
    char answer[3][1024] = {"", "", ""};
    sterna_error error;
    sterna_model *model;
    sterna_engine *engine;
    sterna_engine_params params;
    need(sterna_model_open(argc > 1 ? argv[1] : "models/sterna-demo.gguf", NULL, &model, &error) == STERNA_OK,
         &error);
    sterna_engine_defaults(&params);
    params.n_sequence = 3;
    need(sterna_engine_open(model, &params, &engine, &error) == STERNA_OK, &error);
    for (int i = 0; i < 3; i++) { /* requests of an engine are numbered from 1 */
        sterna_token token[64];
        sterna_request request;
        sterna_request_defaults(&request);
        int64_t n = sterna_tokenize(model, prompt[i], strlen(prompt[i]), token, 64, true, false, &error);
        need(n > 0 && n <= 64, &error);
        request.prompt = token;
        request.n_prompt = (int32_t)n;
        request.n_predict = 24;
        need(sterna_submit(engine, &request, NULL, &error) == STERNA_OK, &error);
    }
    int64_t left;
    do {
        left = sterna_step(engine, &error);
        need(left >= 0, &error);
        for (const sterna_event *event; (event = sterna_next(engine));)
            strncat(answer[event->id - 1], event->text, (size_t)event->n_text);
    } while (left > 0);
    for (int i = 0; i < 3; i++)
        printf("%s%s\n", prompt[i], answer[i]);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
    return 0;
}
