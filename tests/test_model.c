/* Models: roles, shapes, flags, and what is refused. */
#include "host/model/model_private.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>

Test(model, tiny_files_of_every_kind_open_and_decode)
{
    static const char *const archs[] = {"bitnet-b1.58", "bitnet-25", "bitnet", "llama"};
    static const st_encoding matrices[] = {ST_ENC_TQ1_0, ST_ENC_TQ2_0, ST_ENC_I2_S};
    for (size_t a = 0; a < 4; a++)
        for (size_t i = 0; i < 3; i++)
            for (int embedding = 0; embedding < ST_ENC_DECODED; embedding++) {
                tiny_spec spec;
                tiny_defaults(&spec);
                spec.arch = archs[a];
                spec.matrix = matrices[i];
                spec.embedding = (st_encoding)embedding;
                spec.scales = (tiny_scales)(embedding % 3);
                sterna_model *model = tiny_open(&spec);
                sterna_token tokens[8];
                sterna_error error;
                int64_t n = sterna_tokenize(model, "hi!", 3, tokens, 8, true, false, &error);
                cr_assert_eq(n, STERNA_TEXT ? 4 : STERNA_E_UNSUPPORTED, "%s", error.message);
                st_decoded d;
                cr_assert_eq(st_model_matrix(model, ST_ROLE_TOKEN_EMBD, 0, &d, &error), STERNA_OK, "%s",
                             error.message);
                cr_assert_eq(st_matrix_check(&d.matrix, &error), STERNA_OK, "%s", error.message);
                st_decoded_free(&d);
                sterna_model_close(&model);
            }
}
