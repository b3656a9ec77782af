#include "tests/support/edit_model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_edited_key(st_gguf_writer *w, const edit *e)
{
    switch (e->what) {
    case EDIT_SET_INT:
        st_gguf_put_int(w, e->target, ST_GGUF_I32, (int64_t)e->number);
        break;
    case EDIT_SET_FLOAT:
        st_gguf_put_f32(w, e->target, (float)e->number);
        break;
    case EDIT_SET_TEXT:
        st_gguf_put_string(w, e->target, e->text);
        break;
    case EDIT_SET_BOOL:
        st_gguf_put_bool(w, e->target, e->number != 0);
        break;
    case EDIT_SET_PAIR:
        st_gguf_put_array(w, e->target, ST_GGUF_I32,
                          (const int32_t[]){(int32_t)e->number, (int32_t)e->number + 1}, 2);
        break;
    default:
        break;
    }
}

static void put_edited_tensor(st_gguf_writer *w, const edit *e, const st_gguf_tensor *t, bool data)
{
    bool mine = strcmp(t->name, e->target) == 0;
    if (mine && e->what == EDIT_DROP_TENSOR)
        return;
    const st_encoding_info *encoding = t->encoding;
    int64_t shape[4];
    memcpy(shape, t->shape, sizeof shape);
    bool resize = mine && e->what == EDIT_RESIZE_TENSOR, retype = mine && e->what == EDIT_RETYPE_TENSOR;
    if (resize)
        shape[0] = (int64_t)e->number;
    if (resize)
        encoding = st_encoding_get(ST_ENC_F32);
    if (retype)
        encoding = st_encoding_candidate((uint32_t)e->number, 0);
    if (!data) {
        st_gguf_put_tensor(w, mine && e->what == EDIT_RENAME_TENSOR ? e->text : t->name, encoding, t->n_dim,
                           shape);
        return;
    }
    size_t bytes;
    tiny_check(st_encoding_bytes(encoding, shape[0], shape[0] * shape[1], &bytes), "shape and encoding");
    unsigned char *copy = st_calloc(1, bytes);
    if (!resize && !retype)
        memcpy(copy, t->data, bytes);
    if (mine && e->what == EDIT_POISON_TENSOR)
        memset(copy + (size_t)e->number - 1, 0xff, 2);
    st_gguf_put_data(w, copy, bytes);
    st_free(copy);
}

static void rewrite(const st_gguf *g, const edit *e, const char *path)
{
    st_gguf_writer *w;
    sterna_error error = {0};
    tiny_check(st_gguf_writer_open(path, ST_GGUF_ALIGNMENT, &w, &error) == STERNA_OK, error.message);
    bool touched = e->what == EDIT_NOTHING || (e->what >= EDIT_SET_INT && e->what <= EDIT_SET_PAIR);
    for (int i = 0; i < st_gguf_kv_count(g); i++) {
        const st_gguf_kv *kv = st_gguf_kv_at(g, i);
        bool mine = strcmp(kv->key, e->target) == 0;
        touched = touched || mine;
        if (!mine)
            st_gguf_put_copy(w, kv);
    }
    put_edited_key(w, e);
    touched = touched || st_gguf_find_tensor(g, e->target);
    tiny_check(touched, e->target);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < st_gguf_tensor_count(g); i++)
            put_edited_tensor(w, e, st_gguf_tensor_at(g, i), pass == 1);
    tiny_check(st_gguf_writer_close(&w, &error) == STERNA_OK, error.message);
}

sterna_status edit_open(const tiny_spec *spec, const edit *e, const sterna_model_params *params,
                        sterna_model **model, sterna_error *error)
{
    size_t size;
    unsigned char *bytes = tiny_bytes(spec, &size);
    st_gguf *g;
    tiny_check(st_gguf_open_memory("tiny", bytes, size, &g, error) == STERNA_OK, error->message);
    char path[] = "/tmp/sterna-edit-XXXXXX";
    int file = mkstemp(path);
    tiny_check(file >= 0, "no temporary file");
    close(file);
    rewrite(g, e, path);
    st_gguf_close(&g);
    st_free(bytes);
    sterna_status status = sterna_model_open(path, params, model, error);
    tiny_check(status == STERNA_OK || strstr(error->message, path), error->message);
    unlink(path);
    return status;
}

tiny_spec edit_base(const char *arch)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.arch = arch;
    spec.tokenizer = false;
    return spec;
}
