/* nvcc's fat binaries: which PTX a device may run, and what ptxas found out about its kernels. */
#ifndef SOFTCUDA_FATBIN_H
#define SOFTCUDA_FATBIN_H

#include "tests/softcuda/ptx.h"

namespace softcuda
{

/* Empty if nothing in the image is for this architecture (75 to 120). Also takes bare PTX text. */
std::string eligible_ptx(const void *image, int arch);
/* By kernel name, from the cubin that a card of this architecture would load; empty without one. */
std::map<std::string, Resources> cubin_resources(const void *image, int arch);

} // namespace softcuda
#endif
