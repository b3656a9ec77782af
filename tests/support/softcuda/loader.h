/* Gives the CUDA backend tests/softcuda as its driver, counts its calls, and makes them fail. The test binary
 * links with --wrap=dlopen,--wrap=dlsym. All before the backend's first call in the process. */
#ifndef SOFTCUDA_LOADER_H
#define SOFTCUDA_LOADER_H

/* SOFTCUDA_ARCH. Skips the test where softcuda was not built. */
void softcuda_use(const char *arch);
/* The library is not found. */
void softcuda_hide(void);
/* The library lacks this function. */
void softcuda_lack(const char *symbol);
/* Calls number `from` and later of a function return `result` and do nothing; 1 is the next call. */
void softcuda_fail(const char *symbol, int from, int result);
/* Calls of a function so far that succeeded. */
int softcuda_count(const char *symbol);
/* The function that makes the first kind of object of which there are some left; NULL if there are none. */
const char *softcuda_left(void);

#endif
