#include "tests/support/model_input.h"

#include "host/model/model_private.h"
#include "host/model/roles.h"
#include "host/model/ternary.h"

#include <string.h>

static const char *check_decoded(const st_decoded *d)
{
    const st_matrix *m = &d->matrix;
    if (st_matrix_check(m, NULL))
        return "a decoded matrix does not pass its check";
    bool code3 = false;
    for (int32_t row = 0; m->type == ST_TERNARY && row < m->rows; row++)
        for (int64_t col = 0; col < (int64_t)m->row_bytes * 4; col++) {
            uint8_t code = st_matrix_code(m, row, col);
            code3 = code3 || code == 3;
            if (col >= m->cols && code != 1)
                return "padding of a row is not zero";
        }
    if (code3 != m->has_code3)
        return "has_code3 is wrong";
    int32_t n_group = st_matrix_groups(m);
    for (int32_t row = 0; m->scale && row < m->rows; row++)
        for (int32_t group = 0; group < n_group; group++)
            if (!isfinite(st_matrix_scale(m, row, group)))
                return "a scale is not finite";
    for (int32_t row = 0; d->bias && row < m->rows; row++)
        if (!isfinite(d->bias[row]))
            return "a bias is not finite";
    return isfinite(d->out_scale) ? NULL : "out_scale is not finite";
}

static const char *try_metadata(const st_gguf *gguf)
{
    char text[100];
    for (int i = 0; i < st_gguf_kv_count(gguf); i++) {
        const st_gguf_kv *kv = st_gguf_kv_at(gguf, i);
        st_gguf_print(kv, text, sizeof text);
        if (strlen(text) >= sizeof text || st_gguf_find(gguf, kv->key) != kv)
            return "a key is not found again";
        int64_t integer;
        float number;
        bool flag;
        st_gguf_string string;
        (void)st_gguf_get_int(gguf, kv->key, INT64_MIN, INT64_MAX, &integer, NULL);
        (void)st_gguf_get_f32(gguf, kv->key, &number, NULL);
        (void)st_gguf_get_bool(gguf, kv->key, &flag, NULL);
        (void)st_gguf_get_string(gguf, kv->key, &string, NULL);
        if (kv->type != ST_GGUF_ARRAY)
            continue;
        st_gguf_array array = kv->u.array;
        size_t n = 0;
        if (array.type == ST_GGUF_STRING)
            while (st_gguf_next_string(&array, &string))
                n++;
        else
            n = (size_t)(array.end - array.data) / st_gguf_type_size(array.type);
        if (n != array.count)
            return "an array has another number of elements than it says";
    }
    return NULL;
}

/* Tensors on their own, whatever the metadata says of their roles. */
static const char *try_tensors(const st_gguf *gguf)
{
    for (int i = 0; i < st_gguf_tensor_count(gguf); i++) {
        const st_gguf_tensor *t = st_gguf_tensor_at(gguf, i);
        if (st_gguf_find_tensor(gguf, t->name) != t || t->offset + t->bytes > st_gguf_bytes(gguf))
            return "a tensor is not found again or not in the file";
        int64_t rows = t->n_element / t->shape[0];
        if (t->shape[0] > ST_MAX_COLS || rows > ST_MAX_ROWS)
            continue;
        st_packed packed = {.encoding = t->encoding,
                            .rows = (int32_t)rows,
                            .cols = (int32_t)t->shape[0],
                            .data = t->data,
                            .bytes = t->bytes,
                            .label = "input",
                            .name = t->name};
        st_decoded decoded;
        const char *wrong = NULL;
        if (st_ternary_decode(&packed, &decoded, NULL) == STERNA_OK) {
            wrong = check_decoded(&decoded);
            st_decoded_free(&decoded);
        }
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *try_role(const sterna_model *model, st_role role, int32_t layer)
{
    int32_t rows, cols;
    st_role_shape(st_model_config(model), role, &rows, &cols);
    if (st_role_is_vector(role)) {
        float *vector = st_alloc((size_t)cols * sizeof *vector);
        sterna_status status =
            vector ? st_model_vector(model, role, layer, vector, cols, NULL) : STERNA_E_MEMORY;
        bool finite = true;
        for (int32_t i = 0; status == STERNA_OK && i < cols; i++)
            finite = finite && isfinite(vector[i]);
        st_free(vector);
        return finite ? NULL : "a vector is not finite";
    }
    st_decoded decoded;
    if (st_model_matrix(model, role, layer, NULL, &decoded, NULL))
        return NULL;
    bool shaped = decoded.matrix.rows == rows && decoded.matrix.cols == cols;
    const char *wrong = shaped ? check_decoded(&decoded) : "a role has a wrong shape";
    st_decoded_free(&decoded);
    return wrong;
}

static const char *try_text(const sterna_model *model)
{
    static const char text[] = "A b  c\n12345 <|end|> \xc3\xa9\xff";
    sterna_token token[64];
    char piece[64];
    int64_t n = sterna_tokenize(model, text, sizeof text, token, 64, true, true, NULL);
    for (int64_t i = 0; i < n && i < 64; i++) {
        if (token[i] < 0 || token[i] >= st_model_config(model)->n_vocab)
            return "a token is not in the vocabulary";
        if (sterna_token_text(model, token[i], piece, sizeof piece, true) < 0)
            return "a token has no text";
        (void)sterna_token_is_end(model, token[i]);
    }
    return NULL;
}

static const char *try_model(const sterna_model *model)
{
    const st_config *c = st_model_config(model);
    const char *wrong = NULL;
    for (int32_t layer = 0; layer < c->n_layer && !wrong; layer++)
        for (int role = 0; role < ST_ROLE_COUNT && !wrong; role++)
            if (st_model_has(model, (st_role)role, layer) &&
                (layer == 0 || !st_role_is_global((st_role)role)))
                wrong = try_role(model, (st_role)role, layer);
    return wrong ? wrong : try_text(model);
}

const char *model_try_input(const uint8_t *data, size_t size)
{
    st_gguf *gguf;
    if (st_gguf_open_memory("input", data, size, &gguf, NULL))
        return NULL;
    const char *wrong = try_metadata(gguf);
    wrong = wrong ? wrong : try_tensors(gguf);
    sterna_model *model = NULL;
    if (!wrong && st_model_open_gguf(&gguf, NULL, &model, NULL) == STERNA_OK)
        wrong = try_model(model);
    sterna_model_close(&model);
    st_gguf_close(&gguf);
    return wrong;
}
