/* A small good matrix and a device of the kernel library, for tests to bend. */
#ifndef TEST_LINEAR_SCENE_H
#define TEST_LINEAR_SCENE_H

#include "sterna/linear.h"

enum { SCENE_N = 3, SCENE_K = 70 };

/* 3 x 70 ternary zeros with scales 1. */
typedef struct scene {
    sterna_device *device;
    sterna_matrix m;
    unsigned char data[SCENE_N * 32];
    float scale[SCENE_N * 3];
} scene;

/* One thread. These end the test on failure. */
void scene_open(scene *s, const char *name, bool check);
sterna_linear *scene_linear(scene *s, int32_t max_tok, int32_t act_group);
sterna_buffer *scene_buffer(scene *s, size_t bytes);

#define OK(call)                                                                                             \
    do {                                                                                                     \
        sterna_error ok_ = {STERNA_OK, ""}, *error = &ok_;                                                   \
        cr_assert_eq(call, STERNA_OK, "%s", ok_.message);                                                    \
    } while (0)

/* The call fails with this status and message; both are in the error, too. */
#define REFUSED(call, expected_status, expected_message)                                                     \
    do {                                                                                                     \
        sterna_error refused_ = {STERNA_OK, ""}, *error = &refused_;                                         \
        cr_expect_eq(call, expected_status);                                                                 \
        cr_expect_eq(refused_.status, expected_status);                                                      \
        cr_expect(strcmp(refused_.message, expected_message) == 0, "%s", refused_.message);                  \
    } while (0)

#endif
