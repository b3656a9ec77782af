/* Runs one compute shader on the first Vulkan device, without the Vulkan backend: for tests of what shaders
 * share. Anything that fails ends the test with a message. */
#ifndef TEST_VULKAN_RUNNER_H
#define TEST_VULKAN_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUNNER_BUFFERS = 3 }; /* storage buffers at bindings 0, 1, 2 */

typedef struct runner runner;

/* NULL, and why in *why, where there is no loader or no device. Each buffer has `bytes` bytes. */
runner *runner_open(const uint32_t *words, size_t word_count, size_t bytes, const char **why);
void runner_close(runner *r);
/* Host memory that the shader sees. */
uint32_t *runner_buffer(const runner *r, int binding);
/* One dispatch of `groups` workgroups with two pushed words; waits. */
void runner_run(runner *r, const uint32_t push[2], uint32_t groups);

#endif
