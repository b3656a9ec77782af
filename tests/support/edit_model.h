/* Tiny models with one thing changed. */
#ifndef EDIT_MODEL_H
#define EDIT_MODEL_H

#include "tests/support/tiny_model.h"

typedef enum edit_what {
    EDIT_NOTHING,
    EDIT_DROP_KEY,
    EDIT_SET_INT,
    EDIT_SET_FLOAT,
    EDIT_SET_TEXT,
    EDIT_SET_BOOL,
    EDIT_SET_PAIR, /* an array of two integers: `number` and 1 more */
    EDIT_DROP_TENSOR,
    EDIT_RENAME_TENSOR, /* to `text` */
    EDIT_RETYPE_TENSOR, /* to encoding `number`, zeros */
    EDIT_RESIZE_TENSOR, /* shape[0] to `number`, as F32 */
    EDIT_POISON_TENSOR  /* byte `number` becomes 0xff, and the one before it */
} edit_what;

typedef struct edit {
    edit_what what;
    const char *target, *text;
    double number;
} edit;

/* Writes the model of `spec`, changes one thing and opens the result. Ends the test program if there is
 * nothing to change, or if a refusal does not name the file. */
sterna_status edit_open(const tiny_spec *spec, const edit *change, const sterna_model_params *params,
                        sterna_model **model, sterna_error *error);
/* A tiny model of an architecture without tokenizer. */
tiny_spec edit_base(const char *arch);

#endif
