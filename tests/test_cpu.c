/* What only the CPU backend does: weights that are used where they lie. */
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ROWS = 5, COLS = 64 };

/* The lookup of row 3 and its product with ones, from a table whose memory has changed since it was made. */
static void look_up(const st_matrix *m, void *changed, float y[COLS], float *product)
{
    op_case c;
    st_weight *weight;
    case_open(&c, false);
    st_device_close(&c.dev);
    cr_assert_eq(st_device_open("cpu", &(st_device_params){.n_thread = 1}, &c.dev, NULL), STERNA_OK);
    c.backend = c.dev->backend;
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    c.batch.token = case_input(&c, (const int32_t[]){3}, sizeof(int32_t));
    float ones[COLS];
    for (int k = 0; k < COLS; k++)
        ones[k] = 1.0f;
    cr_assert_eq(c.backend->weight_create(c.dev, m, 1, NULL, 1.0f, NULL, &weight, NULL), STERNA_OK);
    cr_assert_eq(weight->in_place, m->lasting);
    memcpy(changed, &(uint16_t){0x4000}, sizeof(uint16_t)); /* 2 */
    st_embed_args embed = {.table = weight, .scale = 1.0f, .dst = case_output(&c, COLS * sizeof(float))};
    st_linear_args linear = {.weight = weight,
                             .src = case_input(&c, ones, sizeof ones),
                             .dst = case_output(&c, ROWS * sizeof(float)),
                             .stride = ROWS};
    CASE_RUN(&c, embed, &embed);
    CASE_RUN(&c, linear, &linear);
    memcpy(y, case_data(&c, embed.dst), COLS * sizeof(float));
    *product = ((const float *)case_data(&c, linear.dst))[3];
    c.backend->weight_destroy(c.dev, weight);
    case_close(&c);
}

Test(cpu, blocks_and_rows_that_last_are_read_where_they_lie)
{
    for (int lasting = 0; lasting < 2; lasting++) {
        uint16_t half[ROWS][COLS];
        unsigned char block[ROWS][2][ST_BLOCK_BYTES];
        memset(half, 0, sizeof half);
        memset(block, 1, sizeof block);
        st_matrix m = {.type = ST_F16,
                       .rows = ROWS,
                       .cols = COLS,
                       .row_bytes = sizeof half[0],
                       .lasting = lasting,
                       .data = half};
        float y[COLS], product;
        look_up(&m, &half[3][7], y, &product);
        cr_expect(y[7] == (lasting ? 2.0f : 0.0f) && product == y[7], "%g, %g", (double)y[7],
                  (double)product);
        m = (st_matrix){.type = ST_Q8,
                        .scale_type = ST_F16,
                        .rows = ROWS,
                        .cols = COLS,
                        .group = 32,
                        .blocks = true,
                        .row_bytes = sizeof block[0],
                        .lasting = lasting,
                        .data = block};
        for (int r = 0; r < ROWS; r++)
            for (int b = 0; b < 2; b++)
                memcpy(block[r][b], &(uint16_t){0x3c00}, sizeof(uint16_t)); /* 1 */
        look_up(&m, block[3][1], y, &product);
        cr_expect(y[31] == 1.0f && y[32] == (lasting ? 2.0f : 1.0f) && product == 32.0f + 32.0f * y[32],
                  "%g, %g", (double)y[32], (double)product);
    }
}
