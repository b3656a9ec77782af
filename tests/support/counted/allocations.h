/* Allocations of the library are counted, and fail on request. Only for suites whose calls of malloc and its
 * kin the linker wraps (tests/CMakeLists.txt). */
#ifndef TEST_ALLOCATIONS_H
#define TEST_ALLOCATIONS_H

extern long n_allocation; /* so far; may be set back */
extern long n_live;       /* blocks that were not freed */
extern long fail_at;      /* number of the allocation that fails, 0 = none */

#endif
