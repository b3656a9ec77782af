/* Writes GGUF version 3 files as a stream: first all metadata, then all tensors' descriptions, then the
 * tensors' bytes in the same order, in pieces of any size. The first failure sticks, makes later calls do
 * nothing, and comes back from st_gguf_writer_close, which then removes the incomplete file. */
#ifndef ST_GGUF_WRITE_H
#define ST_GGUF_WRITE_H

#include "host/model/gguf.h"

typedef struct st_gguf_writer st_gguf_writer;

/* Creates or truncates the file. `alignment` is a power of two up to ST_GGUF_MAX_ALIGNMENT; one other than
 * ST_GGUF_ALIGNMENT is recorded in the metadata. */
sterna_status st_gguf_writer_open(const char *path, uint32_t alignment, st_gguf_writer **writer,
                                  sterna_error *error);

/* ---- metadata; keys are not empty and not repeated ---- */
void st_gguf_put_int(st_gguf_writer *writer, const char *key, st_gguf_type type, int64_t value);
void st_gguf_put_u32(st_gguf_writer *writer, const char *key, uint32_t value);
void st_gguf_put_u64(st_gguf_writer *writer, const char *key, uint64_t value);
void st_gguf_put_f32(st_gguf_writer *writer, const char *key, float value);
void st_gguf_put_f64(st_gguf_writer *writer, const char *key, double value);
void st_gguf_put_bool(st_gguf_writer *writer, const char *key, bool value);
void st_gguf_put_string(st_gguf_writer *writer, const char *key, const char *value);
void st_gguf_put_bytes(st_gguf_writer *writer, const char *key, const char *value, size_t length);
/* `data` holds `count` elements of a type of fixed size. */
void st_gguf_put_array(st_gguf_writer *writer, const char *key, st_gguf_type type, const void *data,
                       size_t count);
void st_gguf_put_strings(st_gguf_writer *writer, const char *key, const st_gguf_string *list, size_t count);
/* An entry of another file, unchanged. */
void st_gguf_put_copy(st_gguf_writer *writer, const st_gguf_kv *kv);

/* ---- tensors; shape[0] is the contiguous dimension ---- */
void st_gguf_put_tensor(st_gguf_writer *writer, const char *name, const st_encoding_info *encoding,
                        int32_t n_dim, const int64_t *shape);
/* The next bytes of the tensors, in the order of their descriptions. */
void st_gguf_put_data(st_gguf_writer *writer, const void *data, size_t bytes);

/* True from the first failure on: what is still to be written need not be made. */
bool st_gguf_writer_failed(const st_gguf_writer *writer);

/* Ends the file; an error if tensors lack bytes or anything failed before. Nulls the pointer. */
sterna_status st_gguf_writer_close(st_gguf_writer **writer, sterna_error *error);

#endif
