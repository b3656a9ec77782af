/* Multiplies a small ternary matrix with two rows of activations, once from host memory and once from device
 * memory, and checks that both give the same bits.
 *
 *     cc docs/examples/linear.c -o linear $(pkg-config --cflags --libs sterna) && ./linear [DEVICE] */
#include <sterna/linear.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, K = 5, TOK = 2 };

static const int8_t weights[N * K] = {1, 0, -1, 1, 0, /**/ -1, -1, 1, 0, 1, /**/ 0, 1, 1, -1, 0};
static const float scales[N] = {0.5f, 0.25f, 2.0f}; /* one for each row of the matrix */
static const float x[TOK * K] = {0.1f, -0.7f, 0.4f, 0.0f, 0.9f, /**/ 2.0f, 1.0f, -1.5f, 0.5f, 0.25f};

static sterna_error error;

static void must(sterna_status status)
{
    if (status == STERNA_OK)
        return;
    fprintf(stderr, "%s: %s\n", sterna_status_name(status), error.message);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    sterna_device *device;
    must(sterna_device_open(argc > 1 ? argv[1] : "auto", NULL, &device, &error));

    /* Pack, describe, upload. */
    void *codes = malloc(sterna_matrix_bytes(STERNA_TYPE_TERNARY, N, K));
    must(sterna_matrix_pack(weights, N, K, codes, sterna_matrix_bytes(STERNA_TYPE_TERNARY, N, K), &error));
    sterna_matrix matrix;
    sterna_matrix_defaults(&matrix);
    matrix.rows = N;
    matrix.cols = K;
    matrix.data = codes;
    matrix.scale = scales;
    sterna_linear_params params;
    sterna_linear_defaults(&params);
    params.max_tok = TOK;
    sterna_linear *linear;
    must(sterna_linear_create(device, &matrix, &params, &linear, &error));
    free(codes);

    /* x and y in host memory; x is quantised to int8 on the way. */
    float y[TOK * N], z[TOK * N];
    sterna_linear_host_args host;
    sterna_linear_host_defaults(&host);
    host.n_tok = TOK;
    host.x = x;
    host.y = y;
    must(sterna_linear_run(linear, &host, &error));

    /* The same in device memory. */
    sterna_buffer *dx, *dy;
    must(sterna_buffer_create(device, sizeof x, &dx, &error));
    must(sterna_buffer_create(device, sizeof z, &dy, &error));
    must(sterna_buffer_write(dx, 0, x, sizeof x, &error));
    sterna_linear_device_args operands;
    sterna_linear_device_defaults(&operands);
    operands.n_tok = TOK;
    operands.x = dx;
    operands.y = dy;
    must(sterna_linear_run_device(linear, &operands, &error));
    must(sterna_buffer_read(dy, 0, z, sizeof z, &error));

    for (int t = 0; t < TOK; t++)
        printf("%8.4f %8.4f %8.4f\n", y[t * N], y[t * N + 1], y[t * N + 2]);
    int same = memcmp(y, z, sizeof y) == 0;
    printf("%s: host and device memory %s\n", sterna_device_name(device), same ? "agree" : "differ");

    sterna_buffer_destroy(&dx);
    sterna_buffer_destroy(&dy);
    sterna_linear_destroy(&linear);
    sterna_device_close(&device);
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
