/* Tensor names -> roles. The only place that knows names; shapes and encodings are checked here once. */
#ifndef ST_ROLES_H
#define ST_ROLES_H

#include "host/model/config.h"
#include "host/model/model_private.h"

/* Fills slots[n_layer][ST_ROLE_COUNT]: every tensor of the file goes to its role, with its shape checked
 * against the configuration. Missing tensors are errors; those without a role are named in the log. */
sterna_status st_roles_bind(const st_gguf *gguf, const st_arch *arch, const st_config *config,
                            const st_log *log, st_slot *slots, sterna_error *error);

bool st_role_is_global(st_role role);
bool st_role_is_vector(st_role role);
/* Ternary in every file; other matrices may be dense. */
bool st_role_is_ternary(st_role role);
/* Files of this architecture must have it. */
bool st_role_is_required(const st_arch *arch, st_role role);
/* Rows and columns that a role must have; vectors have one row. */
void st_role_shape(const st_config *config, st_role role, int32_t *rows, int32_t *cols);
const char *st_role_name(st_role role); /* as in files, without block number and suffix */
/* The name of its tensor in files. */
void st_role_tensor_name(st_role role, int32_t layer, char name[ST_MAX_NAME]);

#endif
